#!/usr/bin/env bash
# Most people guess: a DAG with schedule="*/5 * * * *" runs for the five minutes before it:
#   data_interval_start to data_interval_end, as in Airflow 2 and in most examples of
#   "WHERE at >= start AND at < end".
# What really happens: in Airflow 3 a cron text becomes a CronTriggerTimetable, whose interval has
#   no length: start, end and logical date are one moment, so such a query finds nothing, each time,
#   and the task succeeds. A timedelta does the same. [scheduler] create_cron_data_intervals, or a
#   CronDataIntervalTimetable, brings the five minutes back.
# Seen with: apache-airflow-core 3.3.2, apache-airflow-task-sdk 1.3.2
# Source: Airflow's release notes of 3.0.0 (create_cron_data_intervals is False by default).
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check "apache-airflow-core==3.3.2" "apache-airflow-task-sdk==1.3.2"
cd "$work"

cat > look.py <<'PY'
import datetime
import os
import sys
from importlib.metadata import version

os.environ["AIRFLOW_HOME"] = os.getcwd()
import pendulum
from airflow.sdk import DAG
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable

print("apache-airflow-core", version("apache-airflow-core"))
start, five = pendulum.datetime(2026, 1, 1), datetime.timedelta(minutes=5)
chosen = {
    "'*/5 * * * *'": DAG("cron", schedule="*/5 * * * *", start_date=start).timetable,
    "timedelta(minutes=5)": DAG("delta", schedule=five, start_date=start).timetable,
}
seen = {what: (type(made).__name__, made.interval.total_seconds()) for what, made in chosen.items()}
timetables = {
    "CronTriggerTimetable": CronTriggerTimetable("*/5 * * * *", timezone="UTC"),
    "DeltaTriggerTimetable": DeltaTriggerTimetable(five),
    "CronDataIntervalTimetable": CronDataIntervalTimetable("*/5 * * * *", timezone=pendulum.timezone("UTC")),
}
lengths = {}
for name, timetable in timetables.items():
    restriction = TimeRestriction(earliest=start, latest=None, catchup=False)
    interval = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction).data_interval
    lengths[name] = (interval.end - interval.start).total_seconds()
for what, found in (*seen.items(), *lengths.items()):
    print(f"  {what}: {found}")
expected = {
    "'*/5 * * * *'": ("CronTriggerTimetable", 0.0),
    "timedelta(minutes=5)": ("DeltaTriggerTimetable", 0.0),
}
if seen != expected or lengths != {**dict.fromkeys(timetables, 0.0), "CronDataIntervalTimetable": 300.0}:
    print("changed; it was:", expected)
    sys.exit(1)
PY
venv/bin/python look.py
echo "as described"
