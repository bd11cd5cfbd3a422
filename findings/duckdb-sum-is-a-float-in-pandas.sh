#!/usr/bin/env bash
# Most people guess: df() keeps integers as integers, as count(*) and the column itself do, and
#   refuses what pandas cannot hold.
# What really happens: sum of any integer type is a HUGEINT, which df() turns into float64:
#   2**53 + 1 comes back as 2**53, without a warning, while fetchall() has it exactly;
#   sum(x)::BIGINT in SQL keeps it. An interval of a month becomes a Timedelta of 30 days. The
#   timestamp 'infinity', the usual mark of "no end", becomes 294247-01-10, a value that can be
#   compared and stored and is wrong; fetchall() gives datetime.max for it.
# Seen with: duckdb 2.0.1, pandas 3.1.1
# Source: seen by this script (which prints the type of the sum).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1 pandas==3.1.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import duckdb
import pandas as pd

print("duckdb", duckdb.__version__, "pandas", pd.__version__)
ask = {
    "x": "SELECT x FROM big",
    "count(x)": "SELECT count(x) FROM big",
    "sum(x)": "SELECT sum(x) FROM big",
    "sum(x)::BIGINT": "SELECT sum(x)::BIGINT FROM big",
    "interval 1 month": "SELECT INTERVAL 1 MONTH",
    "infinity": "SELECT 'infinity'::TIMESTAMP",
}
seen = {}
with duckdb.connect() as db:
    db.execute("CREATE TABLE big AS SELECT 9007199254740993::BIGINT AS x")
    print("  typeof(sum(x)):", db.execute("SELECT typeof(sum(x)) FROM big").fetchall()[0][0])
    for name, query in ask.items():
        column = db.sql(query).df().iloc[:, 0]
        exact = db.sql(query).fetchall()[0][0]
        value = column.iloc[0]
        seen[name] = str(column.dtype), str(int(value) if "sum" in name or name == "x" else value)
        print(f"  {name}: df() {seen[name]}, fetchall() {exact!r}")
expected = {
    "x": ("int64", "9007199254740993"),
    "count(x)": ("int64", "1"),
    "sum(x)": ("float64", "9007199254740992"),
    "sum(x)::BIGINT": ("int64", "9007199254740993"),
    "interval 1 month": (seen["interval 1 month"][0], "30 days 00:00:00"),
    "infinity": (seen["infinity"][0], "294247-01-10 04:00:54.775807"),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
