#!/usr/bin/env bash
# Most people guess: table.order_by(...).distinct(on="ticket", keep="first") gives one row of the
#   table for each ticket, whole, as drop_duplicates in pandas and DISTINCT ON in DuckDB do.
# What really happens: it becomes a GROUP BY with one aggregate for each column, and each of them
#   takes the first value that is not NULL: where the newest row has a NULL (a seat given back, a
#   name removed) the value of an older row is put in. The result is a row that never was in the
#   table. keep="last" does the same. A filter on row_number() == 0 keeps rows whole.
# Seen with: ibis-framework 12.0.0, pandas 3.1.1, duckdb 2.0.1
# Source: ibis issue 10567 (asks for an option to turn the filter off; open):
#   https://github.com/ibis-project/ibis/issues/10567
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'ibis-framework[duckdb]==12.0.0' duckdb==2.0.1 pandas==3.1.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import duckdb
import ibis
import pandas as pd

print(*(f"{name} {version(name)}" for name in ("ibis-framework", "pandas", "duckdb")))
frame = pd.DataFrame(
    [("A1", 2, None, "cancelled"), ("A1", 1, "row 7", "paid")], columns=["ticket", "version", "seat", "state"]
)
table = ibis.memtable(frame).order_by(ibis.desc("version"))


def plain(found: pd.DataFrame) -> list:
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in found.itertuples(index=False)]


ranked = table.mutate(place=ibis.row_number().over(group_by="ticket", order_by=ibis.desc("version")))
seen = {
    "pandas": plain(frame.drop_duplicates("ticket", keep="first")),
    "duckdb": duckdb.execute("SELECT DISTINCT ON (ticket) * FROM frame ORDER BY ticket, version DESC").fetchall(),
    "ibis, distinct": plain(table.distinct(on="ticket", keep="first").execute()),
    "ibis, keep last": plain(ibis.memtable(frame).order_by("version").distinct(on="ticket", keep="last").execute()),
    "ibis, row_number": plain(ranked.filter(ranked.place == 0).drop("place").execute()),
}
for what, found in seen.items():
    print(f"  {what}: {found}")
whole = [("A1", 2, None, "cancelled")]
made_up = [("A1", 2, "row 7", "cancelled")]
expected = {**dict.fromkeys(seen, whole), "ibis, distinct": made_up, "ibis, keep last": made_up}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
