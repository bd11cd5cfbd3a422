#!/usr/bin/env bash
# Most people guess: check_specs=[AssetCheckSpec("complete", asset="table")] on a partitioned
#   asset takes the asset's partitions, so a failed check of one event stays red until that
#   event passes.
# What really happens: the spec does not inherit the partitions. Each result replaces the one
#   before, whatever partition it is of, so with runs for a (fails) and b (passes) the asset
#   shows a passed check. AssetCheckSpec and @asset_check take a partitions_def, which has to be
#   given although it can only be the asset's own; then each partition's result can be asked
#   for.
# Seen with: dagster 1.13.29
# Source: dagster issue 17005 "Partitioned asset checks"
#   (https://github.com/dagster-io/dagster/issues/17005) and the docstring of AssetCheckSpec
#   (partitions_def: None or the same as the asset's)
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
events = dg.StaticPartitionsDefinition(["a", "b"])


def run(partitions_def):
    spec = dg.AssetCheckSpec("complete", asset="table", partitions_def=partitions_def)

    @dg.asset(partitions_def=events, check_specs=[spec])
    def table(context):
        result = dg.AssetCheckResult(check_name="complete", passed=context.partition_key != "a")
        yield dg.MaterializeResult(check_results=[result])

    instance = dg.DagsterInstance.ephemeral()
    statuses = []
    for partition in ("a", "b"):
        dg.materialize([table], partition_key=partition, instance=instance, run_config=quiet)
        records = instance.event_log_storage.get_latest_asset_check_execution_by_key([spec.key])
        statuses.append(records[spec.key].status.value)
    partitions = [
        record.partition for record in instance.event_log_storage.get_asset_check_execution_history(spec.key, limit=10)
    ]
    return statuses, sorted(str(p) for p in partitions)


seen = {"without partitions_def": run(None), "with it": run(events)}
for key, (statuses, partitions) in seen.items():
    print(f"  {key}: latest status after a, after b: {statuses}; results are kept for partitions {partitions}")
expected = {"without partitions_def": (["FAILED", "SUCCEEDED"], ["None", "None"]), "with it": (["FAILED", "SUCCEEDED"], ["a", "b"])}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
