#!/usr/bin/env bash
# Most people guess: tabulate, and DataFrame.to_markdown, which is made of it, print a column of
#   texts as it is: a text is a text, and numbers are formatted only where they are numbers.
# What really happens: every column is looked at for whether its texts could be numbers. One 1.10,
#   one nan or one empty-looking float in it, and the whole column is floats with six digits: the
#   phone number 0912345678 is 9.12346e+08, the reference 1234567890123456789 is 1.23457e+18
#   beside all others that begin so, the version 1.10 is 1.1. disable_numparse=True (to_markdown
#   takes it, too) keeps them. texttable does it cell by cell, with three digits, and takes the
#   zeros from 00012345; its own switch is set_cols_dtype.
# Seen with: tabulate 0.10.0, texttable 1.7.2, pandas 3.1.1
# Source: tabulate's README on disable_numparse (https://github.com/astanin/python-tabulate);
#   texttable.py (_fmt_auto)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check tabulate==0.10.0 texttable==1.7.2 pandas==3.1.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import pandas as pd
import tabulate
import texttable

print("tabulate", version("tabulate"), "texttable", version("texttable"), "pandas", pd.__version__)
frame = pd.DataFrame({"phone": ["0912345678", "nan"], "reference": ["1234567890123456789", "1.10"], "name": ["Ann", "Bo"]})


def first_row(text):
    return [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]


table = texttable.Texttable()
table.add_rows([["phone", "reference"], ["0912345678", "00012345"]])
seen = {
    "the dtypes": sorted({str(dtype) for dtype in frame.dtypes}),
    "to_markdown": first_row(frame.to_markdown(index=False)),
    "to_markdown, disable_numparse": first_row(frame.to_markdown(index=False, disable_numparse=True)),
    "tabulate": tabulate.tabulate([["0912345678"], ["1.5"]], tablefmt="plain").splitlines()[0].strip(),
    "tabulate, all digits": tabulate.tabulate([["0912345678"], ["0912345679"]], tablefmt="plain").splitlines()[0].strip(),
    "texttable": [cell.strip() for cell in table.draw().splitlines()[3].strip("|").split("|")],
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "the dtypes": ["str"],
    "to_markdown": ["9.12346e+08", "1.23457e+18", "Ann"],
    "to_markdown, disable_numparse": ["0912345678", "1234567890123456789", "Ann"],
    "tabulate": "9.12346e+08",
    "tabulate, all digits": "0912345678",
    "texttable": ["9.123e+08", "12345"],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
