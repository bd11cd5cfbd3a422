#!/usr/bin/env bash
# Most people guess: Webhook.sign(msg_id, timestamp, data) signs the moment that an aware datetime
#   stands for: 10:00+08:00 and 02:00+00:00 are equal in Python, so their signatures are equal.
# What really happens: the zone is replaced by UTC, not converted to it: 10:00 in Taipei is signed
#   as 10:00 UTC. The timestamp header, int(moment.timestamp()), says 02:00 UTC, so the receiver,
#   this same library, refuses each message: "No matching signature found". With a time in UTC it
#   works, so a test with datetime.now(timezone.utc) does not show it.
# Seen with: standardwebhooks 1.1.0, svix 2.9.1
# Source: sign in standardwebhooks/webhooks.py, which svix/webhooks.py calls:
#   timestamp.replace(tzinfo=timezone.utc).timestamp()
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check standardwebhooks==1.1.0 svix==2.9.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
from importlib.metadata import version
from zoneinfo import ZoneInfo

import standardwebhooks
import svix

print(*(f"{name} {version(name)}" for name in ("standardwebhooks", "svix")))
SECRET = "whsec_" + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"  # the digits 1 to 9, over and over
BODY = '{"order": "A-1"}'
in_utc = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
in_taipei = in_utc.astimezone(ZoneInfo("Asia/Taipei"))


def received(hook, prefix, moment):
    headers = {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(moment.timestamp())),
        f"{prefix}-signature": hook.sign("msg_1", moment, BODY),
    }
    try:
        hook.verify(BODY, headers)
    except Exception as error:
        return str(error)
    return "accepted"


expected = {
    "the two times are equal": True,
    "standardwebhooks, signed in UTC": "accepted",
    "standardwebhooks, signed in Taipei": "No matching signature found",
    "svix, signed in UTC": "accepted",
    "svix, signed in Taipei": "No matching signature found",
    "Taipei's signature is that of eight hours later": True,
}
standard, by_svix = standardwebhooks.Webhook(SECRET), svix.Webhook(SECRET)
later = in_utc + dt.timedelta(hours=8)
seen = {
    "the two times are equal": in_utc == in_taipei,
    "standardwebhooks, signed in UTC": received(standard, "webhook", in_utc),
    "standardwebhooks, signed in Taipei": received(standard, "webhook", in_taipei),
    "svix, signed in UTC": received(by_svix, "svix", in_utc),
    "svix, signed in Taipei": received(by_svix, "svix", in_taipei),
    "Taipei's signature is that of eight hours later": standard.sign("m", in_taipei, BODY) == standard.sign("m", later, BODY),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
