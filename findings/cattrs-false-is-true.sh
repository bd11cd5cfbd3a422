#!/usr/bin/env bash
# Most people guess: structuring checks the data against the class: "false" for a bool is False
#   or an error, None for a str that is not Optional is an error, 3.9 for an int too. pydantic
#   and msgspec do so.
# What really happens: bool, int, float and str are called with the value. bool("false") and
#   bool("0") are True, str(None) is "None", int(3.9) is 3, str({...}) is the dict's repr, and
#   list[str] from "ann" is ["a", "n", "n"]. The ready-made JSON converter does so, too,
#   although JSON has types of its own. Only what the constructor refuses raises (int("x")). The
#   strict way is a structure hook for each primitive.
# Seen with: cattrs 26.2.1, pydantic 2.14.4, msgspec 0.22.0
# Source: cattrs' documentation (https://catt.rs/en/v25.1.0/defaulthooks.html: "use any of these
#   types to coerce the object"); python-attrs/cattrs issue 469 asks for strictness; the
#   comparison: this script
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check cattrs==26.2.1 pydantic==2.14.4 msgspec==0.22.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import dataclasses
import sys
from importlib.metadata import version

import cattrs
import msgspec
import pydantic
from cattrs.preconf.json import make_converter

print(*(f"{name} {version(name)}" for name in ("cattrs", "pydantic", "msgspec")))


@dataclasses.dataclass
class Order:
    paid: bool = True
    name: str = ""
    tickets: int = 1
    tags: list[str] = dataclasses.field(default_factory=list)


READERS = {
    "cattrs": lambda row: cattrs.structure(row, Order),
    "cattrs for JSON": lambda row: make_converter().structure(row, Order),
    "pydantic": lambda row: pydantic.TypeAdapter(Order).validate_python(row),
    "msgspec": lambda row: msgspec.convert(row, Order),
}


def read(row):
    answers = []
    for reader in READERS.values():
        try:
            answers.append(getattr(reader(row), *row))
        except Exception:
            answers.append("refused")
    return answers


rows = [{"paid": "false"}, {"paid": "0"}, {"name": None}, {"name": {"zh": "王"}}, {"tickets": 3.9}, {"tags": "ann"}, {"tickets": "two"}]
seen = {str(row): read(row) for row in rows}
print("  ", *READERS, sep=" | ")
for key, value in seen.items():
    print(f"  {key}: {value}")
no = "refused"
expected = {
    "{'paid': 'false'}": [True, True, False, no],
    "{'paid': '0'}": [True, True, False, no],
    "{'name': None}": ["None", "None", no, no],
    "{'name': {'zh': '王'}}": ["{'zh': '王'}", "{'zh': '王'}", no, no],
    "{'tickets': 3.9}": [3, 3, no, no],
    "{'tags': 'ann'}": [["a", "n", "n"], ["a", "n", "n"], no, no],
    "{'tickets': 'two'}": [no, no, no, no],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
