#!/usr/bin/env bash
# Most people guess: eager() does not start a second run beside one in progress, and asks for
#   one as soon as that is over if an upstream asset was updated meanwhile: no update gets lost.
# What really happens: the condition looks for a dependency's update since the asset itself was
#   last requested or updated. The run in progress read the old data, but its materialization
#   comes after the update and clears it. The asset stays on old data until the upstream asset
#   is materialized once more.
# Seen with: dagster 1.13.29
# Source: dagster pull request 22746 ("only materialize if there's been a parent update since
#   the last time the asset was requested or materialized"; the lost update is not spoken of):
#   https://github.com/dagster-io/dagster/pull/22746
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
import tempfile
import threading

import dagster as dg

print("dagster", dg.__version__)
data = {"version": 1}
read = []
hold = {"on": False, "started": threading.Event(), "go": threading.Event()}
no_logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.asset
def orders() -> None: ...


@dg.asset(deps=[orders], automation_condition=dg.AutomationCondition.eager())
def table() -> None:
    version = data["version"]
    if hold["on"]:
        hold["started"].set()
        hold["go"].wait(60)
    read.append(version)


definitions = dg.Definitions([orders, table])
with tempfile.TemporaryDirectory() as folder:
    instance = dg.DagsterInstance.local_temp(folder, overrides={"compute_logs": no_logs})
    asked, cursor = [], None

    def tick(when):
        global cursor
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        cursor = result.cursor
        asked.append((when, result.get_num_requested(dg.AssetKey("table"))))

    def run(*selection):
        dg.materialize([orders, table], selection=list(selection), instance=instance, run_config=quiet)

    run(orders, table)
    tick("at first")
    hold["on"] = True
    running = threading.Thread(target=run, args=(table,))
    running.start()
    hold["started"].wait(60)
    tick("table runs")
    data["version"] = 2
    run(orders)
    tick("table runs, orders updated")
    hold["go"].set()
    running.join()
    hold["on"] = False
    tick("table's run over")
    tick("later")
    stale = read[-1]
    run(orders)
    tick("orders updated again")

for when, number in asked:
    print(f"  {when}: {number} requested")
print("table was made from version", stale, "of", data["version"])
expected = [0, 0, 0, 0, 0, 1]
if [number for _, number in asked] != expected or stale != 1:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
