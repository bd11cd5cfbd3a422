#!/usr/bin/env bash
# Most people guess: monthly partitions with day_offset=31 start on each month's last day (31 is
#   clamped, as date arithmetic does); and a TimeWindowPartitionsDefinition whose fmt is too coarse
#   for its cron schedule is refused, as StaticPartitionsDefinition refuses the same key twice.
# What really happens: day_offset is the day field of a cron schedule, which skips a month that has
#   no such day: the keys are January, March, May, July, and one partition is two months long, a
#   whole month's data later than one waits for it. With cron "0 0,12 * * *" and fmt "%Y-%m-%d"
#   there are two windows a day under one key, listed twice; the key stands for the first, so the
#   afternoons belong to no partition that can be asked for. Neither is an error or a warning.
# Seen with: dagster 1.13.29
# Source: dagster pull request 17680 (the skipped months, for schedules):
#   https://github.com/dagster-io/dagster/pull/17680 ; a month's end is asked for in
#   https://github.com/dagster-io/dagster/issues/23194 ; the keys: this script.
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

"$work/venv/bin/python" - <<'PY'
import os
import sys
from datetime import datetime

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
import dagster as dg

print("dagster", dg.__version__)
until = datetime(2026, 8, 1)
monthly = dg.MonthlyPartitionsDefinition("2026-01-01", day_offset=31)
halves = dg.TimeWindowPartitionsDefinition(start="2026-01-01", fmt="%Y-%m-%d", cron_schedule="0 0,12 * * *")


def windows(definition, key: str) -> str:
    window = definition.time_window_for_partition_key(key)
    return f"{window.start:%m-%d %H:%M} to {window.end:%m-%d %H:%M}"


seen = {
    "day_offset=31": monthly.get_partition_keys(current_time=until),
    "its first window": windows(monthly, "2026-01-31"),
    "two windows a day": halves.get_partition_keys(current_time=datetime(2026, 1, 3)),
    "the window of 2026-01-02": windows(halves, "2026-01-02"),
}
try:
    dg.StaticPartitionsDefinition(["2026-01-01", "2026-01-01"])
    seen["the same key twice, static"] = "accepted"
except dg.DagsterInvalidDefinitionError as error:
    seen["the same key twice, static"] = type(error).__name__
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {
    "day_offset=31": ["2026-01-31", "2026-03-31", "2026-05-31"],
    "its first window": "01-31 00:00 to 03-31 00:00",
    "two windows a day": ["2026-01-01", "2026-01-01", "2026-01-02", "2026-01-02"],
    "the window of 2026-01-02": "01-02 00:00 to 01-02 12:00",
    "the same key twice, static": "DagsterInvalidDefinitionError",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
