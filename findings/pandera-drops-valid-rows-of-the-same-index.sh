#!/usr/bin/env bash
# Most people guess: drop_invalid_rows=True removes the rows that fail a check, and no others:
#   which rows failed is known from the mask that the check returned.
# What really happens: they are removed by their index label. After pd.concat of two files, a merge
#   that keeps an index, or set_index on something that is not unique, all rows that share the
#   label of a bad one go with it, valid as they are, without an error or a warning. And of two
#   rows with the same value in a unique=True column none is kept. reset_index(drop=True) before
#   validate gives what one expects of the first.
# Seen with: pandera 0.35.0, pandas 3.1.1
# Source: pandera's page on dropping invalid rows:
#   https://pandera.readthedocs.io/en/stable/drop_invalid_rows.html ;
#   pandera/backends/pandas/base.py in the package (drop_invalid_rows); seen by this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'pandera[pandas]==0.35.0' pandas==3.1.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import pandas as pd
import pandera
import pandera.pandas as pa

print("pandera", pandera.__version__, "pandas", pd.__version__)
corporate = pd.DataFrame({"ticket": ["A1", "A2"], "price": [5000, 5000]})
individual = pd.DataFrame({"ticket": ["B1", "B2"], "price": [1500, -1]})
schema = pa.DataFrameSchema({"price": pa.Column(int, pa.Check.ge(0))}, drop_invalid_rows=True)
unique = pa.DataFrameSchema({"ticket": pa.Column(str, unique=True)}, drop_invalid_rows=True)
twice = pd.DataFrame({"ticket": ["A1", "A1", "A2"]})
seen = {
    "concat": list(schema.validate(pd.concat([corporate, individual]), lazy=True).ticket),
    "concat, ignore_index": list(schema.validate(pd.concat([corporate, individual], ignore_index=True), lazy=True).ticket),
    "unique=True": list(unique.validate(twice, lazy=True).ticket),
}
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {"concat": ["A1", "B1"], "concat, ignore_index": ["A1", "A2", "B1"], "unique=True": ["A2"]}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
