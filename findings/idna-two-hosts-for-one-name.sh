#!/usr/bin/env bash
# Most people guess: a domain name with non-ASCII letters has one ASCII form, and each HTTP
#   client in Python computes it: at most an old client refuses what a new one accepts.
# What really happens: Python's own idna codec, used by socket and http.client, is IDNA 2003: ß
#   becomes ss and the final ς becomes σ, which are other people's domains today. requests uses
#   the idna package (IDNA 2008), which keeps both. The differences go both ways: symbols and
#   the ideographic full stop 。 that an input method puts between labels are fine for the codec,
#   and InvalidURL for requests (idna.encode alone does accept that full stop). The codec cannot
#   decode the 2008 form either: xn--strae-oqa raises.
# Seen with: requests 2.34.2, idna 3.20
# Source: Python's documentation of encodings.idna (it implements RFC 3490, and names the idna
#   package for RFC 5891); seen by this script, which sends both requests to a server of its
#   own.
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check requests==2.34.2 idna==3.20
cd "$work"

"$work/venv/bin/python" - <<'PY'
import http.client
import http.server
import platform
import socket
import sys
import threading

import idna
import requests

print("python", platform.python_version(), "requests", requests.__version__, "idna", idna.__version__)
hosts = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hosts.append(self.headers["Host"].split(":")[0])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
find = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **options: find("127.0.0.1", *rest, **options)  # every name is this server


def by(client, name):
    try:
        client(name, server.server_port)
    except (ValueError, UnicodeError):
        return "refused"
    return hosts.pop()


def by_http_client(name, port):
    connection = http.client.HTTPConnection(name, port)
    connection.request("GET", "/")
    connection.getresponse().close()


def by_requests(name, port):
    session = requests.Session()
    session.trust_env = False
    session.get(f"http://{name}:{port}/").close()


seen = {}
for name in ("bücher.example", "straße.example", "☃.example", "例え。example"):
    seen[name] = by(by_http_client, name), by(by_requests, name)
    print(f"  {name}: http.client {seen[name][0]}, requests {seen[name][1]}")
expected = {
    "bücher.example": ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    "straße.example": ("strasse.example", "xn--strae-oqa.example"),
    "☃.example": ("xn--n3h.example", "refused"),
    "例え。example": ("xn--r8jz45g.example", "refused"),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
