#!/usr/bin/env bash
# Most people guess: sqlglot keeps the meaning of week expressions: for BigQuery's WEEK, which
#   starts on a Sunday, it writes DuckDB SQL that shifts by a day, so the other direction will
#   be as careful.
# What really happens: DuckDB's date_trunc('week', d) starts on Monday; sqlglot writes
#   DATE_TRUNC(d, WEEK), which starts on Sunday (ISOWEEK would be right), so each Sunday moves
#   to another group, and all groups get other dates. EXTRACT(DAYOFWEEK) is 1 to 7 in BigQuery
#   and 0 to 6 in DuckDB, passed on unchanged both ways; isodow(d) is rewritten with BigQuery's
#   numbers in mind and not undone: Sunday is 7 before and 6 after one round trip.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's date functions: DATE_TRUNC's WEEK begins on Sunday, ISOWEEK on Monday,
#   DAYOFWEEK is in the range [1,7] with Sunday first (google/zetasql, docs/date_functions.md);
#   DuckDB's numbers: this script.
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
seen = {}
for expression in ("strftime(date_trunc('week', DATE '2026-11-29'), '%a %Y-%m-%d')", "isodow(DATE '2026-11-29')", "dayofweek(DATE '2026-11-29')"):
    query = "SELECT " + expression
    there = sqlglot.transpile(query, read="duckdb", write="bigquery")[0]
    back = sqlglot.transpile(there, read="bigquery", write="duckdb")[0]
    answers = [duckdb.execute(q).fetchone()[0] for q in (query, back)]
    seen[expression.split("(")[0] if "trunc" not in expression else "week of"] = answers
    print(f"{query}\n  -> {there}\n  -> {back}\n  before and after, for a Sunday: {answers}")
seen["dayofweek in BigQuery's SQL"] = sqlglot.transpile("SELECT dayofweek(d)", read="duckdb", write="bigquery")[0]
expected = {
    "week of": ["Mon 2026-11-23", "Sun 2026-11-29"],
    "isodow": [7, 6],
    "dayofweek": [0, 0],
    "dayofweek in BigQuery's SQL": "SELECT EXTRACT(DAYOFWEEK FROM d)",
}
if seen != expected:
    print("seen:", seen, "changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
