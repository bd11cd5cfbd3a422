#!/usr/bin/env bash
# Most people guess: BigQuery's SAFE_CAST and DuckDB's TRY_CAST are the same: NULL for a text that
#   is no whole number. sqlglot translates the one into the other.
# What really happens: BigQuery reads only whole numbers as INT64, so SAFE_CAST('1.5' AS INT64) is
#   NULL. DuckDB rounds: TRY_CAST('1.5' AS BIGINT) is 2, and '1e3' is 1000. A check
#   "how many answers are no number" counts others after the translation.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's conversion rules: a text is cast to INT64 from decimal or hexadecimal integers
#   (google/zetasql, docs/conversion_functions.md); DuckDB as run here.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "sqlglot==30.30.0" "duckdb==2.0.1"
cd "$work"

cat > look.py <<'PY'
import sys

import duckdb
import sqlglot

print("sqlglot", sqlglot.__version__, "duckdb", duckdb.__version__)
seen = {}
for text in ("15", "1.5", "2.5", "1e3", "0x10", "a"):
    translated = sqlglot.transpile(f"SELECT SAFE_CAST('{text}' AS INT64)", read="bigquery", write="duckdb")[0]
    seen[text] = duckdb.sql(translated).fetchall()[0][0]
    print(f"  {translated[7:]} = {seen[text]}")
expected = {"15": 15, "1.5": 2, "2.5": 3, "1e3": 1000, "0x10": 16, "a": None}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
