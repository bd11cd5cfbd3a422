#!/usr/bin/env bash
# Most people guess: what sqlglot takes care of from BigQuery to DuckDB (a "g" for REGEXP_REPLACE,
#   the first group for REGEXP_EXTRACT, LOWER on both sides for CONTAINS_SUBSTR) it takes care of
#   from DuckDB to BigQuery as well; so a view that is written for DuckDB means the same there, and
#   a round trip is harmless.
# What really happens: in that direction names are exchanged and meanings are not: regexp_replace,
#   which replaces one match, becomes one that replaces all; regexp_extract, which gives the whole
#   match, or '' for none, becomes one that gives the group, or NULL; and contains becomes
#   CONTAINS_SUBSTR, which ignores case. One round trip through BigQuery's SQL shows it in DuckDB
#   alone: three other answers for the same rows.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's string functions (google/zetasql, docs/string_functions.md: REGEXP_REPLACE
#   replaces all matches, REGEXP_EXTRACT returns the capturing group or NULL) and search functions
#   (CONTAINS_SUBSTR is case-insensitive); the way that is handled:
#   https://github.com/tobymao/sqlglot/pull/6174
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
seen = {}
for query in (
    "SELECT regexp_replace('0912-345-678', '-', '')",
    "SELECT regexp_extract('ticket 42', 'ticket ([0-9]+)')",
    "SELECT regexp_extract('no number', '[0-9]+')",
    "SELECT contains('Ann', 'a')",
):
    there = sqlglot.transpile(query, read="duckdb", write="bigquery")[0]
    back = sqlglot.transpile(there, read="bigquery", write="duckdb")[0]
    seen[query] = db.execute(query).fetchone()[0], db.execute(back).fetchone()[0]
    print(f"  {query}: {seen[query][0]!r}; as {there} and back: {seen[query][1]!r}")
expected = {
    "SELECT regexp_replace('0912-345-678', '-', '')": ("0912345-678", "0912345678"),
    "SELECT regexp_extract('ticket 42', 'ticket ([0-9]+)')": ("ticket 42", "42"),
    "SELECT regexp_extract('no number', '[0-9]+')": ("", None),
    "SELECT contains('Ann', 'a')": (False, True),
}
if seen != expected or said:
    print("changed; it was:", expected, "without a warning; warnings now:", [record.getMessage() for record in said])
    sys.exit(1)
print("as described")
PY
