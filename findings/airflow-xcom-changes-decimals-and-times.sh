#!/usr/bin/env bash
# Most people guess: what a task returns is what the next one gets, if Airflow takes it at all:
#   Decimal and datetime have serializers of their own, so a Decimal keeps its digits, a naive
#   datetime keeps its wall clock, and a value that cannot be carried fails in the task that
#   returns it.
# What really happens: a Decimal with digits behind the point goes through a float: an amount of 18
#   digits comes out as another one, still a Decimal. A naive datetime is stored as a Unix time by
#   the clock of the machine that writes and rendered by the clock of the one that reads: 10:00
#   from a worker in Taipei is 02:00 on one in UTC. A datetime with a fixed offset, as
#   fromisoformat makes it from "+08:00", is accepted from the first task and raises in the second.
#   A ZoneInfo or UTC is fine, and a text is what it was.
# Seen with: apache-airflow-core 3.3.2, apache-airflow-task-sdk 1.3.2
# Source: airflow pull request 72064 (Decimal; open): https://github.com/apache/airflow/pull/72064
#   ; airflow issue 72635 (naive times; open): https://github.com/apache/airflow/issues/72635 ; the
#   fixed offset: this script, which uses airflow.sdk.serde, as XCom does.
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check apache-airflow-core==3.3.2 apache-airflow-task-sdk==1.3.2
cd "$work"

export AIRFLOW_HOME="$work"
cat > give.py <<'PY'
import json
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from airflow.sdk.serde import serialize

values = {
    "decimal": Decimal("1234567890123456.78"),
    "naive": datetime(2026, 1, 1, 10),
    "zone": datetime(2026, 1, 1, 10, tzinfo=ZoneInfo("Asia/Taipei")),
    "offset": datetime.fromisoformat("2026-01-01T10:00:00+08:00"),
}
with open("xcom.json", "w") as file:
    json.dump({name: serialize(value) for name, value in values.items()}, file)
print(*(f"  given: {name} {value}" for name, value in values.items()), sep="\n")
PY
cat > take.py <<'PY'
import json
import sys
from importlib.metadata import version

from airflow.sdk.serde import deserialize

print("apache-airflow-task-sdk", version("apache-airflow-task-sdk"))
seen = {}
with open("xcom.json") as file:
    for name, stored in json.load(file).items():
        try:
            seen[name] = str(deserialize(stored))
        except ValueError as error:
            seen[name] = type(error).__name__
for name, value in seen.items():
    print(f"  taken: {name} {value}")
expected = {
    "decimal": "1234567890123456.8",
    "naive": "2026-01-01 02:00:00",
    "zone": "2026-01-01 10:00:00+08:00",
    "offset": "ValueError",
}
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
PY
TZ=Asia/Taipei "$work/venv/bin/python" give.py
TZ=UTC "$work/venv/bin/python" take.py
echo "as described"
