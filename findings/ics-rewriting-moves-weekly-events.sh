#!/usr/bin/env bash
# Most people guess: reading a calendar with ics and writing it again gives the same events:
#   TZID and VTIMEZONE are RFC 5545's everyday form, and what ics does not know is kept as it
#   is.
# What really happens: DTSTART with a TZID is written as the same moment in UTC and the
#   VTIMEZONE is left out, while RRULE, which ics does not know, is kept word for word. BYDAY=TU
#   then means Tuesdays in UTC: 07:00 in Taipei is Monday 23:00 there, so the first event is
#   right and all others are Wednesdays; without BYDAY, an event in a zone with summer time
#   moves by an hour on the day of the change. A floating time ("07:00 wherever you are") gets a
#   Z. A calendar without CALSCALE, the usual case, gets CALSCALE:GEORGIAN (sic), for which
#   recurring-ical-events refuses it.
# Seen with: ics 0.7.3, recurring-ical-events 3.8.2, icalendar 7.3.2
# Source: RFC 5545, section 3.8.5.3 (the rule is evaluated in DTSTART's local time); the
#   rewriting: this script, which has recurring-ical-events expand both calendars
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check ics==0.7.3 recurring-ical-events==3.8.2 icalendar==7.3.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import sys
from importlib.metadata import version

import ics
import icalendar
import recurring_ical_events

print(*(f"{name} {version(name)}" for name in ("ics", "recurring-ical-events", "icalendar")))
TAIPEI = "BEGIN:STANDARD DTSTART:19700101T000000 TZOFFSETFROM:+0800 TZOFFSETTO:+0800 END:STANDARD"
BERLIN = (
    "BEGIN:DAYLIGHT DTSTART:19700329T020000 RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU TZOFFSETFROM:+0100 TZOFFSETTO:+0200 END:DAYLIGHT "
    "BEGIN:STANDARD DTSTART:19701025T030000 RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU TZOFFSETFROM:+0200 TZOFFSETTO:+0100 END:STANDARD"
)


def calendar(start, rule, zone, rules):
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example.org//EN", "BEGIN:VTIMEZONE", f"TZID:{zone}", *rules.split(" ")]
    lines += ["END:VTIMEZONE", "BEGIN:VEVENT", "UID:1@example.org", "DTSTAMP:20260101T000000Z", f"DTSTART{start}", "DURATION:PT1H"]
    lines += [f"RRULE:{rule}"] * bool(rule) + ["SUMMARY:Meeting", "END:VEVENT", "END:VCALENDAR", ""]
    return "\r\n".join(lines)


def days(text, zone):
    events = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).all()
    return [event.start.astimezone(datetime.timezone(datetime.timedelta(hours=8)) if zone == "Asia/Taipei" else datetime.timezone.utc).strftime("%a %d %b %H:%M") for event in events]


seen = {}
for zone, start, rule, rules in (
    ("Asia/Taipei", ":20260901T070000", "FREQ=WEEKLY;BYDAY=TU;COUNT=3", TAIPEI),
    ("Europe/Berlin", ":20261020T100000", "FREQ=WEEKLY;COUNT=2", BERLIN),
):
    text = calendar(f";TZID={zone}{start}", rule, zone, rules)
    written = ics.Calendar(text).serialize()
    print("  ", *(line for line in written.splitlines() if line.startswith(("DTSTART", "RRULE", "CALSCALE"))))
    try:
        days(written, zone)
        seen["as written, " + zone] = "read"
    except ValueError as error:
        seen["as written, " + zone] = str(error)
    seen[zone] = days(text, zone), days(written.replace("GEORGIAN", "GREGORIAN"), zone)
floating = ics.Calendar(calendar(":20260901T070000", "", "Asia/Taipei", TAIPEI)).serialize()
seen["floating"] = [line for line in floating.splitlines() if line.startswith("DTSTART")]
for key, value in seen.items():
    print(f"  {key}: {value}")
weekly = ["Tue 01 Sep 07:00", "Tue 08 Sep 07:00", "Tue 15 Sep 07:00"], [
    "Tue 01 Sep 07:00",
    "Wed 02 Sep 07:00",
    "Wed 09 Sep 07:00",
    "Wed 16 Sep 07:00",
]
refused = "Only Gregorian calendars are supported."
expected = {
    "as written, Asia/Taipei": refused,
    "Asia/Taipei": weekly,
    "as written, Europe/Berlin": refused,
    "Europe/Berlin": (["Tue 20 Oct 08:00", "Tue 27 Oct 09:00"], ["Tue 20 Oct 08:00", "Tue 27 Oct 08:00"]),
    "floating": ["DTSTART:20260901T070000Z"],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
