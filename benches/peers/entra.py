#!/usr/bin/env python3
"""A stub of Entra's token endpoint: every POST gets the same bearer token for an hour.

Usage: entra.py PORT CERTIFICATE KEY TOKEN_FILE ADDRESS
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

port, certificate, key, token_file, address = sys.argv[1:]
ANSWER = json.dumps(
    {
        "token_type": "Bearer",
        "expires_in": 3599,
        "ext_expires_in": 3599,
        "access_token": Path(token_file).read_text(),
    }
).encode()


class TokenEndpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        pass


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)
server = ThreadingHTTPServer((address, int(port)), TokenEndpoint)
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
