#!/usr/bin/env bash
# Most people guess: polars.DataFrame(rows) of a list of dicts, the answer of an HTTP API say,
#   takes its types and columns from all rows, which are in memory anyway; what does not fit the
#   type raises, as the default strict=True promises and a column given as a list does.
# What really happens: infer_schema_length=100 holds for rows in memory, too. In row 101 a price
#   of 1.5 among whole numbers becomes 1, Decimal("1.5") becomes 1, 2 among booleans becomes
#   False, a text of digits becomes a number, an aware datetime among naive ones loses its
#   offset, and a key that no earlier row had is dropped. strict does not reach these rows: even
#   with schema={"v": pl.Int64} the second row's 1.5 is 1. Only some mismatches raise (a word
#   among numbers). The same values as {"v": [...]} raise, infer_schema_length=None keeps 1.5.
#   read_ndjson drops the late key as well.
# Seen with: polars 2.1.0
# Source: this script; polars' reference of DataFrame
#   (https://docs.pola.rs/api/python/stable/reference/dataframe/index.html) has both parameters:
#   infer_schema_length, "the maximum number of rows to scan for schema inference", and strict,
#   "throw an error if any data value does not exactly match the given or inferred data type"
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check polars==2.1.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import json
import sys
from decimal import Decimal

import polars

print("polars", polars.__version__)
aware = datetime.datetime.fromisoformat("2026-09-01T10:00+08:00")


def last(early, late, **options):
    rows = [{"v": early}] * 100 + [{"v": late}]
    try:
        return polars.DataFrame(rows, **options)["v"].to_list()[-1]
    except polars.exceptions.PolarsError as error:
        return type(error).__name__


rows = [{"order": n} for n in range(100)] + [{"order": 100, "coupon": "EARLY"}]
with open("orders.ndjson", "w") as file:
    file.write("\n".join(json.dumps(row) for row in rows))
try:
    as_a_column = polars.DataFrame({"v": [1] * 100 + [1.5]})["v"].to_list()[-1]
except TypeError as error:
    as_a_column = type(error).__name__
seen = {
    "1.5 after 100 whole numbers": last(1, 1.5),
    "the same, infer_schema_length=None": last(1, 1.5, infer_schema_length=None),
    "the same as one column": as_a_column,
    "Decimal('1.5') after 100 whole numbers": last(1, Decimal("1.5")),
    "2 after 100 times True": last(True, 2),
    "'2' after 100 whole numbers": last(1, "2"),
    "'two' after 100 whole numbers": last(1, "two"),
    "10:00+08:00 after 100 naive times": last(datetime.datetime(2026, 9, 1), aware),
    "1.5 in the second row, schema Int64, strict": polars.DataFrame([{"v": 1}, {"v": 1.5}], schema={"v": polars.Int64}, strict=True)["v"].to_list(),
    "columns with a key first seen in row 101": polars.DataFrame(rows).columns,
    "columns by read_ndjson": polars.read_ndjson("orders.ndjson").columns,
}
for key, value in seen.items():
    print(f"  {key}: {value!r}")
ten = datetime.datetime(2026, 9, 1, 2)
expected = dict(zip(seen, [1, 1.5, "TypeError", 1, False, 2, "ComputeError", ten, [1, 1], ["order"], ["order"]]))
if seen != expected or seen["2 after 100 times True"] is not False:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
