#!/usr/bin/env bash
# Most people guess: DataFrame.to_parquet(path, partition_cols=["code"]) and read_parquet are a
#   round trip: Parquet keeps types, and pandas' own are in the file's metadata besides. Writing
#   again replaces what was there.
# What really happens: the partition column is not in the files but in folder names (code=007),
#   and its type is guessed anew at each reading. Digits are numbers: "007" and "7" are both 7
#   in pyarrow and polars, pandas' categories are numbers, too (with both codes pandas raises),
#   and a filter on the text "007" raises. Whether a column is text depends on the other rows:
#   "A1" makes all of it text. DuckDB leaves texts with leading zeros alone. A second to_parquet
#   adds new files beside the old ones, so a run that is repeated doubles every row.
# Seen with: pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, duckdb 2.0.1
# Source: this script; Arrow's documentation of partitioned datasets says that types are
#   inferred and how to give a schema (https://arrow.apache.org/docs/python/dataset.html)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.parquet

print("pyarrow", pyarrow.__version__, "pandas", pandas.__version__, "polars", polars.__version__, "duckdb", duckdb.__version__)


def write(path, codes):
    frame = pandas.DataFrame({"code": codes, "n": 1})
    frame["code"] = frame["code"].astype(str)
    frame.to_parquet(path, partition_cols=["code"])


def sums(rows):
    total = {}
    for code, n in rows:
        total[code] = total.get(code, 0) + n
    return total


def by_pandas(path, **options):
    try:
        frame = pandas.read_parquet(path, **options)
    except Exception as error:
        return type(error).__name__
    return sums((row["code"], int(row["n"])) for row in frame.to_dict("records"))


def read(path):
    arrow = pyarrow.parquet.read_table(path).to_pylist()
    return [
        sums((row["code"], row["n"]) for row in arrow),
        by_pandas(path),
        sums(polars.read_parquet(path + "/").select("code", "n").rows()),
        sums(duckdb.execute(f"SELECT code, n FROM read_parquet('{path}/*/*', hive_partitioning = true) ORDER BY ALL").fetchall()),
    ]


write("one", ["007"])
write("digits", ["007", "7"])
write("letters", ["007", "7", "A1"])
write("again", ["A1"])
write("again", ["A1"])
seen = {path: read(path) for path in ("one", "digits", "letters", "again")}
seen["one, filtered for the text 007, by pandas"] = by_pandas("one", filters=[("code", "==", "007")])
print("  pyarrow, pandas, polars, duckdb")
for key, value in seen.items():
    print(f"  {key}: {value}")
texts = {"007": 1, "7": 1, "A1": 1}
expected = {
    "one": [{7: 1}, {7: 1}, {7: 1}, {"007": 1}],
    "digits": [{7: 2}, "ValueError", {7: 2}, {"007": 1, "7": 1}],
    "letters": [texts] * 4,
    "again": [{"A1": 2}] * 4,
    "one, filtered for the text 007, by pandas": "ArrowNotImplementedError",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
