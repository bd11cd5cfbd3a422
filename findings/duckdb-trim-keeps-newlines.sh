#!/usr/bin/env bash
# Most people guess: trim(x) without a set of characters removes either all white space, as
#   BigQuery's TRIM and Python's strip do, or only U+0020, as PostgreSQL and SQLite do.
# What really happens: DuckDB removes what Unicode calls a space separator (U+0020, the no-break
#   space U+00A0, the ideographic space U+3000) and keeps the tab, the carriage return and the
#   line feed. A cell that ends in a line break stays as it is, and the mistake does not show in
#   a table. sqlglot translates BigQuery's TRIM(x), which removes all Unicode white space, to
#   TRIM(x).
# Seen with: duckdb 2.0.1, sqlglot 30.30.0
# Source: GoogleSQL's string functions, TRIM: "all leading and trailing whitespace characters
#   (as defined by the Unicode standard) are removed" (google/zetasql,
#   docs/string_functions.md). DuckDB's behaviour: this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1 sqlglot==30.30.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import duckdb
import sqlglot

print("duckdb", duckdb.__version__, "sqlglot", sqlglot.__version__)
query = sqlglot.transpile("SELECT TRIM(?)", read="bigquery", write="duckdb")[0]
marks = {"space": " ", "no-break space": "\u00a0", "ideographic space": "\u3000", "tab": "\t", "CR": "\r", "LF": "\n"}
seen = {name: duckdb.execute(query, [mark + "a" + mark]).fetchone()[0] == "a" for name, mark in marks.items()}

print("BigQuery's TRIM(?) becomes:", query)
for name, removed in seen.items():
    print(f"  {name}: {'removed' if removed else 'kept'}; by Python's strip: {'removed' if not marks[name].strip() else 'kept'}")
expected = dict.fromkeys(["space", "no-break space", "ideographic space"], True) | dict.fromkeys(["tab", "CR", "LF"], False)
if query != "SELECT TRIM(?)" or seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
