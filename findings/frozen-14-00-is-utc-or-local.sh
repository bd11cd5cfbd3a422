#!/usr/bin/env bash
# Most people guess: freezing the time to 2026-09-05 14:00 in a test means 14:00 on the machine's
#   clock, or 14:00 UTC; in either case the clock's parts agree with each other, and text or
#   datetime makes no difference.
# What really happens: with TZ=Asia/Taipei: freezegun takes it as UTC, and datetime.now() answers
#   14:00 without a zone as well, so now().astimezone(), which asks the real zone, is eight hours
#   before now(utc), and time.localtime() says 22:00; frozen to an aware 14:00+08:00, now() is
#   06:00. time-machine keeps zones right, but takes the text for local time and the naive
#   datetime of the same digits for UTC. On a CI server in UTC none of it shows.
# Seen with: freezegun 1.5.5, time-machine 3.6.0
# Source: freezegun/api.py (FakeDatetime.now adds tz_offset, 0 by default) and
#   time_machine/__init__.py (NaiveMode.MIXED);
#   https://time-machine.readthedocs.io/en/latest/usage.html
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check freezegun==1.5.5 time-machine==3.6.0
cd "$work"

export TZ=Asia/Taipei
"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
import time
from importlib.metadata import version

import freezegun
import time_machine

print("freezegun", version("freezegun"), "time-machine", version("time-machine"))
naive = dt.datetime(2026, 9, 5, 14)
moments = {"text": "2026-09-05 14:00", "naive": naive, "aware": naive.replace(tzinfo=dt.timezone(dt.timedelta(hours=8)))}
libraries = {"freezegun": freezegun.freeze_time, "time-machine": lambda moment: time_machine.travel(moment, tick=False)}


def look():
    local = dt.datetime.now()
    clock = time.strftime("%H:%M", time.localtime())
    return f"{local:%H:%M}", clock, f"{dt.datetime.now(dt.UTC):%H:%M}", f"{local.astimezone().astimezone(dt.UTC):%H:%M}"


seen = {}
for library, freeze in libraries.items():
    for kind, moment in moments.items():
        with freeze(moment):
            seen[library, kind] = look()
print("  now(), time.localtime(), now(utc), now().astimezone() in UTC:")
for (library, kind), value in seen.items():
    print(f"  {library}, {kind}: {value}")
expected = {
    ("freezegun", "text"): ("14:00", "22:00", "14:00", "06:00"),
    ("freezegun", "naive"): ("14:00", "22:00", "14:00", "06:00"),
    ("freezegun", "aware"): ("06:00", "14:00", "06:00", "22:00"),
    ("time-machine", "text"): ("14:00", "14:00", "06:00", "06:00"),
    ("time-machine", "naive"): ("22:00", "22:00", "14:00", "14:00"),
    ("time-machine", "aware"): ("14:00", "14:00", "06:00", "06:00"),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
