#!/usr/bin/env bash
# Most people guess: FORMAT('%d tickets', n) from BigQuery becomes DuckDB's printf, which takes the
#   same templates, or raises, or at least warns; a MySQL FORMAT is translated, after all.
# What really happens: it is passed on under its name, and DuckDB's format is another function: its
#   placeholders are {}, so a template without braces is valid and comes back as it is, whatever
#   the arguments. Every row gets the text "%d tickets", and a key made by FORMAT('%05d', id) is
#   the same for all rows, so a GROUP BY on it has one group. printf gives what BigQuery gives.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's FORMAT (google/zetasql, docs/string_functions.md); sqlglot issue 5933, the
#   same for Trino, where DuckDB's {} is spoken of: https://github.com/tobymao/sqlglot/issues/5933
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
db.execute("CREATE TABLE orders AS SELECT * FROM (VALUES (7, 2), (42, 1)) AS o (id, n)")
seen = {}
for query in (
    "SELECT FORMAT('%d tickets', n) FROM orders",
    "SELECT FORMAT('%05d', id), COUNT(*) FROM orders GROUP BY 1",
):
    translated = sqlglot.transpile(query, read="bigquery", write="duckdb")[0]
    seen[query] = db.execute(translated).fetchall()
    print(f"  {translated}: {seen[query]}")
by_printf = db.execute("SELECT printf('%d tickets', n), printf('%05d', id) FROM orders").fetchall()
print("  DuckDB's printf:", by_printf)
expected = {
    "SELECT FORMAT('%d tickets', n) FROM orders": [("%d tickets",), ("%d tickets",)],
    "SELECT FORMAT('%05d', id), COUNT(*) FROM orders GROUP BY 1": [("%05d", 2)],
}
if by_printf != [("2 tickets", "00007"), ("1 tickets", "00042")]:
    print("changed: printf")
    sys.exit(1)
if seen != expected or said:
    print("changed; it was:", expected, "without a warning; warnings now:", [record.getMessage() for record in said])
    sys.exit(1)
print("as described")
PY
