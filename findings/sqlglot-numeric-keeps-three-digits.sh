#!/usr/bin/env bash
# Most people guess: BigQuery's NUMERIC has 38 digits, 9 of them behind the point, and sqlglot
#   translates it to a DECIMAL that holds that; for BIGNUMERIC it does write the numbers,
#   DECIMAL(38, 5).
# What really happens: NUMERIC becomes a bare DECIMAL, which in DuckDB is DECIMAL(18,3): a rate of
#   0.03125 is stored as 0.031, without an error, in casts, literals and CREATE TABLE. And the
#   DECIMAL(38, 5) of BIGNUMERIC cuts off after five digits where BigQuery has 38. NUMERIC(38, 9),
#   written out, is kept.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's decimal types: NUMERIC has precision 38 and scale 9 (google/zetasql,
#   docs/data-types.md); DuckDB's page on numeric types (DECIMAL without arguments is
#   DECIMAL(18,3)): https://duckdb.org/docs/stable/sql/data_types/numeric
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check sqlglot==30.30.0 duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import logging
import sys

import duckdb
import sqlglot

print("sqlglot", sqlglot.__version__, "duckdb", duckdb.__version__)
said = []
handler = logging.Handler()
handler.emit = said.append
logging.getLogger("sqlglot").addHandler(handler)
db = duckdb.connect()
from decimal import Decimal

seen = {}
for query in (
    "SELECT CAST('1.123456789' AS NUMERIC)",
    "SELECT 100000 * NUMERIC '0.03125'",
    "SELECT CAST('0.123456789' AS BIGNUMERIC)",
    "SELECT CAST('1.123456789' AS NUMERIC(38, 9))",
):
    translated = sqlglot.transpile(query, read="bigquery", write="duckdb")[0]
    ((seen[query],),) = db.execute(translated).fetchall()
    print(f"  {translated}: {seen[query]}")
table = sqlglot.transpile("CREATE TABLE rates (rate NUMERIC)", read="bigquery", write="duckdb")[0]
db.execute(table)
db.execute("INSERT INTO rates VALUES ('0.03125')")
((seen["table"],),) = db.execute("FROM rates").fetchall()
print(f"  {table}: 0.03125 is stored as {seen['table']}")
expected = {
    "SELECT CAST('1.123456789' AS NUMERIC)": Decimal("1.123"),
    "SELECT 100000 * NUMERIC '0.03125'": Decimal("3100"),
    "SELECT CAST('0.123456789' AS BIGNUMERIC)": Decimal("0.12346"),
    "SELECT CAST('1.123456789' AS NUMERIC(38, 9))": Decimal("1.123456789"),
    "table": Decimal("0.031"),
}
if seen != expected or said:
    print("changed; it was:", expected, "without a warning; warnings now:", [record.getMessage() for record in said])
    sys.exit(1)
print("as described")
PY
