#!/usr/bin/env bash
# Most people guess: appending to a Delta table enforces its schema, for which Delta is known:
#   "write_deltalake will raise ValueError if the schema of the data passed to it differs from the
#   existing table's schema", says the documentation.
# What really happens: columns are cast to the table's types, and only what cannot be cast is
#   refused. 2.9 is stored as 2, "007" as 7, a date as days since 1970, 0.5 in a column of
#   booleans as true, and 2 a.m. of the 5th in Taipei as the 4th; the answer is no warning and a
#   new version of the table. polars' write_delta does the same.
# Seen with: deltalake 1.6.6, pyarrow 26.0.1, polars 2.1.0
# Source: https://delta-io.github.io/delta-rs/usage/writing/ (what it should do) and
#   https://github.com/delta-io/delta-rs/issues/3917 (closed)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1 polars==2.1.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime as dt
import sys
from importlib.metadata import version

import polars
import pyarrow
from deltalake import DeltaTable, write_deltalake

print(*(f"{name} {version(name)}" for name in ("deltalake", "pyarrow", "polars")))
night = dt.datetime(2026, 9, 5, 2, tzinfo=dt.timezone(dt.timedelta(hours=8)))


def appended(kept, late):
    """Return what is stored for a value in a table whose column has another type."""
    stored = []
    for append in (
        lambda: write_deltalake("orders", pyarrow.table({"value": [late]}), mode="append"),
        lambda: polars.DataFrame({"value": [late]}).write_delta("orders", mode="append"),
    ):
        write_deltalake("orders", pyarrow.table({"value": [kept]}), mode="overwrite", schema_mode="overwrite")
        try:
            append()
            values = DeltaTable("orders").to_pyarrow_table()["value"].to_pylist()
            values.remove(kept)
        except Exception:
            values = ["refused"]
        stored.append(values[0])
    return stored


seen = {
    "2.9 into int64": appended(1, 2.9),
    "'007' into int64": appended(1, "007"),
    "a date into int64": appended(1, dt.date(2026, 9, 5)),
    "'two' into int64": appended(1, "two"),
    "0.5 into bool": appended(False, 0.5),
    "'off' into bool": appended(True, "off"),
    "2 a.m. in Taipei into date": appended(dt.date(2026, 1, 1), night),
    "7 into string": appended("1", 7),
}
for name, value in seen.items():
    print(f"  {name}: write_deltalake, polars' write_delta: {value}")
stored = [2, 7, 20701, "refused", True, False, dt.date(2026, 9, 4), "7"]
expected = dict(zip(seen, [[value, value] for value in stored]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
