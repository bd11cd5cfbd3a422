#!/usr/bin/env bash
# Most people guess: inserting '2026-01-01T10:00:00+08:00' into a TIMESTAMP column stores 02:00
#   (UTC), as DuckDB did for years, and in any case the same as inserting the equal aware Python
#   datetime.
# What really happens: up to 1.3 it was so. Since 1.4 a text cast to TIMESTAMP loses its offset
#   silently (as in PostgreSQL): 10:00 is stored. An aware datetime is bound as TIMESTAMPTZ and
#   converted with the session's TimeZone: 02:00 under UTC. One column can so hold the same
#   instant in two ways, and a loader's old rows differ from its new ones after an upgrade.
# Seen with: duckdb 2.0.1, duckdb 1.3.2
# Source: duckdb issue 18767 and its fix, pull request 18794 ("Ignore Timestamp Offsets"):
#   https://github.com/duckdb/duckdb/issues/18767 , https://github.com/duckdb/duckdb/pull/18794
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in 2.0.1 1.3.2; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/pip" install -qq --disable-pip-version-check "duckdb==$version"
done
cd "$work"

cat > look.py <<'PY'
import datetime
import sys

import duckdb

version = duckdb.__version__
text = "2026-01-01T10:00:00+08:00"
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute("CREATE TABLE t (how VARCHAR, stored TIMESTAMP)")
db.execute("INSERT INTO t VALUES ('text', ?)", [text])
db.execute("INSERT INTO t VALUES ('aware datetime', ?)", [datetime.datetime.fromisoformat(text)])
seen = {how: stored.hour for how, stored in db.execute("FROM t").fetchall()}

expected = {"text": 10 if version == "2.0.1" else 2, "aware datetime": 2}
print("duckdb", version, "hour stored for 10:00+08:00:", seen)
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
for version in 2.0.1 1.3.2; do
  "$work/$version/bin/python" look.py
done
echo "as described"
