#!/usr/bin/env bash
# Most people guess: sqlfluff fix formats SQL: what a statement means and returns stays the same,
#   its columns in their order. Where it does reorder, it sees to it that nothing depends on that.
# What really happens: one of the rules that are on by default (ST06) puts plain columns in front
#   of computed ones. It spares INSERT ... SELECT, CREATE TABLE AS and set operations, but not a
#   view or a COPY (SELECT ...): upper(name), email become email, upper(name). What fills a table
#   from the view by position, or loads the file, now stores addresses as names, without an
#   error. A view with a list of column names is spared; exclude_rules = ST06 spares all.
# Seen with: sqlfluff 4.5.0, duckdb 2.0.1
# Source: https://docs.sqlfluff.com/en/stable/reference/rules.html (ST06, structure.column_order)
#   and sqlfluff/rules/structure/ST06.py
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check sqlfluff==4.5.0 duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import duckdb

print(*(f"{name} {version(name)}" for name in ("sqlfluff", "duckdb")))
QUERY = "SELECT\n    upper(name) AS name,\n    email\nFROM buyers"
INDENTED = QUERY.replace("\n", "\n    ")
STATEMENTS = {
    "CREATE VIEW": f"CREATE VIEW guests AS\n{QUERY};\n",
    "CREATE VIEW with names": f"CREATE VIEW guests (name, email) AS\n{QUERY};\n",
    "COPY": f"COPY (\n    {INDENTED}\n) TO 'guests.csv' (HEADER false);\n",
    "CREATE TABLE AS": f"CREATE TABLE guests AS\n{QUERY};\n",
    "INSERT": f"INSERT INTO invited\n{QUERY};\n",
}


def fixed(statement):
    Path("statement.sql").write_text(statement)
    subprocess.run([sys.executable, "-m", "sqlfluff", "fix", "-q", "--dialect", "duckdb", "statement.sql"], capture_output=True)
    return Path("statement.sql").read_text()


def invited(statement):
    db = duckdb.connect()
    db.execute("CREATE TABLE buyers (name VARCHAR, email VARCHAR)")
    db.execute("CREATE TABLE invited (who VARCHAR, address VARCHAR)")
    db.execute("INSERT INTO buyers VALUES ('Ann', 'ann@example.org')")
    db.execute(statement)
    if "guests.csv" in statement:
        db.execute("COPY invited FROM 'guests.csv' (HEADER false)")
    elif "CREATE" in statement:
        db.execute("INSERT INTO invited SELECT * FROM guests")
    return db.execute("SELECT who, address FROM invited").fetchone()


seen = {name: (invited(statement), invited(fixed(statement))) for name, statement in STATEMENTS.items()}
for name, value in seen.items():
    print(f"  {name}: before and after the fix: {value}")
right, swapped = ("ANN", "ann@example.org"), ("ann@example.org", "ANN")
expected = {name: (right, swapped if name in ("CREATE VIEW", "COPY") else right) for name in STATEMENTS}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
