#!/usr/bin/env bash
# Most people guess: one row with a comma too many (an address that somebody forgot to quote) is an
#   error that names its line, or that row is lost. A shorter row is filled up with NULL or is an
#   error.
# What really happens: the sniffer looks for a reading in which all rows agree. Every row before
#   the longer one, the header included, is taken for a preamble and skipped: of 1001 tickets one
#   is left, under column0 to column2. Naming the delimiter and the quote changes nothing in that;
#   ignore_errors=true, of all things, loses only the one row. A shorter row makes the whole file a
#   table of one column, named after the whole header. With the types of the columns (columns=...)
#   both are the error that one expects.
# Seen with: duckdb 2.0.1, pandas 3.1.1
# Source: duckdb issue 25827, "read_csv silently discards the header and every row before a dialect
#   change": https://github.com/duckdb/duckdb/issues/25827
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
import pandas

print("duckdb", duckdb.__version__, "pandas", pandas.__version__)
good = [f"{number},Guest {number},Taipei" for number in range(1, 1001)]
for name, last in (("longer", "1001,Ann,Tainan, East District"), ("shorter", "1001,Ann")):
    with open(f"{name}.csv", "w") as file:
        file.write("\n".join(["id,name,city", *good, last]) + "\n")


def look(name: str, options: str = ""):
    try:
        answer = duckdb.connect().execute(f"FROM read_csv('{name}.csv'{options})")
        return len(answer.fetchall()), [column[0] for column in answer.description]
    except duckdb.Error as error:
        return type(error).__name__


try:
    by_pandas = len(pandas.read_csv("longer.csv"))
except pandas.errors.ParserError as error:
    by_pandas = type(error).__name__
four = ["column0", "column1", "column2", "column3"]
types = ", columns={'id': 'INTEGER', 'name': 'VARCHAR', 'city': 'VARCHAR'}"
seen = {
    "pandas, longer": by_pandas,
    "longer": look("longer"),
    "longer, delim and quote": look("longer", """, delim=',', quote='"'"""),
    "longer, ignore_errors": look("longer", ", ignore_errors=true"),
    "longer, columns": look("longer", types),
    "shorter": look("shorter"),
    "shorter, columns": look("shorter", types),
}
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {
    "pandas, longer": "ParserError",
    "longer": (1, four),
    "longer, delim and quote": (1, four),
    "longer, ignore_errors": (1000, ["id", "name", "city"]),
    "longer, columns": "InvalidInputException",
    "shorter": (1001, ["id,name,city"]),
    "shorter, columns": "InvalidInputException",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
