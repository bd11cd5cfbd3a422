#!/usr/bin/env bash
# Most people guess: frictionless, whose purpose is to find bad cells, reads a column of numbers
#   with one text in row 200 as text, or raises when rows are extracted: only validate() reports
#   and goes on.
# What really happens: the types are guessed from the first 100 rows, and extract(), read_rows()
#   and write() to another file put None (an empty cell) where a later cell does not fit: ticket
#   A-200 is gone from the copy, without an error or a warning. The same text in row 50 makes the
#   column one of texts, and all is well. validate() of the same file does report the cell;
#   extract() has nothing to do with it.
# Seen with: frictionless 5.21.0
# Source: https://github.com/frictionlessdata/frictionless-py/issues/1689 (a type guessed from the
#   beginning of a large file); what becomes of the cells: this script.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check frictionless==5.21.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import csv
import sys
from importlib.metadata import version

import frictionless

print("frictionless", version("frictionless"))


def write(name, tickets):
    with open(name, "w", newline="") as file:
        csv.writer(file).writerows([["ticket", "name"], *[(ticket, "Ann") for ticket in tickets]])


def look(name):
    resource = frictionless.Resource(name)
    extracted = frictionless.extract(name)[resource.name]
    resource.write("copy.csv")
    with open("copy.csv", newline="") as file:
        copied = list(csv.reader(file))[1:]
    report = frictionless.validate(name)
    lost = [number for number, row in enumerate(extracted, 1) if row["ticket"] is None]
    return lost, [copied[number - 1] for number in lost], report.stats["errors"]


numbers = [str(number) for number in range(1, 202)]
late = [*numbers[:199], "A-200", "201"]
early = [*numbers[:49], "A-50", *numbers[50:]]
write("late.csv", late)
write("early.csv", early)
seen = {name: look(f"{name}.csv") for name in ("late", "early")}
for name, (lost, copied, errors) in seen.items():
    print(f"  {name}: rows without a ticket {lost}, in the copy {copied}, errors of validate() {errors}")
expected = {"late": ([200], [["", "Ann"]], 1), "early": ([], [], 0)}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
