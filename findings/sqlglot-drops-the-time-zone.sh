#!/usr/bin/env bash
# Most people guess: sqlglot either translates BigQuery's optional time zone argument or warns that
#   it cannot; it does translate it for DATE(ts, zone) and TIMESTAMP_TRUNC(ts, DAY, zone).
# What really happens: FORMAT_TIMESTAMP(format, ts, zone) and PARSE_TIMESTAMP(format, text, zone)
#   lose the zone without a word. An order of 02:00 in Taipei is counted on the day before, and a
#   Taipei time that is parsed comes out eight hours late, without a zone. Both run without error.
# Seen with: sqlglot 30.30.0, duckdb 2.0.1
# Source: GoogleSQL's timestamp functions: the zone argument of FORMAT_TIMESTAMP and
#   PARSE_TIMESTAMP (google/zetasql, docs/timestamp_functions.md).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "sqlglot==30.30.0" "duckdb==2.0.1" "pytz==2025.2"
cd "$work"

cat > look.py <<'PY'
import logging
import sys

import duckdb
import sqlglot

warnings = []
handler = logging.Handler()
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("sqlglot").addHandler(handler)
print("sqlglot", sqlglot.__version__, "duckdb", duckdb.__version__)
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
NIGHT = "TIMESTAMP '2026-11-27 18:00:00+00'"  # 02:00 of the 28th in Taipei
QUERIES = {
    f"CAST(DATE({NIGHT}, 'Asia/Taipei') AS STRING)": ("2026-11-28", "2026-11-28"),
    f"FORMAT_TIMESTAMP('%Y-%m-%d', {NIGHT}, 'Asia/Taipei')": ("2026-11-28", "2026-11-27"),
    "CAST(PARSE_TIMESTAMP('%Y-%m-%d %H:%M', '2026-11-28 02:00', 'Asia/Taipei') AS STRING)": (
        "2026-11-27 18:00:00+00",
        "2026-11-28 02:00:00",
    ),
}
seen = {}
for query, (in_bigquery, _) in QUERIES.items():
    translated = sqlglot.transpile(f"SELECT {query}", read="bigquery", write="duckdb")[0]
    seen[query] = connection.sql(translated).fetchall()[0][0]
    print(f"  {query}\n    means {in_bigquery}; DuckDB got {translated[7:]}\n    and answers {seen[query]}")
print("  warnings:", warnings)
if warnings or seen != {query: answer for query, (_, answer) in QUERIES.items()}:
    print("changed")
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
