#!/usr/bin/env bash
# Most people guess: ScalarQueryParameter("payload", "JSON", '{"state": "paid"}') sends that
#   JSON: the type says how the text is to be read, as for DATE or NUMERIC, where a text is sent
#   as it is.
# What really happens: the value is passed through json.dumps whatever it is, so a text becomes
#   a JSON string with quotes in it. That is valid JSON, so nothing refuses it; but it is one
#   string and no object with fields. A dict is right. insert_rows does the same for a JSON
#   column of the table's schema.
# Seen with: google-cloud-bigquery 3.47.0
# Source: python-bigquery pull request 1757, "support JSON type in insert_rows and as a scalar
#   query parameter": https://github.com/googleapis/python-bigquery/pull/1757
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check google-cloud-bigquery==3.47.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import http.server
import json
import sys
import threading

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

print("google-cloud-bigquery", bigquery.__version__)
received = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = bigquery.Client(
    project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": f"http://127.0.0.1:{server.server_port}"}
)
table = bigquery.Table("p.d.t", schema=[bigquery.SchemaField("payload", "JSON")])

seen = {}
for name, value in {"text": '{"state": "paid"}', "object": {"state": "paid"}}.items():
    parameter = bigquery.ScalarQueryParameter("payload", "JSON", value).to_api_repr()["parameterValue"]["value"]
    client.insert_rows(table, [{"payload": value}])
    row = received.pop()["rows"][0]["json"]["payload"]
    seen[name] = [type(json.loads(parameter)).__name__, type(json.loads(row)).__name__]
    print(f"  {name} {value!r}: parameter {parameter}, insert_rows {row}")
print("  what BigQuery would store (parameter, insert_rows):", seen)
expected = {"text": ["str", "str"], "object": ["dict", "dict"]}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
