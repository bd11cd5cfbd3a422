#!/usr/bin/env bash
# Most people guess: a request that a test registered with requests-mock,
#   m.get("https://.../Orders?status=PAID"), is answered only if the program asks for just that.
# What really happens: paths and queries are compared in lower case, values, too, and the
#   registered query has only to be contained: /orders?status=paid&page=9 gets the answer as well.
#   So a test with this mock does not notice a wrong case, to which real services answer 404, nor
#   a parameter too many. case_sensitive=True for the mocker mends the first, complete_qs=True at
#   each address the second. responses compares both exactly.
# Seen with: requests-mock 1.12.1, responses 0.26.3, requests 2.34.2
# Source: https://requests-mock.readthedocs.io/en/latest/matching.html (query strings are a
#   subset; case) and requests_mock/adapter.py
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check requests-mock==1.12.1 responses==0.26.3 requests==2.34.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import requests
import requests_mock
import responses

print(*(f"{name} {version(name)}" for name in ("requests-mock", "responses", "requests")))
registered = "https://api.example.org/Orders?status=PAID"
asked = {
    "the same": registered,
    "another path": "https://api.example.org/orders?status=PAID",
    "another value": "https://api.example.org/Orders?status=paid",
    "one parameter more": "https://api.example.org/Orders?status=PAID&page=9",
    "one parameter less": "https://api.example.org/Orders",
}


def answered(url):
    try:
        return requests.get(url).text == "yes"
    except (requests.exceptions.ConnectionError, requests_mock.NoMockAddress):
        return False


def with_requests_mock(url, strict):
    with requests_mock.Mocker(case_sensitive=strict) as mock:
        mock.get(registered, text="yes", complete_qs=strict)
        return answered(url)


def with_responses(url):
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(registered, body="yes")
        return answered(url)


seen = {what: (with_requests_mock(url, False), with_requests_mock(url, True), with_responses(url)) for what, url in asked.items()}
print("  is it answered by requests-mock, with both switches, by responses?")
for what, value in seen.items():
    print(f"  {what}: {value}")
expected = dict(zip(asked, [(True, True, True), (True, False, False), (True, False, False), (True, False, False), (False, False, False)]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
