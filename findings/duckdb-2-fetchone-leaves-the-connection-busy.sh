#!/usr/bin/env bash
# Most people guess: a result that was not read to its end is dropped when the same connection
#   gets its next query; and with one row in it, fetchone() has read it to its end anyway.
# What really happens: up to 1.5 yes. In 2.0 db.sql, db.table and the like raise as long as an
#   execute() result is unfinished, and it is unfinished until a fetch has returned no rows:
#   fetchone() on SELECT count(*) leaves it open, execute() of a SELECT without a fetch too.
#   execute(), commit() and a cursor() of its own go on. So code that mixes both styles on one
#   connection breaks with the upgrade, and only behind a fetchone.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: the error message in the package itself (duckdb 2.0.1), printed below. What 1.x did,
#   from its maintainers: https://github.com/duckdb/duckdb/issues/13705
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


def after(read, then):
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t AS SELECT 1 AS i")
        read(db)
        try:
            then(db)
        except duckdb.Error as error:
            after.message = str(error)
            return type(error).__name__
        return "fine"


count = "SELECT count(*) FROM t"
relation = lambda db: db.sql("FROM t").fetchall()  # noqa: E731
seen = {
    "fetchone, then a relation": after(lambda db: db.execute(count).fetchone(), relation),
    "no fetch, then a relation": after(lambda db: db.execute(count), relation),
    "fetchall, then a relation": after(lambda db: db.execute(count).fetchall(), relation),
    "fetchone twice, then a relation": after(lambda db: (db.execute(count).fetchone(), db.fetchone()), relation),
    "fetchone, then execute": after(lambda db: db.execute(count).fetchone(), lambda db: db.execute("FROM t").fetchall()),
    "fetchone, then a cursor's relation": after(lambda db: db.execute(count).fetchone(), lambda db: relation(db.cursor())),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
print("  message:", getattr(after, "message", None))
refused = "ResourceInUseException" if version == "2.0.1" else "fine"
expected = dict.fromkeys(seen, "fine") | {"fetchone, then a relation": refused, "no fetch, then a relation": refused}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.5.6; do
  "$work/$version/bin/python" look.py
done
echo "as described"
