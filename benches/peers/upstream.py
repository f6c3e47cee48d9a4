"""The upstream: nginx with TLS 1.3 and kept connections, which answers like Microsoft Graph and
refuses what comes without the token, so that a peer that forgets it shows errors and not speed.
"""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

from process import Process, wait_until

GRAPH = "graph.microsoft.com"
LOGIN = "login.microsoftonline.com"
BIG = 64 << 20
# Answers that differ by a byte: no service that declares lengths always says the same one.
VARIED = ("varied0", "varied1", "varied2")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certify(folder):
    """Makes ca.pem, and leaf.pem with leaf.key for the two names."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "7",
            "-subj", "/CN=tokenferry bench", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")
    openssl(folder, "req", *key, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", f"/CN={GRAPH}")
    (folder / "leaf.ext").write_text(
        f"subjectAltName=DNS:{GRAPH},DNS:{LOGIN}\nbasicConstraints=CA:FALSE\n"
        "keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    openssl(folder, "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "leaf.pem", "-days", "7", "-extfile", "leaf.ext")


def user(number):
    name = f"Employee {number}"
    return {
        "businessPhones": [f"+49 30 555{number:04}"],
        "displayName": name,
        "givenName": "Employee",
        "jobTitle": "Senior Manager",
        "mail": f"employee{number}@contoso.example",
        "mobilePhone": None,
        "officeLocation": f"Building 4/Room {number}",
        "aboutMe": f'I moved "home" to https://{GRAPH}/v1.0/me — say hello\nany time.',
        "preferredLanguage": "en-US",
        "surname": str(number),
        "userPrincipalName": f"employee{number}@contoso.example",
        "id": f"{number:08x}-aaaa-4bbb-8ccc-{number:012x}",
    }


def page(size):
    """A page of users of about this many bytes, with context and next link as Graph writes them."""
    head = {
        "@odata.context": f"https://{GRAPH}/v1.0/$metadata#users",
        "@odata.nextLink": f"https://{GRAPH}/v1.0/users?$top=400&$skiptoken=RFNwdAIAAQAAAB{'A' * 200}",
    }
    users, text = [], ""
    while len(text) < size:
        users += [user(len(users) + step) for step in range(1 if size < 4000 else 20)]
        text = json.dumps({**head, "value": users}, separators=(",", ":"), ensure_ascii=False)
    return text


CONFIGURATION = """
{user}
worker_processes {workers};
daemon off;
pid upstream.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  default_type "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
  open_file_cache max=100 inactive=10m;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    listen 127.0.0.1:{port_h2} ssl http2 backlog=4096;
    ssl_certificate leaf.pem; ssl_certificate_key leaf.key;
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:a:4m;
    root site;
    if ($http_authorization != "Bearer {token}") {{ return 401; }}
    add_header Cache-Control no-cache;
    add_header Strict-Transport-Security "max-age=31536000";
    add_header request-id 33333333-aaaa-4bbb-8ccc-000000000003;
    add_header client-request-id 44444444-aaaa-4bbb-8ccc-000000000004;
    add_header x-ms-ags-diagnostic '{{"ServerInfo":{{"DataCenter":"West Europe","Slice":"E","Ring":"5","ScaleUnit":"000","RoleInstance":"AM00000001"}}}}';
    add_header OData-Version 4.0;
    location /v1.0/ {{ }}
    location = /v1.0/big {{ default_type application/octet-stream; }}
    location = /v1.0/sink {{
      client_max_body_size 0; client_body_buffer_size 2m;
      proxy_pass http://unix:{folder}/sink.sock; proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}
  server {{ listen unix:{folder}/sink.sock; return 204; }}
  server {{ listen 127.0.0.1:{status}; location = /status {{ stub_status; }} }}
}}
"""


class Upstream:
    """The running upstream and token endpoint."""

    def __init__(self, folder, ports, cores, address="127.0.0.1", prefix=()):
        self.folder, self.port, self.port_h2, self.login_port = folder, ports(), ports(), ports()
        self.status, self.started = ports(), []
        self.address = address
        certify(folder)
        self.token = "eyJ0eXAiOiJKV1QiLCJub25jZSI6" + "tokenferryBENCH0123456789" * 59
        self.token = self.token[:1500]
        (folder / "token").write_text(self.token)
        site = folder / "site" / "v1.0"
        site.mkdir(parents=True)
        (site / "one").write_text(page(1024 - 220))
        for number, name in enumerate(VARIED):
            (site / name).write_text(page(1024 - 220) + " " * number)
        (site / "page").write_text(page(150 << 10))
        with open(site / "big", "wb") as big:
            big.write(os.urandom(1 << 20) * (BIG >> 20))
        self.sizes = {name: (site / name).stat().st_size for name in ("one", "page", "big")}
        text = CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            workers=len(cores), port=self.port, port_h2=self.port_h2, token=self.token, folder=folder, status=self.status,
        ).replace("127.0.0.1", address)
        (folder / "upstream.conf").write_text(text)
        nginx = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "upstream.conf")]
        self.started.append(Process("upstream", [*prefix, *nginx], cores, folder))
        stub = ["python3", str(Path(__file__).with_name("entra.py")), str(self.login_port)]
        self.started.append(
            Process("entra", [*prefix, *stub, "leaf.pem", "leaf.key", "token", address], cores, folder)
        )

    def wait(self, listens):
        wait_until(lambda: listens(self.port) and listens(self.status), self.started[0])
        wait_until(lambda: listens(self.login_port), self.started[1])

    def requests(self):
        """Requests that the upstream has read so far, its own look at the counter left out."""
        url = f"http://{self.address}:{self.status}/status"
        with urllib.request.urlopen(url, timeout=5) as answer:
            numbers = answer.read().decode().splitlines()[2].split()
        return int(numbers[2])

    def end(self):
        for process in self.started:
            process.end()
