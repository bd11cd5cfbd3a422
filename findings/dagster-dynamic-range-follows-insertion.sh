#!/usr/bin/env bash
# Most people guess: a range of dynamic partitions is the keys between the two in alphabetical order,
#   so "2024-a ... 2025-a" covers what the names say; or ranges need time windows anyway.
# What really happens: the range runs over the keys in the order in which they were added. A key
#   that was added late for an early year is outside of the years around it. A range whose ends were added
#   the other way round is no error: it is empty. Deleting a key and adding it again moves it
#   to the end, which changes what every range means.
# Seen with: dagster 1.13.29
# Source: as run here.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "dagster==1.13.29"
cd "$work"

cat > look.py <<'PY'
import sys

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

print("dagster", dg.__version__)
editions = dg.DynamicPartitionsDefinition(name="editions")
seen = {}


def keys(first, last):
    return list(editions.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))


with dg.DagsterInstance.ephemeral() as instance:
    instance.add_dynamic_partitions("editions", ["2026", "2024", "2025"])
    with partition_loading_context(dynamic_partitions_store=instance):
        seen["2024 to 2025"] = keys("2024", "2025")
        seen["2025 to 2026"] = keys("2025", "2026")
        seen["2026 to 2025"] = keys("2026", "2025")
    instance.delete_dynamic_partition("editions", "2024")
    instance.add_dynamic_partitions("editions", ["2024"])
    with partition_loading_context(dynamic_partitions_store=instance):
        seen["2024 to 2025, after 2024 was added again"] = keys("2024", "2025")
for what, found in seen.items():
    print(f"  {what}: {found}")
expected = {
    "2024 to 2025": ["2024", "2025"],
    "2025 to 2026": [],
    "2026 to 2025": ["2026", "2024", "2025"],
    "2024 to 2025, after 2024 was added again": [],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
