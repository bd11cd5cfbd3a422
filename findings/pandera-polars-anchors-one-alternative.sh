#!/usr/bin/env bash
# Most people guess: Check.str_matches is one check with two backends: "all values start with a
#   match" holds for a pandas and for a Polars frame alike.
# What really happens: for Polars the check puts a ^ before the pattern's text, without brackets,
#   so in VIP|STAFF it belongs to VIP alone, and a ticket code like "no STAFF" passes there which
#   pandas' str.match refuses. A pattern whose first alternative has its own ^ is left as it is;
#   (?:VIP|STAFF) means the same in both. Neither anchors the end: VIPs passes in both.
# Seen with: pandera 0.35.0, pandas 3.1.1, polars 2.1.0
# Source: pandera/backends/polars/builtin_checks.py and pandera/backends/pandas/builtin_checks.py
#   (str_matches, with the same docstring)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check 'pandera[polars]==0.35.0' pandas==3.1.1 polars==2.1.0
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys

import pandas as pd
import pandera
import pandera.pandas
import pandera.polars
import polars as pl

print("pandera", pandera.__version__, "pandas", pd.__version__, "polars", pl.__version__)


def passes(api, frames, pattern, value):
    schema = api.DataFrameSchema({"code": api.Column(str, api.Check.str_matches(pattern))})
    try:
        schema.validate(frames.DataFrame({"code": [value]}))
        return True
    except pandera.errors.SchemaError:
        return False


values = ["VIP", "STAFF", "VIPs", "no VIP", "no STAFF"]
seen = {}
for pattern in ("VIP|STAFF", "(?:VIP|STAFF)"):
    for name, api, frames in (("pandas", pandera.pandas, pd), ("polars", pandera.polars, pl)):
        seen[pattern, name] = [value for value in values if passes(api, frames, pattern, value)]
for (pattern, name), value in seen.items():
    print(f"  {pattern} in {name} lets pass: {value}")
right = ["VIP", "STAFF", "VIPs"]
expected = {key: right + ["no STAFF"] if key == ("VIP|STAFF", "polars") else right for key in seen}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
