#!/usr/bin/env bash
# Most people guess: build_sensor_context(definitions=defs) lends a sensor in a test what the
#   daemon would lend it: the jobs and assets of the definitions, and their resources.
# What really happens: jobs, assets and the repository come along, the resources do not. The
#   sensor fails with DagsterInvalidDefinitionError, "Resource with key ... was not provided",
#   although the very definitions that were passed provide it. They have to be passed once more,
#   as resources=; then the same sensor runs.
# Seen with: dagster 1.13.29
# Source: this script; Dagster's guide (https://docs.dagster.io/guides/automate/sensors/using-resources-in-sensors)
#   says that a sensor gets its resources by attaching them to the Definitions, which holds for the daemon
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

import dagster as dg

print("dagster", dg.__version__)
logging.disable(logging.CRITICAL)


class Shop(dg.ConfigurableResource):
    name: str


@dg.job
def work():
    pass


@dg.sensor(job=work)
def orders(context: dg.SensorEvaluationContext, shop: Shop):
    return dg.SkipReason(f"{shop.name} sold nothing; {len(context.repository_def.get_all_jobs())} job")


definitions = dg.Definitions(jobs=[work], sensors=[orders], resources={"shop": Shop(name="the shop")})
instance = dg.DagsterInstance.ephemeral()


def evaluate(**given):
    with dg.build_sensor_context(instance=instance, definitions=definitions, **given) as context:
        try:
            return orders.evaluate_tick(context).skip_message
        except dg.DagsterInvalidDefinitionError as error:
            return f"{type(error).__name__}: {error}"


seen = {
    "the definitions alone": evaluate(),
    "with their resources once more": evaluate(resources={"shop": Shop(name="the shop")}),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "the definitions alone": "DagsterInvalidDefinitionError: Resource with key 'shop' required by sensor 'orders' was not provided.",
    "with their resources once more": "the shop sold nothing; 1 job",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
