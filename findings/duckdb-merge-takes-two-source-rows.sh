#!/usr/bin/env bash
# Most people guess: MERGE refuses a source with two rows for one target row ("must match at
#   most one source row", "cannot affect row a second time"): a duplicate in the staging table
#   shows as an error.
# What really happens: DuckDB 2.0.1 (and 1.5.6) updates without an error. The first matching
#   source row wins, yet RETURNING and the count report two updates, the one that is not in the
#   table as the last; unmatched duplicates are inserted twice, as everywhere. Development
#   versions raise an error for this: the change is merged, and expected in a later release.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: duckdb pull request 24058, "Define UPDATE ... FROM and MERGE behavior for
#   multi-matched target rows": https://github.com/duckdb/duckdb/pull/24058 ; the same in
#   DuckLake: https://github.com/duckdb/ducklake/issues/520
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 2.0.1 1.5.6; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "duckdb==$version"
done
cd "$work"

cat > look.py <<'PY'
import sys

import duckdb

print("duckdb", duckdb.__version__)
db = duckdb.connect()
db.execute("CREATE TABLE seat (id INTEGER, holder VARCHAR)")
db.execute("INSERT INTO seat VALUES (1, 'before')")
seen = {}
try:
    seen["returned"] = db.execute(
        """MERGE INTO seat USING (VALUES (1, 'first'), (1, 'second'), (2, 'x'), (2, 'y')) AS s (id, holder)
           ON seat.id = s.id
           WHEN MATCHED THEN UPDATE SET holder = s.holder
           WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.holder)
           RETURNING merge_action, seat.id, seat.holder"""
    ).fetchall()
except duckdb.Error as error:
    seen["error"] = str(error).splitlines()[0]
seen["table"] = sorted(db.execute("FROM seat").fetchall())

expected = {
    "returned": [("UPDATE", 1, "first"), ("UPDATE", 1, "second"), ("INSERT", 2, "x"), ("INSERT", 2, "y")],
    "table": [(1, "first"), (2, "x"), (2, "y")],
}
for key, value in seen.items():
    print(f"  {key}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.5.6; do
  "$work/$version/bin/python" look.py
done
echo "as described"
