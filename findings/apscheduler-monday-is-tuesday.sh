#!/usr/bin/env bash
# Most people guess: CronTrigger.from_crontab reads a crontab line as cron does: 0 9 * * 1 is
#   Monday at nine, and 0 9 13 * 5 fires on every 13th and on every Friday.
# What really happens: 0 is Monday there, so 1 is Tuesday, 0 is not Sunday, and 7 is refused;
#   names (mon) are right. A day of the month and a weekday have both to match, where cron takes
#   either: the line above waits for a Saturday the 13th, months away, and fires not once in the
#   week in which cron does. croniter and cronsim, with which other schedulers read theirs, agree
#   with cron.
# Seen with: apscheduler 3.11.3, croniter 7.0.0, cronsim 2.8
# Source: the docstring of from_crontab in apscheduler/triggers/cron and
#   https://github.com/agronholm/apscheduler/issues/286 (kept in 3.x for compatibility);
#   crontab(5) for "either field"
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check apscheduler==3.11.3 croniter==7.0.0 cronsim==2.8
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
from importlib.metadata import version

from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

print(*(f"{name} {version(name)}" for name in ("apscheduler", "croniter", "cronsim")))
start = dt.datetime(2026, 9, 1, tzinfo=dt.timezone.utc)


def with_apscheduler(line):
    try:
        return CronTrigger.from_crontab(line, timezone="UTC").get_next_fire_time(None, start)
    except ValueError:
        return None


readers = (with_apscheduler, lambda line: croniter(line, start).get_next(dt.datetime), lambda line: next(CronSim(line, start)))
expected = {
    "0 9 * * 1": ("Tue 2026-09-01", "Mon 2026-09-07", "Mon 2026-09-07"),
    "0 9 * * mon": ("Mon 2026-09-07", "Mon 2026-09-07", "Mon 2026-09-07"),
    "0 9 * * 0": ("Mon 2026-09-07", "Sun 2026-09-06", "Sun 2026-09-06"),
    "0 9 * * 7": ("refused", "Sun 2026-09-06", "Sun 2026-09-06"),
    "0 9 13 * 5": ("Sat 2027-02-13", "Fri 2026-09-04", "Fri 2026-09-04"),
    "0 9 13 * fri": ("Fri 2026-11-13", "Fri 2026-09-04", "Fri 2026-09-04"),
}
seen = {line: tuple(f"{first:%a %Y-%m-%d}" if first else "refused" for first in (read(line) for read in readers)) for line in expected}
for line, value in seen.items():
    print(f"  {line}: apscheduler, croniter, cronsim: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
