#!/usr/bin/env bash
# Most people guess: the selection +report means the same wherever a text selects: in a job, in
#   dagster.materialize, in an expression, with or without key: before the name.
# What really happens: a text is given to the documented parser first, in which + means every
#   layer and 1+ one. A bare name is no expression of it, so +report fails there, and the failure
#   is swallowed: the older syntax is tried, in which + is one layer, ++ two and * all. So
#   selection="+report" leaves out the layer that +key:report has, and 1+report, which looks like
#   the documented form, is refused. op_selection knows the old syntax only.
# Seen with: dagster 1.13.29
# Source: dagster/_core/definitions/asset_selection.py (from_string);
#   https://docs.dagster.io/guides/build/assets/asset-selection-syntax/reference, which has + for
#   all layers
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
import logging
import sys

import dagster as dg

print("dagster", dg.__version__)
logging.disable(logging.CRITICAL)


@dg.asset
def orders(): ...


@dg.asset(deps=[orders])
def tickets(): ...


@dg.asset(deps=[tickets])
def report(): ...


assets = [orders, tickets, report]


def select(text):
    try:
        return sorted(key.to_user_string() for key in dg.AssetSelection.from_string(text).resolve(assets))
    except Exception as error:
        return type(error).__name__


def run_job(text):
    job = dg.define_asset_job("job", selection=text)
    result = dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("job").execute_in_process()
    return sorted(event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS")


everything, one_layer = ["orders", "report", "tickets"], ["report", "tickets"]
expected = {
    "+report": one_layer,
    "*report": everything,
    "+key:report": everything,
    "1+key:report": one_layer,
    "1+report": "DagsterInvalidAssetSelectionError",
    "+report or orders": "DagsterInvalidAssetSelectionError",
    "a job of +report runs": one_layer,
    "a job of +key:report runs": everything,
}
seen = {text: run_job(text.split()[3]) if text.startswith("a job") else select(text) for text in expected}
for key, value in seen.items():
    print(f"  {key}: {value}")
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
