#!/usr/bin/env bash
# Most people guess: page_cursor takes the whole next link (the README: "exactly what is
#   returned in the self/next/prev response values") and requests what the link says.
# What really happens: the link is cut at the text page%5Bcursor%5D, so that the "=" between
#   name and value stays in front of the cursor: the request carries page[cursor]==...
#   Everything else in the link is thrown away, so filter, sort, fields and page size have to be
#   given again with each page. A link that does not begin with https:// is sent whole as the
#   cursor. Taking the parameter out of the link with urllib.parse.parse_qs and passing the bare
#   cursor sends what one expects. (What Klaviyo's servers make of the "=" is not seen here.)
# Seen with: klaviyo-api 25.0.0
# Source: the SDK's README (the example for page_cursor, whose link is used here); seen by this
#   script against a server of its own.
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
import urllib.parse
from importlib.metadata import version

from klaviyo_api import KlaviyoAPI

print("klaviyo-api", version("klaviyo-api"))
asked = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query))
        answer = b'{"data": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.api+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = KlaviyoAPI("a key", test_host=f"http://127.0.0.1:{server.server_port}")

cursor = "bmV4dDo6aWQ6OjAxRjNaWk5ITlRYMUtFVEhQMzJTUzRBN0ZY"
link = f"https://a.klaviyo.com/api/profiles/?page%5Bcursor%5D={cursor}&page%5Bsize%5D=20&sort=email"
print("link:  ", urllib.parse.parse_qs(urllib.parse.urlsplit(link).query))
client.Profiles.get_profiles(page_cursor=link)
client.Profiles.get_profiles(page_cursor=cursor)
for query in asked:
    print("asked: ", query)
expected = [{"page[cursor]": ["=" + cursor]}, {"page[cursor]": [cursor]}]
if asked != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
