#!/usr/bin/env bash
# Most people guess: luigi --module m Task exits with something other than 0 when a task raises,
#   so cron, CI and a shell's && notice it.
# What really happens: it exits with 0: after a failed task, after a requirement that is missing,
#   and when the task that was asked for never ran for it. Every case has a code of its own in the
#   section [retcode], and each but that of an unhandled exception (outside of tasks) is 0 until
#   it is set.
# Seen with: luigi 3.8.1
# Source: https://luigi.readthedocs.io/en/stable/configuration.html#retcode and luigi/retcodes.py
set -euo pipefail

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "This needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --disable-pip-version-check luigi==3.8.1
cd "$work"

"$work/venv/bin/python" - <<'PY'
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

print("luigi", version("luigi"))
Path("orders.py").write_text("""
import luigi

class Fetch(luigi.Task):
    def output(self):
        return luigi.LocalTarget("orders.csv")
    def run(self):
        raise ValueError("the shop is closed")

class Report(luigi.Task):
    def requires(self):
        return Fetch()
    def output(self):
        return luigi.LocalTarget("report.csv")

class FromOutside(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget("never-there.csv")

class Needs(luigi.Task):
    def requires(self):
        return FromOutside()
""")


def code(task, *options):
    command = [sys.executable, "-m", "luigi", "--module", "orders", task, "--local-scheduler", *options]
    return subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": "."}).returncode


seen = {
    "a task raises": code("Fetch"),
    "a requirement raises": code("Report"),
    "a requirement is missing": code("Needs"),
    "no such task": code("Nothing") != 0,
    "a task raises, --retcode-task-failed 30": code("Fetch", "--retcode-task-failed", "30"),
}
for key, value in seen.items():
    print(f"  {key}: {value}")
expected = dict(zip(seen, [0, 0, 0, True, 30]))
if seen != expected:
    print("changed; it was:", expected)
    sys.exit(1)
print("as described")
PY
