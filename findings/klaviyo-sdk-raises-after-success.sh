#!/usr/bin/env bash
# Most people guess: a typed client is lenient with what the server adds (new fields, new enum
#   values) and strict with what it is given (a misspelt key in the request raises), and an
#   exception means that the call failed.
# What really happens: a new field in the answer is ignored, a new enum value is not: the list
#   has been made (201), the call raises pydantic.ValidationError, not an ApiException.
#   USE_DICTIONARY_FOR_RESPONSE_DATA avoids it. In the other direction an optional key that the
#   model does not know ("opt_in_proces") never leaves the machine, and no error tells of it:
#   the list gets the account's default.
# Seen with: klaviyo-api 25.0.0
# Source: the SDK's README describes the typed answers and the option; the rest is seen by this
#   script against a server of its own that answers as Klaviyo's API does.
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
import json
import sys
import threading
from importlib.metadata import version

from klaviyo_api import KlaviyoAPI
from openapi_client.api_arg_options import USE_DICTIONARY_FOR_RESPONSE_DATA

print("klaviyo-api", version("klaviyo-api"))
received, extra = [], {}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        day = "2026-01-01T00:00:00+00:00"
        attributes = {"name": "guests", "created": day, "updated": day, "opt_in_process": "single_opt_in"} | extra
        link = {"self": "https://example.org/api/lists/L1/"}
        answer = json.dumps({"data": {"type": "list", "id": "L1", "attributes": attributes, "links": link}}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = KlaviyoAPI("a key", test_host=f"http://127.0.0.1:{server.server_port}")


def create(answered, options=None, **attributes):
    extra.clear()
    extra.update(answered)
    received.clear()
    body = {"data": {"type": "list", "attributes": {"name": "guests"} | attributes}}
    try:
        client.Lists.create_list(body, **({"options": options} if options else {}))
        outcome = "returned"
    except Exception as error:
        outcome = type(error).__module__.split(".")[0] + "." + type(error).__name__
    return outcome, len(received), sorted(received[0]["data"]["attributes"])


seen = {
    "as expected": create({}),
    "answer has a new field": create({"colour": "blue"}),
    "answer has a new enum value": create({"opt_in_process": "triple_opt_in"}),
    "the same, as a dictionary": create({"opt_in_process": "triple_opt_in"}, {USE_DICTIONARY_FOR_RESPONSE_DATA: True}),
    "request has a misspelt key": create({}, opt_in_proces="double_opt_in"),
}
for key, value in seen.items():
    print(f"  {key}: {value[0]}; {value[1]} request, with the attributes {value[2]}")
expected = {key: ("returned", 1, ["name"]) for key in seen}
expected["answer has a new enum value"] = ("pydantic_core.ValidationError", 1, ["name"])
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
