#!/usr/bin/env python3
"""What a real browser lets pages do with tokenferry: tests/browser/run.py TOKENFERRY [BROWSER].

Starts tokenferry before a stand-in of Entra and of an API, and opens three pages in a headless
Chromium: one of a foreign origin, one whose name is rebound to tokenferry's address while it is
open, and one of a listed origin. The first two must neither read nor write; the third can do both.
Exit 0 when that holds, 1 when not. Needs Python 3.9, openssl, and Chromium as BROWSER, `chromium`
or `google-chrome`.
"""

import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PATIENCE = 60

# What every page tries, and reports to the server it came from. A simple POST needs no preflight;
# the second one does.
PAGE = """<!doctype html><title>page</title><script>
const base = %s;
async function attempt(what) {
  try { return await what(); } catch (error) { return "failed: " + error.name; }
}
async function read(response) { return response.status + " " + (await response.text()).slice(0, 200); }
function picture() {
  return new Promise(done => {
    const image = new Image();
    image.onload = () => done("loaded");
    image.onerror = () => done("failed");
    image.src = base + "/api/image";
  });
}
(async () => {
  if (%s) { await fetch("/rebind"); }
  const result = {
    get: await attempt(async () => read(await fetch(base + "/api/secret"))),
    blind: await attempt(async () => (await fetch(base + "/api/blind", {mode: "no-cors", method: "POST", body: "x"})).type),
    post: await attempt(async () => read(await fetch(base + "/api/json", {
      method: "POST", headers: {"content-type": "application/json"}, body: "{}"}))),
    remove: await attempt(async () => read(await fetch(base + "/api/remove", {method: "DELETE"}))),
    picture: await picture(),
  };
  await fetch(%s, {method: "POST", mode: "no-cors", body: JSON.stringify(result)});
})();
</script>"""


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def serve(handler, address, context=None):
    server = http.server.ThreadingHTTPServer(address, handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Upstream:
    """Entra and the API in one; remembers what reached the API."""

    def __init__(self, folder):
        self.seen = []
        self.certificate, key = f"{folder}/tls.pem", f"{folder}/tls.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", self.certificate],
            check=True, capture_output=True)
        seen = self.seen

        class Handler(Quiet):
            def any(self):
                self.body()
                if self.path.endswith("/token"):
                    token = {"token_type": "Bearer", "expires_in": 3600, "access_token": "eyJ.eyJ.x"}
                    return self.reply(200, "application/json", json.dumps(token))
                seen.append(f"{self.command} {self.path}")
                return self.reply(200, "application/json", '{"value":"the secret of the API"}')

            do_GET = do_POST = do_DELETE = do_OPTIONS = any

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.port = serve(Handler, ("127.0.0.1", 0), context).server_port


class Pages:
    """Serves the page on any name and collects reports. The page asks tokenferry at port `proxy`."""

    def __init__(self):
        self.proxy = None
        self.reports = {}
        pages, reports = self, self.reports

        class Handler(Quiet):
            def do_GET(self):
                name = self.headers["host"].split(":")[0]
                own = json.dumps(f"http://{self.headers['host']}/report/{name}")
                self.reply(200, "text/html", PAGE % (json.dumps(f"http://localhost:{pages.proxy}"), "false", own))

            def do_POST(self):
                reports[self.path.rsplit("/", 1)[-1]] = json.loads(self.body())
                self.reply(204, "text/plain", "")

        self.port = serve(Handler, ("127.0.0.1", 0)).server_port


def rebinder(proxy, pages):
    """A listener on tokenferry's port at another loopback address: its first visitor gets the page,
    and once that asks for it every connection leads to tokenferry, as after a change of DNS."""
    listener = socket.create_server(("127.0.0.2", proxy))
    state = {"bound": False}

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def visit(visitor):
        # A browser opens connections ahead of need: what leads where is decided by the first request.
        head = visitor.recv(65536)
        if state["bound"]:
            there = socket.create_connection(("127.0.0.1", proxy))
            there.sendall(head)
            threading.Thread(target=pump, args=(visitor, there), daemon=True).start()
            return pump(there, visitor)
        if head.startswith(b"GET /rebind"):
            state["bound"] = True
            text = ""
        else:
            text = PAGE % ('""', "true", json.dumps(f"http://localhost:{pages}/report/rebound.example"))
        reply = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {len(text)}\r\n\r\n{text}"
        visitor.sendall(reply.encode())
        visitor.close()

    def accept():
        while True:
            visitor, _ = listener.accept()
            threading.Thread(target=visit, args=(visitor,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def start_proxy(program, folder, upstream, pages):
    """tokenferry on free ports, and the one that it serves callers on."""
    with open(f"{folder}/secret", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write("not-much-of-a-secret")
    with open(f"{folder}/routes.yaml", "w") as file:
        file.write(f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
trust: {{ca_file: {upstream.certificate}}}
browser_origins: ['http://listed.example:{pages.port}']
credentials:
  app:
    tenant_id: contoso.example
    client_id: 00000000-0000-4000-8000-000000000001
    client_secret_file: {folder}/secret
    authority: https://localhost:{upstream.port}
routes:
  - name: api
    path: /api
    upstream: https://localhost:{upstream.port}
""")
    process = subprocess.Popen([program, "run", "-c", f"{folder}/routes.yaml"],
                               stdout=subprocess.DEVNULL, stderr=open(f"{folder}/log", "w"))
    ports = []

    def is_ready():
        ports[:] = announced(f"{folder}/log")
        return process.poll() is not None or (len(ports) == 2 and ready(ports[1]))

    wait(is_ready, "tokenferry is ready")
    if process.poll() is not None:
        sys.exit(open(f"{folder}/log").read())
    return process, int(ports[0])


def announced(log):
    """The ports of the log so far: for callers, and of the admin listener."""
    with open(log) as lines:
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]
    messages = ["listening", "metrics, probes and status page"]
    return [event["address"].rsplit(":", 1)[1]
            for message in messages for event in events if event["message"] == message]


def ready(admin):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz?tokens", timeout=5).status == 200
    except OSError:
        return False


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def browse(browser, folder, url, reports, name):
    rules = "MAP foreign.example 127.0.0.1, MAP listed.example 127.0.0.1, MAP rebound.example 127.0.0.2"
    process = subprocess.Popen(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}/{name}",
         f"--host-resolver-rules={rules}", url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: name in reports, f"the page of {name} reports")
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    return reports[name]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found = [shutil.which(name) for name in (sys.argv[2:] or ["chromium", "google-chrome"])]
    browser = next(filter(None, found), None) or sys.exit("there is no Chromium; name one")
    failures = []

    def expect(holds, what):
        print("ok    " if holds else "FAILED", what)
        if not holds:
            failures.append(what)

    folder = tempfile.mkdtemp()
    try:
        upstream, pages = Upstream(folder), Pages()
        process, proxy = start_proxy(sys.argv[1], folder, upstream, pages)
        try:
            pages.proxy = proxy
            rebinder(proxy, pages.port)
            got = browse(browser, folder, f"http://foreign.example:{pages.port}/", pages.reports, "foreign.example")
            for what in ("get", "post", "remove", "picture"):
                expect(got[what].startswith("failed"), f"a foreign page gets nothing by {what}: {got[what]}")
            expect(not upstream.seen, f"a foreign page reaches no API: {upstream.seen}")

            got = browse(browser, folder, f"http://rebound.example:{proxy}/", pages.reports, "rebound.example")
            for what in ("get", "post", "remove"):
                expect(got[what].startswith("421 "), f"a rebound name gets nothing by {what}: {got[what]}")
            expect(got["picture"] == "failed", f"a rebound name gets no picture: {got['picture']}")
            expect(not upstream.seen, f"a rebound name reaches no API: {upstream.seen}")

            got = browse(browser, folder, f"http://listed.example:{pages.port}/", pages.reports, "listed.example")
            for what in ("get", "post", "remove"):
                fine = got[what].startswith("200 ") and "the secret of the API" in got[what]
                expect(fine, f"a listed page may {what}: {got[what]}")
            for line in ("GET /secret", "POST /json", "DELETE /remove"):
                expect(line in upstream.seen, f"what a listed page does arrives: {line}")
            expect(not any(line.startswith("OPTIONS") for line in upstream.seen), "preflights are answered here")
        finally:
            process.terminate()
            process.wait()
    finally:
        # Helpers of the browser outlive it for a moment, and write into its profile.
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
