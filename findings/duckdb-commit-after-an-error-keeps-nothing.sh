#!/usr/bin/env bash
# Most people guess: after try: db.execute("SELECT ... FROM maybe_missing") except: pass within
#   a transaction, the rest goes on and is committed, as in DuckDB so far and in SQLite; if the
#   transaction is lost, commit() says so.
# What really happens: a failed statement puts the transaction in an aborted state. Further
#   statements raise, but commit() does not: it ends the transaction by rolling it back and
#   returns as always, so that rows written before the error are gone without an exception if
#   nothing was executed in between. Up to 1.5 parser, binder and catalog errors did not count
#   (conversion errors did); in 2.0 each error counts, so code that probes for a table or column
#   inside a transaction loses its writes with the upgrade.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: duckdb pull request 22674, "Invalidate transactions when any error is encountered by
#   default", and issue 25300: https://github.com/duckdb/duckdb/pull/22674 ,
#   https://github.com/duckdb/duckdb/issues/25300
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


def after(statement):
    with duckdb.connect() as db:
        db.execute("CREATE TABLE t (i INTEGER)")
        db.begin()
        db.execute("INSERT INTO t VALUES (1)")
        try:
            db.execute(statement).fetchall()
            raise SystemExit(f"{statement} did not fail")
        except duckdb.Error:
            pass
        try:
            db.commit()
            commit = "commit returns"
        except duckdb.Error as error:
            commit = f"commit raises {type(error).__name__}"
        return commit, db.execute("SELECT count(*) FROM t").fetchall()[0][0]


statements = {"missing table": "SELECT * FROM missing", "misspelt": "SELEC 1", "conversion": "SELECT 'x'::INTEGER"}
seen = {name: after(statement) for name, statement in statements.items()}
for name, (commit, rows) in seen.items():
    print(f"  after an error ({name}): {commit}, rows kept: {rows} of 1")
kept = 0 if version == "2.0.1" else 1
expected = {"missing table": ("commit returns", kept), "misspelt": ("commit returns", kept), "conversion": ("commit returns", 0)}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.5.6; do
  "$work/$version/bin/python" look.py
done
echo "as described"
