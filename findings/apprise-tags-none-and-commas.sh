#!/usr/bin/env bash
# Most people guess: tag=None is the absence of a tag filter, as the default of an optional
#   setting; a text with commas and a list that holds it are two spellings of one selection.
# What really happens: the default of tag is "all", not None. tag=None, tag=[] and tag="" select
#   the services without any tag: an optional setting passed through as None silences every
#   tagged service, and the call reports success as long as one untagged service took it. A text
#   is split at commas and spaces into alternatives, while inside a list an element with a comma
#   is one condition: both tags. A tag that nobody has still reaches services tagged "always",
#   with success.
# Seen with: apprise 2.3.0
# Source: apprise's README (separate --tag switches mean OR, a comma means AND) and the
#   docstring of Apprise.notify (by default all services, tag=MATCH_ALL_TAG); None and the text:
#   this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check apprise==2.3.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import http.server
import sys
import threading

import apprise

print("apprise", apprise.__version__)
reached = []


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        reached.append(self.path.strip("/"))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
alarms = apprise.Apprise()
for name, tag in (("plain", None), ("a", "a"), ("ab", ["a", "b"]), ("always", "always")):
    alarms.add(f"json://127.0.0.1:{server.server_port}/{name}", tag=tag)


def notify(**options):
    reached.clear()
    done = bool(alarms.notify(body="hello", **options))
    return sorted(reached), done


cases = [{}, {"tag": None}, {"tag": []}, {"tag": ""}, {"tag": "a,b"}, {"tag": "a b"}, {"tag": ["a", "b"]}, {"tag": ["a, b"]}, {"tag": [("a", "b")]}, {"tag": "nobody"}]
seen = [notify(**case) for case in cases]
for case, (who, done) in zip(cases, seen):
    print(f"  {case}: {who}, success {done}")
everybody, one, both = ["a", "ab", "always", "plain"], ["a", "ab", "always"], ["ab", "always"]
expected = [(who, True) for who in (everybody, ["plain"], ["plain"], ["plain"], one, one, one, both, both, ["always"])]
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
