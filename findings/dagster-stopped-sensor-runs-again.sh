#!/usr/bin/env bash
# Most people guess: stopping a sensor is stored in the instance under the sensor's name, so it
#   survives a restart, a new deployment and a renamed code location.
# What really happens: the state is kept for location, repository and sensor together. The same
#   code under another location name (workspace.yaml's location_name, which by default is made
#   of the file or module name) has a sensor without a state, and default_status=RUNNING starts
#   it. A sensor stopped because it mails people mails them after a rename; the old entry stays
#   behind, stopped, for a location that is gone.
# Seen with: dagster 1.13.29
# Source: seen by this script with dagster's own command line; how default_status and a stored
#   status relate: https://github.com/dagster-io/dagster/issues/30602
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

export DAGSTER_DISABLE_TELEMETRY=1 DAGSTER_HOME="$work/home"
mkdir "$DAGSTER_HOME"
cat > mailing.py <<'PY'
import dagster as dg


@dg.job
def mail(): ...


@dg.sensor(job=mail, default_status=dg.DefaultSensorStatus.RUNNING)
def mailer(context):
    return dg.SkipReason("nothing to do")


defs = dg.Definitions(jobs=[mail], sensors=[mailer])
PY
for location in spring autumn; do
  printf 'load_from:\n  - python_file:\n      relative_path: mailing.py\n      location_name: %s\n' "$location" > "$location.yaml"
done
dagster() { "$work/venv/bin/dagster" "$@" 2> "$work/errors" || { cat "$work/errors" >&2; return 1; }; }
state() { dagster sensor list -w "$1.yaml" | grep -o '\[[A-Z]*\]'; }

"$work/venv/bin/dagster" --version
at_first=$(state spring)
dagster sensor stop mailer -w spring.yaml > /dev/null
stopped=$(state spring)
renamed=$(state autumn)
by_file=$(dagster sensor list -f mailing.py | grep -o '\[[A-Z]*\]')
echo "  location spring: $at_first, after 'sensor stop': $stopped"
echo "  the same code as location autumn: $renamed, by -f mailing.py: $by_file"
if [ "$at_first $stopped $renamed $by_file" != "[RUNNING] [STOPPED] [RUNNING] [RUNNING]" ]; then
  echo "changed; it was: [RUNNING] [STOPPED] [RUNNING] [RUNNING]"
  exit 1
fi
echo "as described"
