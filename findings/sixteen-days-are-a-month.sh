#!/usr/bin/env bash
# Most people guess: "You can return the ticket for another ...": a library that puts a time span
#   into words rounds down, or to the nearest unit, and 16 days are 16 days or two weeks.
# What really happens: humanize calls everything from 16 days on a month, and Arrow does so from
#   15 days: neither comes back to days or weeks before the month is full, so half a deadline is
#   missing. Babel goes the other way up at 85 percent of a unit: 21 hours are 1 day, six days a
#   week, 27 days a month, and 36 hours are 2 days, which the other two call a day up to the 47th
#   hour. humanize's months=False, Arrow's granularity and Babel's threshold and granularity say
#   otherwise.
# Seen with: humanize 4.17.0, arrow 1.4.0, babel 2.19.0
# Source: humanize/time.py (naturaldelta: days / 30.5, rounded), arrow/arrow.py (humanize: more
#   than 14 days count as a month); https://babel.pocoo.org/en/latest/api/dates.html
#   (format_timedelta, threshold)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check humanize==4.17.0 arrow==1.4.0 babel==2.19.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
from importlib.metadata import version

import arrow
import humanize
from babel.dates import format_timedelta

print(*(f"{name} {version(name)}" for name in ("humanize", "arrow", "babel")))
start = arrow.get("2026-09-05")


def words(span):
    return humanize.naturaldelta(span), (start + span).humanize(start, only_distance=True), format_timedelta(span, locale="en")


expected = {
    dt.timedelta(hours=21): ("21 hours", "21 hours", "1 day"),
    dt.timedelta(hours=36): ("a day", "a day", "2 days"),
    dt.timedelta(hours=47): ("a day", "a day", "2 days"),
    dt.timedelta(days=6): ("6 days", "6 days", "1 week"),
    dt.timedelta(days=14): ("14 days", "2 weeks", "2 weeks"),
    dt.timedelta(days=15): ("15 days", "a month", "2 weeks"),
    dt.timedelta(days=16): ("a month", "a month", "2 weeks"),
    dt.timedelta(days=27): ("a month", "a month", "1 month"),
    dt.timedelta(days=45): ("a month", "2 months", "2 months"),
}
seen = {span: words(span) for span in expected}
for span, value in seen.items():
    print(f"  {span}: humanize, arrow, babel: {value}")
if seen != expected:
    print("changed; it was:", {str(span): value for span, value in expected.items()})
    sys.exit(1)
print("as described")
PY
