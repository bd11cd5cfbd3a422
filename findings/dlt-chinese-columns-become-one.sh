#!/usr/bin/env bash
# Most people guess: dlt keeps Chinese column names (DuckDB takes any quoted name),
#   transliterates them, or stops when two fields would get the same name.
# What really happens: the default naming convention (snake_case) replaces every run of
#   characters other than ASCII letters, digits and _ by one _, and then each trailing _ by x.
#   So a name without any ASCII letter becomes "x", whatever it was: the fields of one row
#   collide in one column, the last value wins, the load succeeds and nothing is logged about
#   it. A table with such a name is called x, too.
# Seen with: dlt 1.31.0, duckdb 2.0.1
# Source: dlt's API reference, common.normalizers.naming.snake_case (which characters are
#   removed, that trailing underscores become x; it does not speak of collisions):
#   https://dlthub.com/docs/api_reference/common/normalizers/naming/snake_case
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dlt==1.31.0 duckdb==2.0.1
cd "$work"

export RUNTIME__DLTHUB_TELEMETRY=false DLT_DATA_DIR="$work/dlt"
"$work/venv/bin/python" - <<'PY'
import sys

import dlt
import duckdb

print("dlt", dlt.__version__, "duckdb", duckdb.__version__)
row = {"id": 1, "姓名": "a name", "電話": "a number", "信箱": "an address"}
pipeline = dlt.pipeline("tickets", destination=dlt.destinations.duckdb("kept.duckdb"), dataset_name="shop")
pipeline.run([row], table_name="訂單")

with duckdb.connect("kept.duckdb", read_only=True) as db:
    tables = db.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'shop' AND table_name NOT LIKE '\\_dlt%' ESCAPE '\\'"
    ).fetchall()
    columns = [c[0] for c in db.execute("DESCRIBE shop.x").fetchall() if not c[0].startswith("_dlt")]
    values = db.execute("SELECT * EXCLUDE (_dlt_id, _dlt_load_id) FROM shop.x").fetchall()

seen = {"tables": tables, "columns": columns, "values": values}
expected = {"tables": [("x",)], "columns": ["id", "x"], "values": [(1, "an address")]}
print("sent:", row)
for key, value in seen.items():
    print(f"{key}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
