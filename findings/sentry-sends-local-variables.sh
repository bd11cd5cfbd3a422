#!/usr/bin/env bash
# Most people guess: with send_default_pii=False, which is the default, Sentry gets the stack and
#   the message, and no personal data that nobody put there.
# What really happens: every frame carries its local variables: the order with the buyer's address
#   and phone number goes out. send_default_pii is about what integrations know of a request's
#   user; include_local_variables=False is a switch of its own. A logged error sends its
#   arguments, too, already put into the text.
# Seen with: sentry-sdk 2.75.0
# Source: https://docs.sentry.io/platforms/python/data-management/data-collected/ (stack traces
#   include local variables by default),
#   https://docs.sentry.io/platforms/python/configuration/options/ (send_default_pii,
#   include_local_variables)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check sentry-sdk==2.75.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import json
import logging
import sys

import sentry_sdk
from sentry_sdk.transport import Transport

print("sentry-sdk", sentry_sdk.VERSION)
sent = []


class Kept(Transport):
    def capture_envelope(self, envelope):
        sent.extend(json.dumps(item.payload.json, default=str) for item in envelope.items if item.headers.get("type") == "event")


def let_in(buyer, phone):
    raise ValueError("no such room")


def happens(**options):
    sent.clear()
    sentry_sdk.init("https://key@sentry.example.org/1", transport=Kept, **options)
    try:
        let_in({"email": "ann@example.org"}, "0912345678")
    except ValueError as error:
        sentry_sdk.capture_exception(error)
    logging.getLogger("door").error("cannot invite %s", "bo@example.org")
    sentry_sdk.flush()
    return [text for text in ("ann@example.org", "0912345678", "bo@example.org") if any(text in event for event in sent)]


logging.getLogger("door").addHandler(logging.NullHandler())
seen = {
    "default": happens(),
    "send_default_pii=False": happens(send_default_pii=False),
    "include_local_variables=False": happens(include_local_variables=False),
}
for key, value in seen.items():
    print(f"  {key}: {value} left the machine")
locals_and_log = ["ann@example.org", "0912345678", "bo@example.org"]
expected = {"default": locals_and_log, "send_default_pii=False": locals_and_log, "include_local_variables=False": ["bo@example.org"]}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
