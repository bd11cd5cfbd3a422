#!/usr/bin/env bash
# Most people guess: a workbook says each cell's type, so polars.read_excel makes a mixed column
#   text (it does so when the text stands near the top) or raises, as polars' read_csv does for
#   a text behind 100 rows of numbers.
# What really happens: types come from the first 100 rows (fastexcel alone: the first 1000), and
#   a later cell of another type becomes null. As drop_empty_rows=True is applied after that, a
#   row with no other cell left is not even null: it is gone. infer_schema_length=None keeps
#   both. An order number with a letter, "TBA" for a date and "2 pieces" for a quantity are what
#   ticket exports have at the end.
# Seen with: polars 2.1.0, fastexcel 0.21.0, openpyxl 3.1.5
# Source: this script; infer_schema_length=100 and drop_empty_rows=True are in the signature of
#   read_excel (https://docs.pola.rs/api/python/stable/reference/api/polars.read_excel.html)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check polars==2.1.0 fastexcel==0.21.0 openpyxl==3.1.5
cd "$work"

"$work/venv/bin/python" - <<'PY'
import datetime
import sys
from importlib.metadata import version

import fastexcel
import openpyxl
import polars

print("polars", polars.__version__, "fastexcel", version("fastexcel"), "openpyxl", version("openpyxl"))
ROWS = [(n, 1, datetime.date(2026, 9, 1)) for n in range(200)]


def write(path, rows):
    book = openpyxl.Workbook()
    for row in [("order", "quantity", "day"), *rows]:
        book.active.append(row)
    book.save(path)


late, early = [*ROWS], [*ROWS]
late[150:150] = [("A-150", "2 pieces", "TBA"), ("A-151", 2, datetime.date(2026, 9, 2))]
early[50:50] = [("A-150", "2 pieces", "TBA")]
write("late.xlsx", late)
write("early.xlsx", early)
with open("late.csv", "w") as file:
    file.write("\n".join(",".join(map(str, row)) for row in [("order", "quantity", "day"), *late]))


def read(reader, path, **options):
    try:
        frame = reader(path, **options)
    except Exception as error:
        return type(error).__name__
    return frame.height, frame["order"].dtype == polars.String, [v for v in frame["order"].to_list() if v is None or "A" in str(v)]


def by_fastexcel(path):
    write(path, [*ROWS, *ROWS, *ROWS, *ROWS, *ROWS, ("A-1000", 1, datetime.date(2026, 9, 1))])
    frame = fastexcel.read_excel(path).load_sheet(0).to_polars()
    return frame.height, False, frame["order"].to_list()[1000:]


seen = {
    "201 rows, the text in row 51": read(polars.read_excel, "early.xlsx"),
    "202 rows, texts in rows 151 and 152": read(polars.read_excel, "late.xlsx"),
    "the same, drop_empty_rows=False": read(polars.read_excel, "late.xlsx", drop_empty_rows=False),
    "the same, infer_schema_length=None": read(polars.read_excel, "late.xlsx", infer_schema_length=None),
    "the same as CSV": read(polars.read_csv, "late.csv"),
    "1001 rows by fastexcel alone, the text at the end": by_fastexcel("longer.xlsx"),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "201 rows, the text in row 51": (201, True, ["A-150"]),
    "202 rows, texts in rows 151 and 152": (201, False, [None]),
    "the same, drop_empty_rows=False": (202, False, [None, None]),
    "the same, infer_schema_length=None": (202, True, ["A-150", "A-151"]),
    "the same as CSV": "ComputeError",
    "1001 rows by fastexcel alone, the text at the end": (1001, False, [None]),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
