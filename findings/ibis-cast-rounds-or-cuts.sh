#!/usr/bin/env bash
# Most people guess: an Ibis expression means the same on every backend, which is what Ibis is
#   for: cast("int64") of 1.7 is 1 everywhere, or 2 everywhere.
# What really happens: it depends on the backend. For BigQuery the compiler writes TRUNC around
#   the value, so as to cut, which is what SQLite and Polars do; for DuckDB it writes a bare CAST,
#   and DuckDB rounds: 1.7 is 2, and 2.5 is 2, 3.5 is 4. So group sizes, ages and page numbers
#   that were tested on DuckDB are others in BigQuery.
# Seen with: ibis-framework 12.0.0, duckdb 2.0.1, polars 2.1.0
# Source: the SQL that this script prints; ibis/backends/sql/compilers/bigquery (visit_Cast) and
#   duckdb.py, which has no such thing; the backends' own rules are their databases'
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'ibis-framework[duckdb,sqlite,polars]==12.0.0' duckdb==2.0.1 polars==2.1.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import duckdb
import ibis
import pandas as pd
import polars as pl

print("ibis-framework", ibis.__version__, "duckdb", duckdb.__version__, "polars", pl.__version__)
values = pd.DataFrame({"i": range(5), "v": [1.7, 2.5, 3.5, -1.7, 0.999]})
backends = {"duckdb": ibis.duckdb.connect(), "sqlite": ibis.sqlite.connect(), "polars": ibis.polars.connect()}
seen = {}
for name, connection in backends.items():
    table = connection.create_table("t", ibis.memtable(values)).order_by("i")
    seen[name] = table.v.cast("int64").execute().tolist()
unbound = ibis.table({"v": "float64"}, name="t")
for dialect in ("bigquery", "duckdb"):
    sql = " ".join(str(ibis.to_sql(unbound.select(n=unbound.v.cast("int64")), dialect=dialect)).split())
    print(f"  {dialect}: {sql}")
    seen["TRUNC for " + dialect] = "TRUNC" in sql
for key, value in seen.items():
    print(f"  {key}: {value}")
cut = [1, 2, 3, -1, 0]
expected = {"duckdb": [2, 2, 4, -2, 1], "sqlite": cut, "polars": cut, "TRUNC for bigquery": True, "TRUNC for duckdb": False}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
