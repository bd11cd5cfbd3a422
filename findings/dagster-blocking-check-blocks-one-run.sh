#!/usr/bin/env bash
# Most people guess: an asset check with blocking=True that failed blocks what is downstream
#   until a good materialization: that is the word's meaning, and eager() will not ask for an
#   asset while the check of its dependency stands failed.
# What really happens: the failed check stops the steps behind it in its own run, no more. The
#   asset counts as materialized all the same, so that is an update for
#   AutomationCondition.eager(), which asks for the downstream asset at the next tick: the very
#   rows that the check refused go on. A job or a click that materializes the downstream asset
#   alone runs, too. `eager() & AutomationCondition.all_deps_blocking_checks_passed()` waits;
#   eager alone does not contain it.
# Seen with: dagster 1.13.29
# Source: this script; the reference of asset_check ("runs that include this check and any
#   downstream assets ... will wait", https://docs.dagster.io/api/asset-checks) and Dagster's
#   guide to customizing eager, which adds all_deps_blocking_checks_passed for this;
#   dagster-io/dagster issue 25112 is one person's surprise
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
eager = dg.AutomationCondition.eager()
careful = eager & dg.AutomationCondition.all_deps_blocking_checks_passed()


@dg.asset
def orders():
    pass


@dg.asset_check(asset=orders, blocking=True)
def complete():
    return dg.AssetCheckResult(passed=False)


@dg.asset(deps=[orders], automation_condition=eager)
def mails():
    pass


@dg.asset(deps=[orders], automation_condition=careful)
def careful_mails():
    pass


definitions = dg.Definitions(assets=[orders, mails, careful_mails], asset_checks=[complete])
instance = dg.DagsterInstance.ephemeral()


def tick(cursor=None):
    result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
    asked = [asset.key.to_user_string() for asset in (mails, careful_mails) if result.get_num_requested(asset.key)]
    return asked, result.cursor


def materialize(assets, instance):
    result = dg.materialize([orders, complete, mails], selection=assets, instance=instance, raise_on_error=False)
    return result.success, sorted(event.asset_key.to_user_string() for event in result.get_asset_materialization_events())


seen = {}
seen["one run of orders, its check and mails"] = materialize([orders, mails], dg.DagsterInstance.ephemeral())
seen["asked for before anything ran"], cursor = tick()
seen["a run of orders and its check"] = materialize([orders], instance)
seen["asked for after it"], cursor = tick(cursor)
seen["a run of mails alone"] = materialize([mails], instance)
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = {
    "one run of orders, its check and mails": (False, ["orders"]),
    "asked for before anything ran": [],
    "a run of orders and its check": (False, ["orders"]),
    "asked for after it": ["mails"],
    "a run of mails alone": (True, ["mails"]),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
