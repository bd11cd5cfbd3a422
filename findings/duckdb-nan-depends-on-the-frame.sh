#!/usr/bin/env bash
# Most people guess: DuckDB reads the same column of floats from a pandas, NumPy, Polars or Arrow
#   object with the same result: NaN is a float, and stays one, or is NULL in all.
# What really happens: from pandas and from NumPy arrays NaN arrives as NULL, from Polars and
#   Arrow as NaN. DuckDB sorts NaN above every number and counts it: so count is 2 or 3, and sum,
#   avg and max are numbers or nan, by the library that held the data; a pipeline that goes from
#   pandas to Polars changes its figures without an error. Both directions are open: to_pandas()
#   of the Polars frame, or fill_nan(None), gives the NULL.
# Seen with: duckdb 2.0.1, pandas 3.1.1, numpy 2.4.6, polars 2.1.0, pyarrow 26.0.1
# Source: seen by this script; https://duckdb.org/docs/stable/sql/data_types/numeric.html (NaN is
#   equal to itself and greater than all)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 numpy==2.4.6
cd "$work"

"$work/venv/bin/python" - <<'PY'
import math
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

print("duckdb", duckdb.__version__, "pandas", pd.__version__, "numpy", np.__version__, "polars", pl.__version__, "pyarrow", pa.__version__)
prices = [100.0, float("nan"), 300.0]
frames = {
    "pandas": pd.DataFrame({"price": prices}),
    "a dict of NumPy arrays": {"price": np.array(prices)},
    "polars": pl.DataFrame({"price": prices}),
    "pyarrow": pa.table({"price": prices}),
    "polars, to_pandas": pl.DataFrame({"price": prices}).to_pandas(),
    "polars, fill_nan(None)": pl.DataFrame({"price": prices}).fill_nan(None),
}


def look(frame):
    row = duckdb.connect().execute("SELECT count(price), sum(price), max(price), count(*) FILTER (price > 250) FROM frame").fetchone()
    return tuple("nan" if isinstance(value, float) and math.isnan(value) else value for value in row)


seen = {name: look(frame) for name, frame in frames.items()}
print("  count, sum, max, how many over 250:")
for name, value in seen.items():
    print(f"  {name}: {value}")
null, nan = (2, 400.0, 300.0, 1), (3, "nan", "nan", 2)
expected = dict(zip(frames, [null, null, nan, nan, null, null]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
