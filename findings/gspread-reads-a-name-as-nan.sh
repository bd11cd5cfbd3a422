#!/usr/bin/env bash
# Most people guess: get_all_records gives numbers where the sheet has numbers and texts where it
#   has texts: the sheet knows, since it right-aligns the one and left-aligns the other.
# What really happens: it asks for the cells as formatted texts and makes numbers of those that
#   Python's float or int takes. A reference kept as text, 007, is 7, 1e5 is 100000.0, 0912345678
#   loses its zero; a buyer called Nan is the float nan, which is not even equal to itself, and
#   Infinity is inf. value_render_option="UNFORMATTED_VALUE" makes no difference for texts;
#   numericise_ignore=["all"] leaves everything as it came.
# Seen with: gspread 6.2.1
# Source: gspread/worksheet.py (get_all_records) and utils.py (numericise);
#   https://docs.gspread.org/en/latest/api/models/worksheet.html
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check gspread==6.2.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import math
import sys
from importlib.metadata import version

import gspread

print("gspread", version("gspread"))
head = ["ref", "code", "phone", "name"]
rows = [["007", "1e5", "0912345678", "Nan"], ["A-8", "١٢", "1,5", "Infinity"]]


class Sheet(gspread.Worksheet):
    """A worksheet whose values are here, as the service would send them for text cells."""

    def __init__(self):
        pass

    def get(self, *_, **__):
        return [list(head), *(list(row) for row in rows)]


def show(value):
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def records(**options):
    return [[show(value) for value in record.values()] for record in Sheet().get_all_records(**options)]


seen = {
    "get_all_records": records(),
    "unformatted": records(value_render_option=gspread.utils.ValueRenderOption.unformatted),
    "numericise_ignore": records(numericise_ignore=["all"]),
}
print("  the cells, all texts:", rows)
for key, value in seen.items():
    print(f"  {key}: {value}")
numbers = [[7, 100000.0, 912345678, "nan"], ["A-8", 12, 15, math.inf]]
expected = {"get_all_records": numbers, "unformatted": numbers, "numericise_ignore": rows}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
