#!/usr/bin/env bash
# Most people guess: on_missing() means what it says: an asset, or a partition, that has no
#   materialization is asked for as soon as its dependencies have theirs. A new asset with
#   eager() is made once, too.
# What really happens: "missing" counts only if it becomes so after the first evaluation, so a
#   new asset whose dependencies are all there is never asked for, tick after tick: a deployment
#   with a new asset and on_missing() does nothing, and adding two partitions later fills those
#   two and not the two before. eager() waits for the next update of a dependency. missing()
#   alone asks for all four, at every tick until they are there.
# Seen with: dagster 1.13.29
# Source: this script; the docstring of on_missing says it ("partitions of the target that are
#   added after this condition is applied to the asset"), and its label
#   "missing_since_last_handled", reset by the initial evaluation, is why
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
import sys
import warnings

import dagster as dg

print("dagster", dg.__version__)
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
sessions = dg.DynamicPartitionsDefinition(name="sessions")


@dg.asset
def orders():
    pass


def tick_by_tick(condition, partitions):
    """The partitions asked for in four ticks, the dependency there before; two keys before the first tick, two before the third."""
    instance = dg.DagsterInstance.ephemeral()

    @dg.asset(deps=[orders], automation_condition=condition, partitions_def=partitions)
    def report():
        pass

    definitions = dg.Definitions(assets=[orders, report])
    instance.add_dynamic_partitions("sessions", ["a", "b"])
    dg.materialize([orders], instance=instance)
    asked, cursor = [], None
    for tick in range(4):
        if tick == 2:
            instance.add_dynamic_partitions("sessions", ["c", "d"])
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        cursor = result.cursor
        if partitions:
            asked.append("".join(sorted(result.get_requested_partitions(report.key))))
        else:
            asked.append(result.get_num_requested(report.key))
    return asked


seen = {}
for name, condition in {"on_missing": dg.AutomationCondition.on_missing(), "eager": dg.AutomationCondition.eager(), "missing": dg.AutomationCondition.missing()}.items():
    seen[name] = tick_by_tick(condition, None)
    seen[name + ", partitions"] = tick_by_tick(condition, sessions)
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "on_missing": [0, 0, 0, 0],
    "on_missing, partitions": ["", "", "cd", ""],
    "eager": [0, 0, 0, 0],
    "eager, partitions": ["", "", "cd", ""],
    "missing": [1, 1, 1, 1],
    "missing, partitions": ["ab", "ab", "abcd", "abcd"],
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
