#!/usr/bin/env bash
# Most people guess: for a datetime field of pydantic-settings a text of eight digits is ISO
#   8601's basic form (as for Python's own datetime.fromisoformat) or is refused; and a
#   timedelta takes a text of digits as seconds, as it takes an int.
# What really happens: environment values are texts, and pydantic reads a text of digits as
#   seconds (or, beyond 2e10, milliseconds) since 1970 for a datetime, so "20260101" is a day in
#   1970 and "2026" half past midnight of its first one. The result is aware (UTC), that of
#   "2026-01-01" naive: comparing the two raises. The same digits for a date are refused, unless
#   they are a midnight. A timedelta wants "PT1H", "01:00:00" or "1 day"; "3600" is an error in
#   the environment though 3600 is none in Python, and "12:00" is hours and minutes.
# Seen with: pydantic-settings 2.16.3, pydantic 2.14.4
# Source: pydantic's documentation of datetimes (Unix time in seconds up to 2e10, else
#   milliseconds), as quoted in https://github.com/pydantic/pydantic/issues/7940 ; that it is
#   wanted for texts, too: https://github.com/pydantic/pydantic/issues/5914
set -euo pipefail

python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pydantic-settings==2.16.3 pydantic==2.14.4
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import os
import sys
from importlib.metadata import version

from pydantic import ValidationError
from pydantic_settings import BaseSettings

print("pydantic-settings", version("pydantic-settings"), "pydantic", version("pydantic"))


class Moment(BaseSettings):
    value: datetime.datetime


class Day(BaseSettings):
    value: datetime.date


class Span(BaseSettings):
    value: datetime.timedelta


def read(kind, text):
    os.environ["VALUE"] = text
    try:
        return str(kind().value)
    except ValidationError:
        return "refused"


expected = {
    (Moment, "2026-01-01"): "2026-01-01 00:00:00",
    (Moment, "20260101"): "1970-08-23 11:48:21+00:00",
    (Moment, "2026"): "1970-01-01 00:33:46+00:00",
    (Day, "20260101"): "refused",
    (Day, "1767225600"): "2026-01-01",
    (Span, "3600"): "refused",
    (Span, "PT1H"): "1:00:00",
    (Span, "12:00"): "12:00:00",
}
seen = {case: read(*case) for case in expected}
for (kind, text), value in seen.items():
    print(f"  {kind.__name__} {text!r}: {value}")
print("  Python's own fromisoformat('20260101'):", datetime.datetime.fromisoformat("20260101") if sys.version_info >= (3, 11) else "from 3.11 on")
print("  Span(value=3600):", Span(value=3600).value)
if seen != expected or Span(value=3600).value != datetime.timedelta(hours=1):
    print("changed; it was:", {(kind.__name__, text): value for (kind, text), value in expected.items()})
    sys.exit(1)
print("as described")
PY
