#!/usr/bin/env bash
# Most people guess: BigQuery's UNNEST(a) WITH OFFSET counts from 0, DuckDB's WITH ORDINALITY from
#   1; sqlglot knows that arrays start at another index (a[OFFSET(0)] becomes a[1]), so it
#   subtracts one here, too.
# What really happens: the two clauses are exchanged and the number is left alone, in both
#   directions: the first element has 0 in BigQuery and 1 after the translation. WHERE pos = 0, the
#   usual way to take the first one, finds nothing, and pos < 2 finds one row less. Array indexes
#   are corrected only where they are literals: a[SAFE_OFFSET(i)] with a column or an expression
#   becomes a[i], which is the element before, and NULL instead of the first.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's UNNEST: "WITH OFFSET ... index starts from 0" in its description of the
#   clause (google/zetasql, docs/query-syntax.md); DuckDB's numbers: this script.
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
array = "['a', 'b', 'c']"
queries = {
    "all": f"SELECT x, pos FROM UNNEST({array}) AS x WITH OFFSET AS pos ORDER BY pos",
    "the first": f"SELECT x FROM UNNEST({array}) AS x WITH OFFSET AS pos WHERE pos = 0",
    "index 0": f"SELECT {array}[SAFE_OFFSET(0)]",
    "index i": f"SELECT i, {array}[SAFE_OFFSET(i)] FROM UNNEST(GENERATE_ARRAY(0, 2)) AS i ORDER BY i",
}
seen = {}
for what, query in queries.items():
    translated = sqlglot.transpile(query, read="bigquery", write="duckdb")[0]
    seen[what] = db.execute(translated).fetchall()
    print(f"  {what}: {translated}: {seen[what]}")
seen["back"] = sqlglot.transpile(
    "SELECT x, pos FROM UNNEST(['a']) WITH ORDINALITY AS t(x, pos)", read="duckdb", write="bigquery"
)[0]
print("  from DuckDB to BigQuery:", seen["back"])
expected = {
    "all": [("a", 1), ("b", 2), ("c", 3)],
    "the first": [],
    "index 0": [("a",)],
    "index i": [(0, None), (1, "a"), (2, "b")],
    "back": "SELECT x, pos FROM UNNEST(['a']) AS x WITH OFFSET AS pos",
}
if seen != expected or said:
    print("changed; it was:", expected, "without a warning; warnings now:", [record.getMessage() for record in said])
    sys.exit(1)
print("as described")
PY
