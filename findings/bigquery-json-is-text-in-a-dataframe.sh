#!/usr/bin/env bash
# Most people guess: a JSON column of BigQuery is either parsed or not, whichever way the rows are
#   fetched: [dict(row) for row in rows] and rows.to_dataframe() hold the same values.
# What really happens: rows give the parsed object, to_dataframe and to_arrow the JSON text. So
#   code that was written with rows fails on the frame (a text has no keys), and json.loads on
#   rows fails, too. A JSON null is None in a row and the text null in a frame, where isna() calls
#   it a value; an SQL NULL is None in both. An INTERVAL changes its type likewise: relativedelta,
#   MonthDayNano, DateOffset.
# Seen with: google-cloud-bigquery 3.47.0, pandas 3.1.1
# Source: google/cloud/bigquery/_helpers.py (CellDataParser, json_to_py) and _pandas_helpers.py
#   (the Arrow type of JSON is a text), seen with rows as the REST API sends them
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'google-cloud-bigquery[pandas]==3.47.0' pandas==3.1.1
cd "$work"

export PYTHONWARNINGS=ignore
"$work/venv/bin/python" - <<'PY'
import sys

import pandas as pd
from google.cloud import bigquery
from google.cloud.bigquery.table import RowIterator

print("google-cloud-bigquery", bigquery.__version__, "pandas", pd.__version__)
cells = ['{"size": "M"}', "null", None, '"M"', "7"]


def rows(kind, values):
    answer = {"rows": [{"f": [{"v": value}]} for value in values], "totalRows": str(len(values))}
    return RowIterator(None, lambda **_: answer, "/rows", [bigquery.SchemaField("v", kind)])


seen = {
    "rows": [row.v for row in rows("JSON", cells)],
    "to_arrow": rows("JSON", cells).to_arrow()["v"].to_pylist(),
    "to_dataframe": [None if pd.isna(value) else value for value in rows("JSON", cells).to_dataframe()["v"]],
    "isna": rows("JSON", cells).to_dataframe()["v"].isna().tolist(),
}
interval = ["0-0 1 2:0:0"]
seen["interval"] = [
    type(value).__name__
    for value in (list(rows("INTERVAL", interval))[0].v, rows("INTERVAL", interval).to_arrow()["v"][0].as_py(), rows("INTERVAL", interval).to_dataframe()["v"][0])
]
print("  the cells:", cells)
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "rows": [{"size": "M"}, None, None, "M", 7],
    "to_arrow": cells,
    "to_dataframe": cells,
    "isna": [False, False, True, False, False],
    "interval": ["relativedelta", "MonthDayNano", "DateOffset"],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
