#!/usr/bin/env bash
# Most people guess: the Discord service of apprise declares a body_maxlen of 2000, and its
#   source speaks of rate limits: so a long alarm arrives in parts, and after a 429 the second
#   try waits as long as Discord asked for.
# What really happens: the default overflow mode is "upstream": send it as it is and let the
#   service decide. Splitting and truncating are options of each URL. After a 429 the plugin
#   tries once more; how long it waits is taken from X-RateLimit-Remaining and X-RateLimit-Reset
#   alone, the latter through int(). A decimal number of seconds, "1790000000.250", is a
#   ValueError that is swallowed, and the repetition follows at once; so it does with
#   Retry-After only.
# Seen with: apprise 2.3.0
# Source: apprise pull request 901, "Discord Rate Limiting (429 Error code) handling" (one more
#   try, relative to the time that the answer named): https://github.com/caronc/apprise/pull/901
#   ; apprise/plugins/discord.py of the package
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
import json
import logging
import sys
import time

import apprise
import requests

logging.getLogger("apprise").setLevel(logging.CRITICAL)
print("apprise", apprise.__version__)
sent, answers = [], []


def send(self, request, **options):  # nothing leaves this machine
    status, headers = answers.pop(0) if answers else (204, {})
    answer = requests.Response()
    answer.status_code, answer.request, answer._content = status, request, b""
    answer.headers.update(headers)
    sent.append((time.monotonic(), len(json.loads(request.body).get("content", ""))))
    return answer


requests.Session.send = send


def notify(query, body, *planned):
    sent.clear()
    answers[:] = planned
    service = apprise.Apprise()
    service.add("discord://123456789012345678/abcdefghijkl" + query)
    assert service.notify(body=body)
    return [length for _, length in sent], round(sent[-1][0] - sent[0][0])


lengths = {query or "(default)": notify(query, "x" * 4500)[0] for query in ("", "?overflow=split", "?overflow=truncate")}
soon = int(time.time()) + 4
limits = {
    "Retry-After: 4": {"Retry-After": "4"},
    "X-RateLimit-Reset, whole": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(soon)},
}
waits = {name: notify("", "x", (429, headers)) for name, headers in limits.items()}
decimal = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{time.time() + 4:.3f}"}
waits["X-RateLimit-Reset, decimal"] = notify("", "x", (429, decimal))

for key, value in lengths.items():
    print(f"  4500 characters, {key}: posted {value}")
for key, (requests_made, seconds) in waits.items():
    print(f"  429 with {key}: {len(requests_made)} requests, {seconds} s between")
whole = waits["X-RateLimit-Reset, whole"][1]
as_it_was = (
    lengths["(default)"] == [4500]
    and len(lengths["?overflow=split"]) > 1
    and max(lengths["?overflow=split"] + lengths["?overflow=truncate"]) <= 2000
    and [waits["Retry-After: 4"][1], waits["X-RateLimit-Reset, decimal"][1]] == [0, 0]
    and whole >= 2
    and all(len(made) == 2 for made, _ in waits.values())
)
if not as_it_was:
    print("changed; it was: one post of 4500, no wait but for a whole number")
    sys.exit(1)
print("as described")
PY
