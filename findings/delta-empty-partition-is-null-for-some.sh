#!/usr/bin/env bash
# Most people guess: partitioning a Delta table by a column changes where its rows are stored, not
#   what they say; and all readers of one table read one value.
# What really happens: an empty text in a partition column is NULL for some. By the protocol "an
#   empty string for any type translates to a null partition value", and to_pyarrow_table (and
#   DuckDB over to_pyarrow_dataset) read it so; polars.read_delta and deltalake's own DELETE see
#   an empty text. So orders without a coupon are found by one reader with = '' and by another
#   with IS NULL, and after a DELETE of the NULLs pyarrow still has one. In a table without
#   partitions all of them read what was written.
# Seen with: deltalake 1.6.6, pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1
# Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md#partition-value-serialization;
#   https://github.com/delta-io/delta/pull/7091 (open) on how implementations differ
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check deltalake==1.6.6 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import duckdb
import polars
import pyarrow
from deltalake import DeltaTable, write_deltalake

print(*(f"{name} {version(name)}" for name in ("deltalake", "pyarrow", "polars", "duckdb")))
orders = pyarrow.table({"id": [1, 2, 3], "coupon": ["", None, "EARLY"]})


def coupons(path):
    """Return the column as pyarrow, DuckDB and polars read it, and what a DELETE of NULLs leaves."""
    table = DeltaTable(path)
    dataset = table.to_pyarrow_dataset()
    read = [
        table.to_pyarrow_table().sort_by("id")["coupon"].to_pylist(),
        [coupon for (coupon,) in duckdb.sql("SELECT coupon FROM dataset ORDER BY id").fetchall()],
        polars.read_delta(path).sort("id")["coupon"].to_list(),
    ]
    table.delete("coupon IS NULL")
    left = DeltaTable(path).to_pyarrow_table().sort_by("id")["coupon"].to_pylist()
    return dict(zip(("pyarrow", "DuckDB", "polars", "left for pyarrow by DELETE ... IS NULL"), [*read, left]))


write_deltalake("plain", orders)
write_deltalake("by_coupon", orders, partition_by=["coupon"])
seen = {"plain": coupons("plain"), "partitioned by coupon": coupons("by_coupon")}
for name, value in seen.items():
    print(f"  {name}: {value}")
as_written, without_empty = ["", None, "EARLY"], [None, None, "EARLY"]
expected = {
    "plain": dict(zip(seen["plain"], [as_written, as_written, as_written, ["", "EARLY"]])),
    "partitioned by coupon": dict(zip(seen["plain"], [without_empty, without_empty, as_written, [None, "EARLY"]])),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
