"""Microsoft's token library gets a token, as a script without a proxy would:
python acquire.py ADDRESS:PORT CA_FILE AUTHORITY CLIENT_ID SCOPE secret FILE
python acquire.py ADDRESS:PORT CA_FILE AUTHORITY CLIENT_ID SCOPE certificate FILE
The first argument is where the authority's name leads to."""

import socket
import sys

import msal

where, ca_file, authority, client_id, scope, kind, proof = sys.argv[1:]
address, port = where.rsplit(":", 1)


def lead(host, *_, **__):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))]


socket.getaddrinfo = lead
with open(proof, encoding="utf-8") as file:
    text = file.read()
if kind == "certificate":
    begin = text.index("-----BEGIN PRIVATE KEY-----")
    end = text.index("-----END PRIVATE KEY-----") + len("-----END PRIVATE KEY-----")
    credential = {"private_key": text[begin:end], "public_certificate": text[:begin] + text[end:]}
else:
    credential = text
app = msal.ConfidentialClientApplication(
    client_id,
    authority=authority,
    client_credential=credential,
    instance_discovery=False,
    verify=ca_file,
)
answer = app.acquire_token_for_client(scopes=[scope])
assert "access_token" in answer, answer
again = app.acquire_token_for_client(scopes=[scope])
assert again["access_token"] == answer["access_token"], "the second is the cached one"
print("fine")
