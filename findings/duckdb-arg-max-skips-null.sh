#!/usr/bin/env bash
# Most people guess: arg_max(value, at), alias max_by, returns what the row with the greatest
#   "at" holds, NULL included: the usual short way to "the latest state of each key".
# What really happens: rows with a NULL value are left out before the newest is looked for. A
#   phone number that was deleted later comes back from an older row, while every neighbour
#   column may come from the newest. A struct around the value, arg_max_null or last(value ORDER
#   BY at) give the newest row's NULL. sqlglot translates max_by into BigQuery's MAX_BY without
#   a remark.
# Seen with: duckdb 2.0.1, sqlglot 30.30.0
# Source: this script; DuckDB has a second function, arg_max_null, for the other meaning (in its
#   duckdb_functions() list, printed below). ClickHouse documents the same rule for its argMax:
#   https://clickhouse.com/docs/reference/functions/aggregate-functions/argMax
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1 sqlglot==30.30.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import duckdb
import sqlglot

print("duckdb", duckdb.__version__, "sqlglot", sqlglot.__version__)
db = duckdb.connect()
db.execute("CREATE TABLE said (at_day INTEGER, phone VARCHAR, mail VARCHAR)")
db.execute("INSERT INTO said VALUES (1, 'old number', 'old mail'), (2, NULL, 'new mail')")
ways = ["arg_max(phone, at_day)", "max_by(phone, at_day)", "arg_max(mail, at_day)", "arg_max_null(phone, at_day)",
        "arg_max({'phone': phone}, at_day).phone", "last(phone ORDER BY at_day)"]
seen = {way: db.execute(f"SELECT {way} FROM said").fetchone()[0] for way in ways}
seen["as BigQuery"] = sqlglot.transpile("SELECT max_by(phone, at_day)", read="duckdb", write="bigquery")[0]
known = db.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name LIKE 'arg_max%' ORDER BY 1").fetchall()
print("functions:", [name for name, in known])

for key, value in seen.items():
    print(f"  {key}: {value}")
expected = dict(zip(ways, ["old number", "old number", "new mail", None, None, None]))
expected["as BigQuery"] = "SELECT MAX_BY(phone, at_day)"
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
