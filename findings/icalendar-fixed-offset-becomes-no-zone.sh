#!/usr/bin/env bash
# Most people guess: an aware datetime is written so that it comes back as the same moment: in UTC,
#   or with its zone; datetime.fromisoformat("2026-09-01T09:00:00+08:00"), the form in which APIs
#   give times, is aware.
# What really happens: a fixed offset is written as DTSTART;TZID="UTC+08:00":20260901T090000, a
#   zone that no calendar knows, and no VTIMEZONE says what it is; add_missing_timezones() does not
#   add one either. icalendar itself reads its own file back without an error as a naive 09:00:
#   eight hours off, or another hour in each reader's zone. With a ZoneInfo, or converted to UTC
#   first, the moment survives.
# Seen with: icalendar 7.3.2
# Source: RFC 5545, section 3.2.19 (a TZID needs a VTIMEZONE in the same file):
#   https://www.rfc-editor.org/rfc/rfc5545#section-3.2.19 ; seen by this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check icalendar==7.3.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

print("icalendar", version("icalendar"))
from_an_api = datetime.fromisoformat("2026-09-01T09:00:00+08:00")


def look(at: datetime, add_missing: bool = False) -> tuple[str, str, bool]:
    calendar, event = Calendar(), Event()
    event.add("dtstart", at)
    calendar.add_component(event)
    if add_missing:
        calendar.add_missing_timezones()
    text = calendar.to_ical()
    line = next(line for line in text.decode().splitlines() if line.startswith("DTSTART") and "2026" in line)
    back = Calendar.from_ical(text).walk("VEVENT")[0]["dtstart"].dt
    return line, back.isoformat(), back.tzinfo is not None and back == at


seen = {
    "+08:00": look(from_an_api),
    "+08:00, add_missing_timezones": look(from_an_api, add_missing=True),
    "ZoneInfo": look(from_an_api.astimezone(ZoneInfo("Asia/Taipei"))),
    "UTC": look(from_an_api.astimezone(timezone.utc)),
}
for what, (line, back, same) in seen.items():
    print(f"  {what}: {line}, read again: {back}, {'the same moment' if same else 'not the same moment'}")
lost = ('DTSTART;TZID="UTC+08:00":20260901T090000', "2026-09-01T09:00:00", False)
expected = {
    "+08:00": lost,
    "+08:00, add_missing_timezones": lost,
    "ZoneInfo": ("DTSTART;TZID=Asia/Taipei:20260901T090000", "2026-09-01T09:00:00+08:00", True),
    "UTC": ("DTSTART:20260901T010000Z", "2026-09-01T01:00:00+00:00", True),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
