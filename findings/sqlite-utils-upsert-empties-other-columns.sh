#!/usr/bin/env bash
# Most people guess: table.upsert_all(rows) changes in each row what that row names and leaves the
#   rest, as table.upsert(row) does and its documentation says; upsert_all is "like .upsert()" for
#   a list of records.
# What really happens: the columns are those of all rows so far. As soon as one row names a column,
#   each row of its batch (of 100) that does not, and each later row, gets NULL there: a change of
#   Ann's name and one of Bob's address, each right alone, remove Ann's address and Bob's name.
#   batch_size=1 saves Ann, not Bob. Rows with the same keys do no harm.
# Seen with: sqlite-utils 4.2.1
# Source: https://sqlite-utils.datasette.io/en/stable/python-api.html#upserting-data,
#   https://github.com/simonw/sqlite-utils/issues/873 (open); sqlite_utils/db.py (insert_all adds
#   to all_columns, then record.get of each)
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check sqlite-utils==4.2.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import sqlite_utils

print("sqlite-utils", version("sqlite-utils"))
GUESTS = [
    {"id": 1, "name": "Ann", "email": "ann@example.org"},
    {"id": 2, "name": "Bob", "email": "bob@example.org"},
]
CHANGES = [{"id": 1, "name": "Ann Lee"}, {"id": 2, "email": "bob.lin@example.org"}]


def after(change):
    table = sqlite_utils.Database(memory=True)["guests"]
    table.insert_all(GUESTS, pk="id")
    change(table)
    return [(row["name"], row["email"]) for row in table.rows]


def one_by_one(table):
    for row in CHANGES:
        table.upsert(row, pk="id")


seen = {
    "upsert, row by row": after(one_by_one),
    "upsert_all": after(lambda table: table.upsert_all(CHANGES, pk="id")),
    "upsert_all, batch_size=1": after(lambda table: table.upsert_all(CHANGES, pk="id", batch_size=1)),
    "upsert_all of the first row": after(lambda table: table.upsert_all(CHANGES[:1], pk="id")),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
meant = [("Ann Lee", "ann@example.org"), ("Bob", "bob.lin@example.org")]
expected = {
    "upsert, row by row": meant,
    "upsert_all": [("Ann Lee", None), (None, "bob.lin@example.org")],
    "upsert_all, batch_size=1": [("Ann Lee", "ann@example.org"), (None, "bob.lin@example.org")],
    "upsert_all of the first row": [("Ann Lee", "ann@example.org"), ("Bob", "bob@example.org")],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
