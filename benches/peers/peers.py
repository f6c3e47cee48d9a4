"""The peers, each configured for the same job: plain HTTP in, one core, TLS 1.3 with verification to
the upstream over kept connections, the bearer token attached, no access log unless asked for.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from process import Process
from upstream import GRAPH, LOGIN

# Above the largest number of callers, so that no peer is measured opening connections.
KEPT = 1024


@dataclass
class Job:
    """What a peer is configured for."""

    upstream: object
    folder: Path
    port: int
    admin: int
    routes: int = 1
    access_log: bool = False
    workers: int = 1
    h2_callers: bool = False

    @property
    def address(self):
        return self.upstream.address

    @property
    def decoys(self):
        """Routes beside /graph."""
        return [f"/decoy{number}" for number in range(self.routes - 1)]

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return name

    def log(self, name):
        return str(self.folder / f"{name}.access.log") if self.access_log else None


class Peer:
    """A program to compare: how it is called, found, configured and started."""

    name = ""
    program = ""
    package = ""
    # The load generator sends the token itself and calls the upstream's own paths.
    relays = False

    def __init__(self, program=None):
        self.found = program or shutil.which(self.program)

    version_arguments = ["-v"]

    def version(self):
        said = subprocess.run([self.found, *self.version_arguments], capture_output=True, text=True)
        line = (said.stdout + said.stderr).strip().splitlines()[0]
        return line.replace(" version: ", " ").replace(" version ", " ").split(" - ")[0]

    def start(self, job, cores, under=()):
        """Starts it, below another program where one is given."""
        command, environment = self.command(job)
        name = f"{self.name}-{job.port}"
        return Process(name, [*under, self.found, *command], cores, job.folder, environment)

    def command(self, job):
        raise NotImplementedError


class Tokenferry(Peer):
    name, program, package = "tokenferry", "tokenferry", "cargo build --release"
    version_arguments = ["--version"]

    def __init__(self, program=None, name="tokenferry", route="", own=""):
        super().__init__(program)
        self.name, self.route, self.own = name, route, own

    def command(self, job):
        upstream = job.upstream
        graph = upstream.port_h2 if "upstream_http: 2" in self.route else upstream.port
        routes = "".join(
            f"  - {{name: route{number}, path: {path}, upstream: 'https://{GRAPH}'}}\n"
            for number, path in enumerate(job.decoys)
        )
        # The secret is of no use anywhere: the stub asks for none.
        job.write("secret", "none")
        text = (
            f"listen: 127.0.0.1:{job.port}\nadmin: 127.0.0.1:{job.admin}\nworkers: {job.workers}\n"
            f"log: {{access: {str(job.access_log).lower()}, format: json}}\n"
            "credentials:\n  bench: {tenant_id: 11111111-aaaa-4bbb-8ccc-000000000001, "
            "client_id: 22222222-aaaa-4bbb-8ccc-000000000002, client_secret_file: secret}\n"
            f"routes:\n{routes}  - name: graph\n    path: /graph\n    upstream: https://{GRAPH}\n"
            f"{self.route}{self.own}"
            "trust: {ca_file: ca.pem}\n"
            "limits: {connections_per_peer: 10000}\n"
            f"resolve:\n  '{GRAPH}:443': '{job.address}:{graph}'\n"
            f"  '{LOGIN}:443': '{job.address}:{upstream.login_port}'\n"
        )
        file = job.write(f"{self.name.replace(' ', '-')}.yaml", text)
        # Where `tls: local` keeps its authority.
        return ["run", "-c", file], {"XDG_STATE_HOME": str(job.folder)}


class Nginx(Peer):
    name, program, package = "nginx", "nginx", "apt-get install nginx"

    def __init__(self, name="nginx", kept=KEPT, directives="", proxying=""):
        super().__init__()
        self.name, self.kept, self.directives, self.proxying = name, kept, directives, proxying

    def command(self, job):
        (job.folder / "nginx").mkdir(exist_ok=True)
        proxied = (
            f"proxy_pass https://graph/; proxy_set_header Host {GRAPH}; "
            f'proxy_set_header Authorization "Bearer {job.upstream.token}"; '
            'proxy_set_header Connection ""; proxy_http_version 1.1; proxy_request_buffering off;'
        )
        locations = "".join(
            f"location {path}/ {{ {proxied} }}\n" for path in [*job.decoys, "/graph"]
        )
        text = f"""
{"user root;" if os.geteuid() == 0 else ""}
{self.directives}
worker_processes {job.workers}; daemon off; pid nginx/{job.port}.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log {job.log("nginx") or "off"};
  client_body_temp_path nginx/b; proxy_temp_path nginx/p; fastcgi_temp_path nginx/f;
  uwsgi_temp_path nginx/u; scgi_temp_path nginx/s;
  {self.proxying}
  client_max_body_size 0; keepalive_requests 100000000;
  proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem; proxy_ssl_server_name on;
  proxy_ssl_name {GRAPH}; proxy_ssl_protocols TLSv1.3;
  upstream graph {{
    server {job.address}:{job.upstream.port};
    keepalive {self.kept}; keepalive_requests 100000000; keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{job.port} {"http2" if job.h2_callers else ""} backlog=4096;
    {locations}
  }}
}}
"""
        name = job.write(f"nginx-{job.port}.conf", text)
        return ["-e", "stderr", "-p", str(job.folder), "-c", str(job.folder / name)], {}


class Haproxy(Peer):
    name, program, package = "HAProxy", "haproxy", "apt-get install haproxy"

    def head(self, job, mode):
        return f"""
global
  nbthread {job.workers}
  maxconn 8192
  # The token is longer than the 1 KiB that is kept free for added headers behind a body.
  tune.maxrewrite 4096
  {"log stdout format raw local0" if job.access_log else ""}
defaults
  mode {mode}
  timeout connect 8s
  timeout client 120s
  timeout server 150s
  {"log global" if job.access_log else ""}
"""

    def server(self, job):
        return (
            f"{job.address}:{job.upstream.port} ssl verify required ca-file {job.folder}/ca.pem "
            f"sni str({GRAPH}) verifyhost {GRAPH} ssl-min-ver TLSv1.3"
        )

    def run(self, job, text):
        name = job.write(f"{self.name.replace(' ', '-')}-{job.port}.conf", text)
        return ["-db", "-f", name], {}

    def command(self, job):
        job.write("graph.map", "".join(f"{path} graph\n" for path in [*job.decoys, "/graph"]))
        return self.run(job, self.head(job, "http") + f"""
  option http-keep-alive
  {"option httplog" if job.access_log else ""}
frontend callers
  bind 127.0.0.1:{job.port} backlog 4096 {"proto h2" if job.h2_callers else ""}
  use_backend %[path,map_dir({job.folder}/graph.map)]
backend graph
  http-reuse always
  http-request replace-path /[^/]+/(.*) /\\1
  http-request set-header Host {GRAPH}
  http-request set-header Authorization "Bearer {job.upstream.token}"
  server one {self.server(job)} pool-max-conn {KEPT}
""")


class Relay(Haproxy):
    name, relays = "TCP relay", True

    def command(self, job):
        return self.run(job, self.head(job, "tcp") + f"""
listen callers
  bind 127.0.0.1:{job.port} backlog 4096
  server one {self.server(job)}
""")


class Caddy(Peer):
    name, program, package = "Caddy", "caddy", "apt-get install caddy"

    def version(self):
        said = subprocess.run([self.found, "version"], capture_output=True, text=True).stdout
        return f"Caddy {said.split()[0]}"

    def command(self, job):
        proxied = f"""
    reverse_proxy https://{job.address}:{job.upstream.port} {{
      header_up Host {GRAPH}
      header_up Authorization "Bearer {job.upstream.token}"
      transport http {{
        tls_server_name {GRAPH}
        tls_trusted_ca_certs {job.folder}/ca.pem
        keepalive 600s
        keepalive_idle_conns {KEPT}
        keepalive_idle_conns_per_host {KEPT}
        versions 1.1
      }}
    }}
"""
        routes = "".join(
            f"  handle_path {path}/* {{{proxied}  }}\n" for path in [*job.decoys, "/graph"]
        )
        log = job.log("caddy")
        text = f"""
{{
  admin off
  auto_https off
  servers {{
    protocols {"h1 h2 h2c" if job.h2_callers else "h1"}
  }}
  log {{
    level ERROR
  }}
}}
http://127.0.0.1:{job.port} {{
  bind 127.0.0.1
{f"  log {{{chr(10)}    output file {log}{chr(10)}    level INFO{chr(10)}  }}" if log else ""}
{routes}
}}
"""
        name = job.write(f"Caddyfile-{job.port}", text)
        home = {"HOME": str(job.folder), "XDG_DATA_HOME": str(job.folder), "GOMAXPROCS": str(job.workers)}
        return ["run", "--adapter", "caddyfile", "--config", name], home
