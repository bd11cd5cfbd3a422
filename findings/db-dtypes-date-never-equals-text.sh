#!/usr/bin/env bash
# Most people guess: pandas compares date-like columns with ISO texts (a datetime64 column
#   does), so a BigQuery DATE column in a DataFrame can be filtered by a text, or at least
#   refuses to.
# What really happens: to_dataframe gives a DATE column the dtype dbdate of the db-dtypes
#   package. Compared by == with a text it is False for each row, without a warning, so the
#   filter returns no rows, and != returns all of them. Ordering comparisons with a text raise
#   TypeError. A pandas.Timestamp works for both kinds of column; a datetime.date works for
#   dbdate, and is the one that never equals a datetime64.
# Seen with: db-dtypes 1.9.0, pandas 3.1.1, google-cloud-bigquery 3.47.0
# Source: google-cloud-bigquery's to_dataframe documents dbdate as the default of date_dtype;
#   the comparison: this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check db-dtypes==1.9.0 pandas==3.1.1 pyarrow==26.0.1 google-cloud-bigquery==3.47.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import inspect
import sys
from importlib.metadata import version

import db_dtypes  # noqa: F401 - registers the dtype
import pandas as pd
from google.cloud import bigquery

print("db-dtypes", version("db-dtypes"), "pandas", pd.__version__, "google-cloud-bigquery", bigquery.__version__)
default = inspect.signature(bigquery.table.RowIterator.to_dataframe).parameters["date_dtype"].default
print("to_dataframe's date_dtype:", default)

days = ["2026-01-01", "2026-01-02"]
frames = {"dbdate": pd.Series(days).astype("dbdate"), "datetime64": pd.to_datetime(pd.Series(days))}
asks = {
    "== text": lambda s: int((s == "2026-01-01").sum()),
    "!= text": lambda s: int((s != "2026-01-01").sum()),
    "isin texts": lambda s: int(s.isin(days).sum()),
    "< text": lambda s: int((s < "2026-01-02").sum()),
    "== Timestamp": lambda s: int((s == pd.Timestamp("2026-01-01")).sum()),
    "== date": lambda s: int((s == datetime.date(2026, 1, 1)).sum()),
}
seen = {}
for ask, answer in asks.items():
    for name, series in frames.items():
        try:
            seen[name, ask] = answer(series)
        except TypeError:
            seen[name, ask] = "TypeError"
    print(f"  {ask}: dbdate {seen['dbdate', ask]}, datetime64 {seen['datetime64', ask]}")
expected = {
    ("dbdate", "== text"): 0, ("datetime64", "== text"): 1,
    ("dbdate", "!= text"): 2, ("datetime64", "!= text"): 1,
    ("dbdate", "== Timestamp"): 1, ("datetime64", "== Timestamp"): 1,
    ("dbdate", "== date"): 1,
}
different = {key: seen[key] for key, value in expected.items() if seen[key] != value}
if different or getattr(default, "name", None) != "DATE_DTYPE":
    print("changed:", different, default)
    sys.exit(1)
print("as described")
PY
