#!/usr/bin/env bash
# Most people guess: sqlglot translates TIMESTAMP_DIFF(a, b, DAY) from BigQuery to DuckDB with
#   the same result; it takes pains over the week start in DATE_DIFF, after all.
# What really happens: BigQuery's TIMESTAMP_DIFF includes only whole intervals of the given size
#   (its DATE_DIFF and DATETIME_DIFF count crossed boundaries). sqlglot writes DuckDB's
#   date_diff for all of them, and that counts boundaries: two timestamps one hour apart, but
#   around midnight, are one day apart. DuckDB's date_sub('day', b, a) is the one that counts
#   whole intervals.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's timestamp functions, TIMESTAMP_DIFF, last example ("the result is 0
#   because only the number of whole specified HOUR intervals are included"; google/zetasql,
#   docs/timestamp_functions.md, and
#   https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/timestamp_functions)
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


def days(later, earlier):
    query = f"SELECT TIMESTAMP_DIFF(TIMESTAMP '{later}+00', TIMESTAMP '{earlier}+00', {{}})"
    translated = {u: sqlglot.transpile(query.format(u), read="bigquery", write="duckdb")[0] for u in ("DAY", "HOUR")}
    print(translated["DAY"])
    answers = [duckdb.execute(q).fetchone()[0] for q in translated.values()]
    whole = duckdb.execute(f"SELECT date_sub('day', TIMESTAMP '{earlier}', TIMESTAMP '{later}')").fetchone()[0]
    return [*answers, whole]


seen = {
    "one hour around midnight": days("2026-01-02 00:30:00", "2026-01-01 23:30:00"),
    # BigQuery's own documented example answers 0 hours
    "59:59 into the next hour": days("2001-02-01 01:00:00", "2001-02-01 00:00:01"),
}
for key, (as_days, as_hours, whole) in seen.items():
    print(f"  {key}: translated DAY {as_days}, translated HOUR {as_hours}; date_sub('day') {whole}")
expected = {"one hour around midnight": [1, 1, 0], "59:59 into the next hour": [0, 1, 0]}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
