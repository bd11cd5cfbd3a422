#!/usr/bin/env bash
# Most people guess: CAST(2.5 AS INTEGER) rounds one way in one database: half away from zero, as
#   in PostgreSQL's numeric and in BigQuery (for FLOAT64 too), whatever type the 2.5 has.
# What really happens: a literal 2.5 is a DECIMAL and becomes 3; the same value in a DOUBLE column
#   becomes 2, because floating point rounds half to even. 2.5e0 is a DOUBLE literal. round(x) rounds
#   both away from zero, so CAST(round(x) AS INTEGER) and CAST(x AS INTEGER) differ. A test that tries
#   the expression with literals does not see what the column will do.
# Seen with: duckdb 2.0.1, duckdb 1.5.5
# Source: as run here; BigQuery: "halfway cases round away from zero" (google/zetasql,
#   docs/conversion_functions.md).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "duckdb==2.0.1" && "$python" -m venv "$work/old" && "$work/old/bin/pip" install -qq --disable-pip-version-check "duckdb==1.5.5"
cd "$work"

cat > look.py <<'PY'
import sys

import duckdb

print("duckdb", duckdb.__version__)
EXPRESSIONS = ("2.5", "2.5::DOUBLE", "2.5e0", "round(2.5::DOUBLE)", "0.5::DOUBLE", "-2.5", "-2.5::DOUBLE", "'2.5'")
seen = {one: duckdb.sql(f"SELECT CAST({one} AS INTEGER)").fetchall()[0][0] for one in EXPRESSIONS}
for one, answer in seen.items():
    print(f"  CAST({one} AS INTEGER) = {answer}")
expected = {
    "2.5": 3,
    "2.5::DOUBLE": 2,
    "2.5e0": 2,
    "round(2.5::DOUBLE)": 3,
    "0.5::DOUBLE": 0,
    "-2.5": -3,
    "-2.5::DOUBLE": -2,
    "'2.5'": 3,
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
venv/bin/python look.py
old/bin/python look.py
echo "as described"
