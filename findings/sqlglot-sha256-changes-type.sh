#!/usr/bin/env bash
# Most people guess: sqlglot's duckdb-to-bigquery translation of sha256(x) yields the same
#   value: it is one function with the same name in both, and the other direction is known to be
#   handled with care.
# What really happens: DuckDB's sha256 is a text of 64 hex digits, BigQuery's SHA256 is 32
#   BYTES. From BigQuery sqlglot adds UNHEX (and turns TO_HEX(MD5(x)) into md5(x)); from DuckDB
#   it passes sha256 on as it is, so the column changes its type, and a join with stored hex
#   digests finds nothing. md5(x) is handled (TO_HEX is added): only the sha ones differ.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: BigQuery's hash functions page
#   (https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/hash_functions); sqlglot
#   pull request 6421, the opposite direction only: https://github.com/tobymao/sqlglot/pull/6421
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
for function in ("sha256", "md5"):
    query = f"SELECT {function}('a')"
    there = sqlglot.transpile(query, read="duckdb", write="bigquery")[0]
    back = sqlglot.transpile(there, read="bigquery", write="duckdb")[0]
    types = [duckdb.sql(q).types[0].id for q in (query, back)]
    seen[function] = (there, back, types)
    print(f"{query}  ->  {there}  ->  {back}")
    print("   type before and after in DuckDB:", types)
expected = {
    "sha256": ("SELECT SHA256('a')", "SELECT UNHEX(SHA256('a'))", ["varchar", "blob"]),
    "md5": ("SELECT TO_HEX(MD5('a'))", "SELECT MD5('a')", ["varchar", "varchar"]),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
