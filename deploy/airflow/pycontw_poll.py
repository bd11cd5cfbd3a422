"""A poll of pycontw_assets every five minutes, as one task of Airflow 3. Copy it into the folder of your DAGs.

The program has an environment of its own (docs/production.md, "One small machine with systemd"), because its libraries
and Airflow's do not fit into one. No secret is in this file or in Airflow: the settings are in a file that only the
user of the task may read. A poll that fails, or that waits for a person, is a failed task; the next one tries again.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROGRAM = "/opt/pycontw-assets/bin/pycontw-assets"
SETTINGS = "/etc/pycontw-assets/env"
DATA = "/var/lib/pycontw-assets"

with DAG(
    dag_id="pycontw_poll",
    description="Read KKTIX, let buyers in, invite them, fill the tables",
    schedule="*/5 * * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    # A poll compares the world with what it knows, so one poll makes up for all that were missed.
    catchup=False,
    max_active_runs=1,
    tags=["pycontw"],
) as dag:
    BashOperator(
        task_id="poll",
        bash_command=f"exec {PROGRAM} --env-file {SETTINGS} poll",
        # Nothing of Airflow's own environment, which may hold passwords, is handed over.
        env={"PATH": "/usr/bin:/bin", "PYCONTW_ENV": "production", "PYCONTW_HOME": DATA},
        append_env=False,
        # The next poll is the retry. A poll that is stopped finishes its call, and nothing is done twice.
        retries=0,
        execution_timeout=timedelta(hours=1),
    )
