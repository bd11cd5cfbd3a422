#!/usr/bin/env bash
# Most people guess: the key of a MultiPartitionsDefinition is made of its dimensions in the order
#   in which they are declared: {"week": ..., "day": ...} reads "3|1" as week 3, day 1.
# What really happens: the dimensions are sorted by name first, so "3|1" is day 3 of week 1. Where
#   both dimensions have the key (numbers, letters, two date dimensions such as "valid_from" and
#   "as_of"), nothing refuses it: a run, a backfill or a script that writes the text itself makes
#   another partition than it was asked for. Renaming a dimension can swap all keys that are
#   stored. A MultiPartitionKey made of a dict is right either way.
# Seen with: dagster 1.13.29
# Source: dagster issue 28692 (the order of the key should be the given one; open):
#   https://github.com/dagster-io/dagster/issues/28692
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check dagster==1.13.29
cd "$work"

"$work/venv/bin/python" - <<'PY'
import logging
import os
import sys

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
import dagster as dg

logging.disable(logging.CRITICAL)
print("dagster", dg.__version__)
numbers = dg.StaticPartitionsDefinition(["1", "2", "3"])
seen = {}
for first, second in (("week", "day"), ("iso_week", "weekday")):

    @dg.asset(name=first, partitions_def=dg.MultiPartitionsDefinition({first: numbers, second: numbers}))
    def grid(context):
        seen[f"{{{first!r}: ..., {second!r}: ...}}, '3|1'"] = dict(context.partition_key.keys_by_dimension)

    dg.materialize([grid], partition_key="3|1")
seen["from a dict"] = str(dg.MultiPartitionKey({"week": "3", "day": "1"}))
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {
    "{'week': ..., 'day': ...}, '3|1'": {"day": "3", "week": "1"},
    "{'iso_week': ..., 'weekday': ...}, '3|1'": {"iso_week": "3", "weekday": "1"},
    "from a dict": "1|3",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
