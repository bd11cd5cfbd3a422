#!/usr/bin/env bash
# Most people guess: a database that uses nothing new stays readable by the previous version, as
#   between 1.2 and 1.5, whose default is storage version v1.0.0+; and if not, opening it with
#   storage_compatibility_version set converts it.
# What really happens: 2.0's default is its own newest format: 1.5 stops with "version number
#   69, but we can only read versions between 64 and 68". The setting counts only for a file
#   that is made then. On an existing file it is accepted and nothing changes, checkpoint or
#   not: the way back is a new file and COPY FROM DATABASE. In the other direction 2.0 leaves an
#   older file's format as it is. As the newest release depends on the Python version (3.10 has
#   no 2.0), one requirements file can make two machines that cannot read each other's files.
# Seen with: duckdb 2.0.1, duckdb 1.5.6
# Source: this script and 1.5.6's error text, printed below; DuckDB's page on storage versions
#   (https://duckdb.org/docs/current/internals/storage) names the option and the numbers
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

"$work/1.5.6/bin/python" -c 'import duckdb; duckdb.connect("by-1.5.duckdb").execute("CREATE TABLE t AS SELECT 1 AS i")'
cat > write.py <<'PY'
import duckdb

old = {"storage_compatibility_version": "v1.0.0"}


def open_and_touch(path, **config):
    with duckdb.connect(path, config=config) as db:
        db.execute("CREATE TABLE IF NOT EXISTS t AS SELECT 1 AS i")
        db.execute("INSERT INTO t VALUES (2)")
        db.execute("CHECKPOINT")


open_and_touch("default.duckdb")
open_and_touch("existing, opened with the setting.duckdb")
open_and_touch("existing, opened with the setting.duckdb", **old)
open_and_touch("new with the setting.duckdb", **old)
open_and_touch("by-1.5.duckdb")
with duckdb.connect() as db:
    db.execute("ATTACH 'default.duckdb' AS source (READ_ONLY)")
    db.execute("ATTACH 'copied.duckdb' AS target (STORAGE_VERSION 'v1.0.0')")
    db.execute("COPY FROM DATABASE source TO target")
print("written by duckdb", duckdb.__version__)
PY
"$work/2.0.1/bin/python" write.py
"$work/1.5.6/bin/python" - <<'PY'
import glob
import sys

import duckdb

print("read by duckdb", duckdb.__version__)
seen = {}
for path in sorted(glob.glob("*.duckdb")):
    try:
        with duckdb.connect(path, read_only=True) as db:
            seen[path] = len(db.execute("FROM t").fetchall())
    except duckdb.Error as error:
        seen[path] = type(error).__name__
        print("  ", str(error).splitlines()[0])
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "by-1.5.duckdb": 2,
    "copied.duckdb": 2,
    "default.duckdb": "IOException",
    "existing, opened with the setting.duckdb": "IOException",
    "new with the setting.duckdb": 2,
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
