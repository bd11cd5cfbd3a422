#!/usr/bin/env bash
# Most people guess: singer.transform checks a tap's record against its JSON Schema: 1.7 is no
#   integer, "1,5" no number and "no" no boolean, so each is refused, as jsonschema refuses them.
# What really happens: it converts what it can, and Python decides what that is. Commas are
#   dropped from numbers, so the 1,5 of a European sheet is 15.0; an integer cuts 1.7 to 1; a
#   boolean is False for the text false and True for every other, "no" and "0" as well; an empty
#   text becomes null where null is allowed beside a type that it does not fit; a dict becomes a
#   text in Python's notation, with single quotes, which is no JSON. Keys that the schema does not
#   know are dropped. Nothing is logged.
# Seen with: singer-python 6.8.0, jsonschema 2.6.0
# Source: singer/transform.py (Transformer._transform), seen by this script;
#   https://github.com/singer-io/singer-python
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check singer-python==6.8.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import jsonschema
import singer

print("singer-python", version("singer-python"), "jsonschema", version("jsonschema"))
null_or = {kind: {"type": ["null", kind]} for kind in ("integer", "number", "boolean", "string")}
cases = {
    "a price of 1,5": (null_or["number"], "1,5", 15.0),
    "1.7 pieces": (null_or["integer"], 1.7, 1),
    "paid: no": (null_or["boolean"], "no", True),
    "paid: 0": (null_or["boolean"], "0", True),
    "paid: false": (null_or["boolean"], "false", False),
    "'' pieces": (null_or["integer"], "", None),
    "a dict": (null_or["string"], {"size": "M"}, "{'size': 'M'}"),
    "007, integer or string": ({"type": ["integer", "string"]}, "007", 7),
}
seen, valid = {}, {}
for what, (schema, value, _) in cases.items():
    whole = {"type": "object", "properties": {"v": schema}}
    seen[what] = singer.transform({"v": value, "more": 1}, whole)
    valid[what] = jsonschema.Draft4Validator(whole).is_valid({"v": value})
    print(f"  {what}: {value!r} becomes {seen[what]}; valid for jsonschema: {valid[what]}")
expected = {what: {"v": result} for what, (_, _, result) in cases.items()}
same = all(repr(seen[what]) == repr(expected[what]) for what in cases)
if not same or [what for what in cases if valid[what]] != ["007, integer or string"]:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
