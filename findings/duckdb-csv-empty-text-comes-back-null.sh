#!/usr/bin/env bash
# Most people guess: COPY TO writes an empty text as "" and NULL as nothing, so COPY FROM the same
#   file tells them apart again, as PostgreSQL's does: whoever writes the quotes will read them.
# What really happens: it reads both as NULL, an empty BLOB, too: allow_quoted_nulls is true by
#   default. A NOT NULL column of empty notes does not even take its own file back. read_csv does
#   the same. EXPORT DATABASE knows: it writes allow_quoted_nulls false into its load.sql, so the
#   round trip holds there and nowhere else.
# Seen with: duckdb 2.0.1
# Source: https://duckdb.org/docs/stable/data/csv/overview.html (allow_quoted_nulls, "allow the
#   conversion of quoted values to NULL"), and the load.sql that this script prints
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from pathlib import Path

import duckdb

print("duckdb", duckdb.__version__)
db = duckdb.connect()
db.execute("CREATE TABLE orders (id INTEGER, note VARCHAR, ticket BLOB)")
db.execute("INSERT INTO orders VALUES (1, '', ''::BLOB), (2, NULL, NULL)")
db.execute("COPY orders TO 'orders.csv'")
seen = {"the file": Path("orders.csv").read_text().splitlines()[1:]}


def back(options=""):
    db.execute("CREATE OR REPLACE TABLE again AS FROM orders LIMIT 0")
    db.execute(f"COPY again FROM 'orders.csv' {options}")
    return db.execute("FROM again ORDER BY id").fetchall()


seen["COPY FROM"] = back()
seen["with allow_quoted_nulls false"] = back("(allow_quoted_nulls false)")
seen["read_csv"] = db.execute("FROM read_csv('orders.csv') ORDER BY id").fetchall()
db.execute("DROP TABLE again; CREATE TABLE notes (note VARCHAR NOT NULL); INSERT INTO notes VALUES ('')")
db.execute("COPY notes TO 'notes.csv'")
try:
    db.execute("COPY notes FROM 'notes.csv'")
    seen["NOT NULL"] = "taken"
except duckdb.ConstraintException as error:
    seen["NOT NULL"] = str(error).splitlines()[0]
db.execute("EXPORT DATABASE 'all'")
loading = Path("all/load.sql").read_text()
print(loading.strip())
seen["EXPORT DATABASE turns it off"] = "allow_quoted_nulls false" in loading
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "the file": ['1,"",""', "2,,"],
    "COPY FROM": [(1, None, None), (2, None, None)],
    "with allow_quoted_nulls false": [(1, "", b""), (2, None, None)],
    "read_csv": [(1, None, None), (2, None, None)],
    "NOT NULL": "Constraint Error: NOT NULL constraint failed: notes.note",
    "EXPORT DATABASE turns it off": True,
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
