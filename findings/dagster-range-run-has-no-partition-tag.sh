#!/usr/bin/env bash
# Most people guess: runs of a partition can be listed by the tag dagster/partition, as the runs
#   page and countless sensors do, also when one run made several partitions
#   (BackfillPolicy.single_run).
# What really happens: such a run has the tags dagster/asset_partition_range_start and _end and
#   no dagster/partition at all: not for the middle, not for the ends. A guard of the kind "is a
#   run for this partition in progress?" does not see it. In the asset,
#   context.has_partition_key is False and context.partition_key raises, though the run is one
#   of partitions; context.partition_keys and the materializations name each of them.
# Seen with: dagster 1.13.29
# Source: seen by this script.
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

export DAGSTER_DISABLE_TELEMETRY=1 PYTHONWARNINGS=ignore
"$work/venv/bin/python" - <<'PY'
import sys

import dagster as dg

print("dagster", dg.__version__)
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
inside = {}


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]), backfill_policy=dg.BackfillPolicy.single_run())
def table(context) -> None:
    inside["keys"] = list(context.partition_keys)
    inside["has_partition_key"] = context.has_partition_key
    try:
        inside["partition_key"] = context.partition_key
    except Exception as error:
        inside["partition_key"] = type(error).__name__


instance = dg.DagsterInstance.ephemeral()
ends = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
run = dg.materialize([table], instance=instance, run_config=quiet, tags=ends)
seen = {
    "tags": sorted(instance.get_run_by_id(run.run_id).tags),
    "runs found": {key: len(instance.get_runs(dg.RunsFilter(tags={"dagster/partition": key}))) for key in "abc"},
    "made": sorted(instance.get_materialized_partitions(dg.AssetKey("table"))),
    **inside,
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {"tags": sorted(ends), "runs found": {"a": 0, "b": 0, "c": 0}, "made": ["a", "b", "c"], "keys": ["a", "b", "c"], "has_partition_key": False}
if any(seen[key] != value for key, value in expected.items()):
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
