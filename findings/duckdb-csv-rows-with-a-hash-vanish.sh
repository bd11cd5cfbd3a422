#!/usr/bin/env bash
# Most people guess: read_csv drops comment lines only when it is given a comment character (the
#   documentation says that comment is empty by default), as pandas, polars and the csv module do;
#   with all_varchar=true nothing is guessed from the values.
# What really happens: the sniffer tries "#" as a comment character by itself, and takes it if the
#   rest of the file looks more regular: a ticket number "#2" among plain numbers takes its whole
#   row away, and " # " in a name is then cut off as well. There is no error, no warning and no
#   rejected row. all_varchar, delim, quote and header do not help; comment='', quotes around the
#   cell, or the types of the columns (columns=...) do.
# Seen with: duckdb 2.0.1, polars 2.1.0
# Source: duckdb pull request 13162 (the option, and that # is sniffed):
#   https://github.com/duckdb/duckdb/pull/13162 ; a reader who found comment='' by trial:
#   https://github.com/duckdb/duckdb/issues/17744
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1 polars==2.1.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import csv
import sys

import duckdb
import polars

print("duckdb", duckdb.__version__, "polars", polars.__version__)
rows = ["ticket,name", *(f"{number},Guest {number}" for number in range(3, 1000)), "#1000,Ann", "1001,Bob # vegan"]
with open("tickets.csv", "w") as file:
    file.write("\n".join(rows) + "\n")


def look(options: str = "") -> tuple[int, str]:
    found = duckdb.connect().execute(f"FROM read_csv('tickets.csv'{options})").fetchall()
    return len(found), found[-1][1]


with open("tickets.csv", newline="") as file:
    by_csv = list(csv.reader(file))[1:]
seen = {
    "the csv module": (len(by_csv), by_csv[-1][1]),
    "polars": (polars.read_csv("tickets.csv", infer_schema=False).height, polars.read_csv("tickets.csv", infer_schema=False).row(-1)[1]),
    "duckdb": look(),
    "duckdb, all_varchar": look(", all_varchar=true"),
    "duckdb, delim, quote and header": look(""", delim=',', quote='"', header=true"""),
    "duckdb, comment=''": look(", comment=''"),
    "duckdb, columns": look(", columns={'ticket': 'VARCHAR', 'name': 'VARCHAR'}"),
}
for reader, (count, last) in seen.items():
    print(f"  {reader}: {count} rows, the last name is {last!r}")
whole, less = (999, "Bob # vegan"), (998, "Bob ")
expected = dict(zip(seen, (whole, whole, less, less, less, whole, whole), strict=True))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
