#!/usr/bin/env bash
# Most people guess: a client with max_retries repeats what is safe to repeat: reads, and
#   requests that the server refused (429). After a gateway timeout on a POST nobody knows
#   whether it was carried out, so it raises.
# What really happens: one list of status codes for all methods: 429, 503, 504 and 524 are tried
#   again, POST as well as GET, with nothing in the request by which the server could see that
#   it is the same one. max_retries=3, the default, means three requests in all, not four. A 500
#   or 502 raises at once. max_retries=0 or 1 turns it off, for reads and 429 too.
# Seen with: klaviyo-api 25.0.0
# Source: the SDK's README (retries on rate limits and "server errors (rare)"; it does not speak
#   of methods) and klaviyo_api/wrapper.py in the package; the requests counted here go to a
#   server of this script's.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check klaviyo-api==25.0.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import http.server
import sys
import threading
from importlib.metadata import version

import openapi_client
from klaviyo_api import KlaviyoAPI

print("klaviyo-api", version("klaviyo-api"))
requests = []
answer = {"status": 503}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        requests.append((self.path, body, sorted(name.lower() for name in self.headers if "idempot" in name.lower())))
        self.send_response(answer["status"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
job = {"data": {"type": "campaign-send-job", "id": "A1"}}


def count(status, **options):
    answer["status"] = status
    requests.clear()
    client = KlaviyoAPI("a key", test_host=f"http://127.0.0.1:{server.server_port}", max_delay=1, **options)
    try:
        client.Campaigns.send_campaign(job)
    except openapi_client.exceptions.ApiException as error:
        assert error.status == status
    assert len({request[:2] for request in requests}) == 1 and not any(request[2] for request in requests)
    return len(requests)


seen = {status: count(status) for status in (429, 500, 502, 503, 504)}
seen["503, max_retries=0"] = count(503, max_retries=0)
for key, value in seen.items():
    print(f"  POST send job, answered {key}: {value} request(s)")
expected = {429: 3, 500: 1, 502: 1, 503: 3, 504: 3, "503, max_retries=0": 1}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
