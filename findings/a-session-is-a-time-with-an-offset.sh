#!/usr/bin/env bash
# Most people guess: a time range where one time is expected is an error in every parser that is
#   strict, and in a lenient one the start: the reader of a programme or of a form's answer
#   needs no case of its own for it.
# What really happens: "14:00-15:30" is an ISO 8601 time with the offset -15:30, so strict and
#   lenient parsers alike take it. With a day before it: Python's fromisoformat, pydantic,
#   pandas and dateutil give 14:00-15:30 as an aware datetime, which is 05:30 UTC of the next
#   day, and that is what DuckDB's TIMESTAMPTZ makes of it; DuckDB's TIMESTAMP leaves it out.
#   The time alone: time.fromisoformat, pydantic's time and dateutil the same; pendulum drops
#   the end and takes today. No check of the offset's size helps but one's own (real ones end at
#   -12:00 and +14:00). "14:00–15:30" and "14:00 - 15:30", as other rows of the same sheet have
#   it, are refused.
# Seen with: pydantic 2.14.4, pandas 3.1.1, python-dateutil 2.9.0.post0, pendulum 3.3.0, duckdb
#   2.0.1
# Source: this script; Python's documentation of datetime.fromisoformat
#   (https://docs.python.org/3/library/datetime.html#datetime.datetime.fromisoformat) and of
#   tzinfo, whose offsets may be anything under 24 hours
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pydantic==2.14.4 pandas==3.1.1 python-dateutil==2.9.0.post0 pendulum==3.3.0 duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import platform
import sys
from importlib.metadata import version

import dateutil.parser
import duckdb
import pandas
import pendulum
import pydantic

names = ("pydantic", "pandas", "python-dateutil", "pendulum", "duckdb")
print("python", platform.python_version(), *(f"{name} {version(name)}" for name in names))


def duckdb_as(kind):
    return lambda text: duckdb.execute(f"SET timezone = 'UTC'; SELECT CAST(CAST(? AS {kind}) AS VARCHAR)", [text]).fetchone()[0]


def of_pydantic(kind):
    return pydantic.TypeAdapter(kind).validate_python


WITH_A_DAY = {
    "datetime.fromisoformat": datetime.datetime.fromisoformat,
    "pydantic, datetime": of_pydantic(datetime.datetime),
    "pandas.to_datetime": lambda text: pandas.to_datetime(pandas.Series([text]))[0],
    "dateutil": dateutil.parser.parse,
    "duckdb, TIMESTAMPTZ": duckdb_as("TIMESTAMPTZ"),
    "duckdb, TIMESTAMP": duckdb_as("TIMESTAMP"),
}
ALONE = {
    "time.fromisoformat": datetime.time.fromisoformat,
    "pydantic, time": of_pydantic(datetime.time),
    "dateutil, timetz()": lambda text: dateutil.parser.parse(text).timetz(),
    "pendulum, its time": lambda text: pendulum.parse(text).timetz(),
}


def read(parse, text):
    try:
        return str(parse(text)).replace("T", " ")
    except Exception:
        return "refused"


seen = {}
for day, parsers in (("2026-09-05 ", WITH_A_DAY), ("", ALONE)):
    for name, parse in parsers.items():
        seen[name] = read(parse, day + "14:00-15:30")
        print(f"  {day}14:00-15:30 by {name}: {seen[name]}")
        other = {read(parse, day + text) for text in ("14:00–15:30", "14:00 - 15:30")}
        if other != {"refused"}:
            seen[name + ", otherwise written"] = other
            print("  ", name, "otherwise written:", other)
offset, utc = "2026-09-05 14:00:00-15:30", "2026-09-06 05:30:00+00"
expected = dict(zip(WITH_A_DAY, [offset] * 4 + [utc, "2026-09-05 14:00:00"]))
expected |= dict(zip(ALONE, ["14:00:00-15:30"] * 3 + ["14:00:00+00:00"]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
