#!/usr/bin/env bash
# Most people guess: csvsort sorts lines, csvjoin joins them: a cell goes out as it came in, or at
#   most a number loses a zero in front of it; and --no-inference turns even that off.
# What really happens: every column is typed first, and what is written is the typed value. A
#   group or seat 3-4 is a date (4 March 2001), a size 2M is two minutes (0:02:00), 007 is 7, a
#   phone number loses its zero, No is False, and a buyer called None or NA has no name. With -I
#   all of these stay, except None and NA, which are emptied all the same; for those there is
#   --blanks.
# Seen with: csvkit 2.2.0, agate 1.14.2
# Source: seen by this script; agate's data_types (null values in base.py, parsedatetime in
#   date.py, pytimeparse in timedelta.py);
#   https://csvkit.readthedocs.io/en/latest/common_arguments.html for -I and --blanks
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check csvkit==2.2.0 agate==1.14.2
cd "$work"

"$work/venv/bin/python" - <<'PY'
import csv
import io
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

print("csvkit", version("csvkit"), "agate", version("agate"))
head = "ref,name,paid,phone,seat,size"
lines = ["003,Ann,Yes,0912345670,1-2,1M", "007,None,No,0912345678,3-4,2M", "010,NA,Yes,0912345679,5-6,3M"]
Path("orders.csv").write_text("\n".join([head, *lines]) + "\n")


def csvsort(*options):
    command = [Path(sys.prefix, "bin", "csvsort"), *options, "-c", "ref", "orders.csv"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(csv.reader(io.StringIO(text)))[2]


seen = {"csvsort": csvsort(), "csvsort -I": csvsort("-I"), "csvsort -I --blanks": csvsort("-I", "--blanks")}
print("  the second line of the file:", lines[1].split(","))
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "csvsort": ["7", "", "False", "912345678", "2001-03-04", "0:02:00"],
    "csvsort -I": ["007", "", "No", "0912345678", "3-4", "2M"],
    "csvsort -I --blanks": lines[1].split(","),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
