#!/usr/bin/env bash
# Most people guess: a column of digits too long for 64 bits (a bank reference, an order number, a
#   barcode of 20 digits) is read from CSV as an integer all the same, or stays text, as in pandas,
#   polars and DuckDB.
# What really happens: pyarrow.csv tries int64 and then float64, which takes any number of digits:
#   12345678901234567891 and ...892 are the same number afterwards, and one such value turns all
#   the others of the column into floats, so 9007199254740993 becomes ...992. There is no error and
#   no warning. pandas.read_csv(engine="pyarrow") gives the same floats, where its own engine keeps
#   every digit. column_types (dtype in pandas) is the way around.
# Seen with: pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, duckdb 2.0.1
# Source: Arrow's page on reading CSV, type inference (null, int64, boolean, ..., float64, ... are
#   tried in this order): https://arrow.apache.org/docs/python/csv.html
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
import pyarrow.csv

print(*(f"{module.__name__} {module.__version__}" for module in (pyarrow, pandas, polars, duckdb)))
references = ["12345678901234567891", "12345678901234567892", "9007199254740993"]
with open("payments.csv", "w") as file:
    file.write("\n".join(["reference", *references]) + "\n")


def text(values) -> list[str]:
    return [str(int(value)) for value in values]


as_text = pyarrow.csv.ConvertOptions(column_types={"reference": pyarrow.string()})
seen = {
    "duckdb": text(value for (value,) in duckdb.execute("FROM read_csv('payments.csv')").fetchall()),
    "polars": text(polars.read_csv("payments.csv")["reference"]),
    "pandas": text(pandas.read_csv("payments.csv").reference),
    "pandas, engine pyarrow": text(pandas.read_csv("payments.csv", engine="pyarrow").reference),
    "pyarrow": text(pyarrow.csv.read_csv("payments.csv")["reference"].to_pylist()),
    "pyarrow, column_types": text(pyarrow.csv.read_csv("payments.csv", convert_options=as_text)["reference"].to_pylist()),
}
for reader, found in seen.items():
    print(f"  {reader}: {', '.join(found)}")
floats = ["12345678901234567168", "12345678901234567168", "9007199254740992"]
expected = {**dict.fromkeys(seen, references), "pandas, engine pyarrow": floats, "pyarrow": floats}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
