#!/usr/bin/env bash
# Most people guess: dagster.Config is a pydantic BaseModel, so run config for an Enum field
#   holds the value, and "5" is good enough for an int.
# What really happens: run config is checked by Dagster's own config schema first, made from the
#   model: an enum is given by its NAME there, and scalars are not converted. Python code that
#   builds the same class may give either, and "5" becomes 5, as in pydantic. An unknown key is
#   the other way round: run config refuses it, the class ignores it. A settings file that works
#   in one place fails in the other.
# Seen with: dagster 1.13.29
# Source: seen by this script (the two error messages are printed).
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

export DAGSTER_DISABLE_TELEMETRY=1
"$work/venv/bin/python" - <<'PY'
import enum
import sys

import dagster as dg

print("dagster", dg.__version__)
quiet = {"console": {"config": {"log_level": "CRITICAL"}}}


class Mode(enum.Enum):
    DRY = "dry run"
    REAL = "real"


class Settings(dg.Config):
    mode: Mode = Mode.REAL
    limit: int = 1


@dg.asset
def table(config: Settings) -> None:
    seen_by_asset.append((config.mode.name, config.limit))


seen_by_asset = []


def by_run_config(**config):
    try:
        dg.materialize([table], run_config={"ops": {"table": {"config": config}}, "loggers": quiet})
        return seen_by_asset.pop()
    except dg.DagsterInvalidConfigError as error:
        print("  ", str(error).splitlines()[1].strip()[:110])
        return "refused"


def by_class(**config):
    try:
        made = Settings(**config)
        return made.mode.name, made.limit
    except ValueError:
        return "refused"


cases = [{"mode": "dry run"}, {"mode": "DRY"}, {"limit": "5"}, {"unknown": 1}]
seen = {str(case): (by_run_config(**case), by_class(**case)) for case in cases}
for case, (run_config, in_python) in seen.items():
    print(f"  {case}: in run config {run_config}, in Python {in_python}")
expected = {
    "{'mode': 'dry run'}": ("refused", ("DRY", 1)),
    "{'mode': 'DRY'}": (("DRY", 1), ("DRY", 1)),
    "{'limit': '5'}": ("refused", ("REAL", 5)),
    "{'unknown': 1}": ("refused", ("REAL", 1)),
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
