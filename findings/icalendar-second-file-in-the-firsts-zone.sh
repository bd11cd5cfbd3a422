#!/usr/bin/env bash
# Most people guess: a time with TZID=Venue is read by the VTIMEZONE "Venue" of its own file: RFC
#   5545 ties the two together within one iCalendar object, and a second file has its own.
# What really happens: icalendar and vobject both keep zones by name for as long as the process
#   lives, and the first definition wins. Two files of two venues, each with its own zone "Venue"
#   (Outlook's "Customized Time Zone" is such a name), read one after the other: the second file's
#   09:00+01:00 becomes 09:00+08:00, seven hours off, without an error, and the other way round in
#   the other order. A file read in a process of its own is right.
# Seen with: icalendar 7.3.2, vobject 0.9.9
# Source: https://www.rfc-editor.org/rfc/rfc5545#section-3.2.19 (a TZID names the VTIMEZONE of its
#   iCalendar object); https://github.com/skarim/vobject/issues/153 ; icalendar: this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check icalendar==7.3.2 vobject==0.9.9
cd "$work"

"$work/venv/bin/python" - <<'PY'
import subprocess
import sys
from importlib.metadata import version

print(*(f"{name} {version(name)}" for name in ("icalendar", "vobject")))
reader = '''
import sys

lines = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example.org//EN
BEGIN:VTIMEZONE
TZID:Venue
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:@
TZOFFSETTO:@
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:1
DTSTAMP:20260101T000000Z
DTSTART;TZID=Venue:20260905T090000
SUMMARY:Doors open
END:VEVENT
END:VCALENDAR
"""


def read(offset):
    text = lines.replace("@", offset).replace("\\n", "\\r\\n")
    if sys.argv[1] == "icalendar":
        import icalendar

        return icalendar.Calendar.from_ical(text).walk("VEVENT")[0]["dtstart"].dt
    import vobject

    return vobject.readOne(text).vevent.dtstart.value


print(*(read(offset).isoformat() for offset in sys.argv[2:]))
'''


def look(library, *offsets):
    return subprocess.run([sys.executable, "-c", reader, library, *offsets], capture_output=True, text=True, check=True).stdout.split()


east, west = "2026-09-05T09:00:00+08:00", "2026-09-05T09:00:00+01:00"
expected = {
    (library, *offsets): times
    for library in ("icalendar", "vobject")
    for offsets, times in {
        ("+0800",): [east],
        ("+0100",): [west],
        ("+0800", "+0100"): [east, east],
        ("+0100", "+0800"): [west, west],
    }.items()
}
seen = {case: look(*case) for case in expected}
for (library, *offsets), times in seen.items():
    print(f"  {library}, files of {', '.join(offsets)}: {', '.join(times)}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
