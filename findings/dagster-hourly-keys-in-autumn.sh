#!/usr/bin/env bash
# Most people guess: keys of HourlyPartitionsDefinition(timezone=...) all have the form of fmt,
#   %Y-%m-%d-%H:%M; the hour that comes twice when summer time ends gets one key, or makes the
#   definition fail.
# What really happens: the first of the two hours keeps the plain form, the second gets its UTC
#   offset appended, only that one in the year. In spring the skipped hour has no key. With
#   timezone="Asia/Taipei" neither exists, and in UTC, the default, neither: so it comes with
#   the move to another zone, in the first autumn.
# Seen with: dagster 1.13.29
# Source: dagster pull request 18022 (the hours that no key stood for; its review asks for the
#   fmt to include an offset): https://github.com/dagster-io/dagster/pull/18022
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dagster==1.13.29
cd "$work"

export DAGSTER_DISABLE_TELEMETRY=1
"$work/venv/bin/python" - <<'PY'
import datetime
import sys

import dagster as dg

print("dagster", dg.__version__)


def keys(zone, day):
    hours = dg.HourlyPartitionsDefinition(start_date=f"{day}-00:00", end_date=f"{day}-04:00", timezone=zone)
    return hours, hours.get_partition_keys()


autumn, found = keys("America/New_York", "2026-11-01")
_, spring = keys("America/New_York", "2026-03-08")
_, taipei = keys("Asia/Taipei", "2026-11-01")
windows = [autumn.time_window_for_partition_key(key).start.astimezone(datetime.timezone.utc).strftime("%H:%MZ") for key in found]
unreadable = []
for key in found:
    try:
        datetime.datetime.strptime(key, autumn.fmt)
    except ValueError:
        unreadable.append(key)
print("  autumn:", found, windows)
print("  spring:", spring)
print("  Taipei:", taipei)
print("  not of the definition's own fmt", repr(autumn.fmt), ":", unreadable)
expected = (
    ["2026-11-01-00:00", "2026-11-01-01:00", "2026-11-01-01:00-0500", "2026-11-01-02:00", "2026-11-01-03:00"],
    ["2026-03-08-00:00", "2026-03-08-01:00", "2026-03-08-03:00"],
    ["2026-11-01-01:00-0500"],
)
if (found, spring, unreadable) != expected or len(set(windows)) != 5 or len(taipei) != 4:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
