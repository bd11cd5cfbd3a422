#!/usr/bin/env bash
# Most people guess: parameters set on an httpx Client, or given with a request, are added to
#   those that the URL has, as in requests: the parameter list of a Client is described as merged.
# What really happens: what is merged are the Client's parameters and the request's, and the
#   result replaces the query of the URL. A paged API answers with a whole URL for the next page;
#   asked for with a Client that has any parameter of its own, it loses its cursor, and page one
#   comes for ever, with status 200. An empty dict empties the query, too; None leaves it.
#   requests adds in each case.
# Seen with: httpx 0.28.1, requests 2.34.2
# Source: httpx/_models.py and _urls.py; https://github.com/encode/httpx/issues/3433 (since 0.28,
#   and meant)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check httpx==0.28.1 requests==2.34.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import httpx
import requests

print("httpx", httpx.__version__, "requests", requests.__version__)
following = "https://api.example.org/profiles?cursor=abc"


def with_httpx(own, given):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=str(request.url)))
    with httpx.Client(params=own, transport=transport) as client:
        return client.get(following, params=given).text


def with_requests(own, given):
    session = requests.Session()
    session.params = own or {}
    return session.prepare_request(requests.Request("GET", following, params=given)).url


cases = {"the client has size=50": ({"size": 50}, None), "the request has size=50": (None, {"size": 50}), "the request has {}": (None, {}), "nobody has any": (None, None)}
seen = {what: (with_httpx(*case), with_requests(*case)) for what, case in cases.items()}
for what, (one, other) in seen.items():
    print(f"  {what}: httpx asks for {one}, requests for {other}")
place, both = "https://api.example.org/profiles", following + "&size=50"
expected = dict(zip(cases, [(place + "?size=50", both), (place + "?size=50", both), (place, following), (following, following)]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
