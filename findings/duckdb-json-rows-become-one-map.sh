#!/usr/bin/env bash
# Most people guess: read_json makes a column of every key of the rows, with NULL where a row
#   lacks it, and a STRUCT of every object in a row; many keys make it wide.
# What really happens: where keys are seldom filled (under a tenth of the cells, on average) or
#   there are 200 of them, and the values have one type, the object is taken for a MAP. That holds
#   for the rows, too: a file of daily sales, each with its date and the ticket types that were
#   sold that day, has one column called json, and SELECT date fails. It is decided by the data: 8
#   days give columns, 30 give the map. map_inference_threshold = -1, or columns = {...}, decides
#   otherwise.
# Seen with: duckdb 2.0.1
# Source: https://duckdb.org/docs/stable/data/json/loading_json.html (map_inference_threshold,
#   field_appearance_threshold; the page does not say that whole rows are meant, too)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check duckdb==2.0.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import json
import sys
from pathlib import Path

import duckdb

print("duckdb", duckdb.__version__)


def sales(days):
    return [{"date": f"2026-09-{day + 1:02}", **{f"type {day * 8 + n}": "1" for n in range(8)}} for day in range(days)]


def answers(tickets):
    return [{"ticket": n, "answers": {f"question {n}": "yes"}} for n in range(tickets)]


def columns(rows, options="", select="*"):
    Path("rows.json").write_text("\n".join(json.dumps(row) for row in rows))
    try:
        described = duckdb.connect().execute(f"SELECT {select} FROM read_json('rows.json'{options})").description
    except duckdb.BinderException as error:
        return str(error).splitlines()[0]
    names = [(name, str(kind).split("(")[0]) for name, kind, *_ in described]
    return names if len(names) < 4 else f"{len(names)} columns, the first is {names[0][0]}"


seen = {
    "sales of 8 days": columns(sales(8)),
    "sales of 30 days": columns(sales(30)),
    "date of these": columns(sales(30), select="date"),
    "with map_inference_threshold = -1": columns(sales(30), ", map_inference_threshold = -1"),
    "answers of 5 tickets": columns(answers(5)),
    "answers of 20 tickets": columns(answers(20)),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "sales of 8 days": "65 columns, the first is date",
    "sales of 30 days": [("json", "MAP")],
    "date of these": 'Binder Error: Referenced column "date" not found in FROM clause!',
    "with map_inference_threshold = -1": "241 columns, the first is date",
    "answers of 5 tickets": [("ticket", "BIGINT"), ("answers", "STRUCT")],
    "answers of 20 tickets": [("ticket", "BIGINT"), ("answers", "MAP")],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
