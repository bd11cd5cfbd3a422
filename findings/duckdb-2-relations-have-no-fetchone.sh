#!/usr/bin/env bash
# Most people guess: relations (duckdb.sql, connection.table, ...) keep their fetchone and
#   fetchmany in a major release of the engine: they are the shortest way to one value and stand
#   in countless scripts and tests.
# What really happens: 2.0.1's Python package has no fetchone, fetchmany and execute on
#   relations (its error says why: a relation keeps no result between calls, so each call runs
#   the query again, and a loop over fetchone would see the first row for ever). fetchall is
#   there and sees rows that came after the relation was made. The connection's own
#   execute(...).fetchone() and fetchmany() are as before.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: the error message in the package itself (duckdb 2.0.1, duckdb/_relation.py), printed
#   below.
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

version = duckdb.__version__
print("duckdb", version)
db = duckdb.connect()
db.execute("CREATE TABLE t AS SELECT 1 AS i")


def answer(call):
    try:
        return call()
    except AttributeError as error:
        print("  ", error)
        return "AttributeError"


relation = db.sql("FROM t")
seen = {
    "relation.fetchone()": answer(lambda: relation.fetchone()),
    "relation.fetchmany(1)": answer(lambda: db.sql("FROM t").fetchmany(1)),
    "cursor.execute().fetchone()": answer(lambda: db.cursor().execute("FROM t").fetchone()),
    "relation.fetchall()": answer(lambda: db.sql("FROM t").fetchall()),
}
late = db.sql("FROM t")
db.execute("INSERT INTO t VALUES (2)")
seen["a relation made before an insert"] = late.fetchall()
for key, value in seen.items():
    print(f"  {key}: {value}")
new = version == "2.0.1"
expected = dict(zip(seen, ["AttributeError" if new else (1,), "AttributeError" if new else [(1,)], (1,), [(1,)], [(1,), (2,)]]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.5.6; do
  "$work/$version/bin/python" look.py
done
echo "as described"
