#!/usr/bin/env bash
# Most people guess: code_version on an asset marks it as out of date when the code changes;
#   each materialization that produces something else still has another data version.
# What really happens: the default data version is computed, not observed: a hash of the code
#   version and the inputs' data versions. Without code_version the run's id stands in for it,
#   so each run is "new"; with it, and without inputs, the data version is the same for ever,
#   whatever was returned. A condition on data_version_changed then never fires; eager(), which
#   looks at materializations, does. An asset that knows better has to return its own
#   DataVersion.
# Seen with: dagster 1.13.29
# Source: Dagster's guide "Asset versioning and caching" (the two kinds of version, and that
#   unchanged code and inputs are taken to mean an unchanged result):
#   https://docs.dagster.io/guides/dagster/asset-versioning-and-caching
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
outside = [1]
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())


def world(code_version):
    @dg.asset(code_version=code_version)
    def orders() -> int:
        return outside[0]

    @dg.asset(deps=[orders], automation_condition=dg.AutomationCondition.eager())
    def by_eager() -> None: ...

    @dg.asset(deps=[orders], automation_condition=changed)
    def by_data_version() -> None: ...

    assets = [orders, by_eager, by_data_version]
    instance = dg.DagsterInstance.ephemeral()
    versions = []

    def run(*selection):
        outside[0] += 1
        dg.materialize(assets, selection=list(selection), instance=instance, run_config=quiet)
        event = instance.get_latest_materialization_event(dg.AssetKey("orders"))
        versions.append(event.asset_materialization.tags["dagster/data_version"][:8])

    run(*assets)
    definitions = dg.Definitions(assets)
    cursor = dg.evaluate_automation_conditions(definitions, instance).cursor
    run(orders)
    result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
    asked = [name for name in ("by_eager", "by_data_version") if result.get_num_requested(dg.AssetKey(name))]
    print(f"  code_version={code_version!r}: data versions of two different values {versions}, then asked for: {asked}")
    return versions[0] == versions[1], asked


seen = {version: world(version) for version in ("1", None)}
expected = {"1": (True, ["by_eager"]), None: (False, ["by_eager", "by_data_version"])}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
