"""The example for Airflow agrees with the program that it starts. Airflow itself is not installed here."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dagster._utils.schedules import is_valid_cron_string

from pycontw_assets.commands.cli import _parser
from pycontw_assets.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
FILE = DEPLOY / "airflow" / "pycontw_poll.py"


class Recorded:
    """Stands for a class of Airflow, and keeps what it was made with."""

    made: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(self, **arguments: Any) -> None:
        self.made.append((type(self).__name__, arguments))

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class DAG(Recorded):
    pass


class BashOperator(Recorded):
    pass


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Run the file with recorders in place of Airflow, and return the arguments by class."""
    parts = {
        "pendulum": {"datetime": lambda *_, **__: "a moment"},
        "airflow": {},
        "airflow.sdk": {"DAG": DAG},
        "airflow.providers": {},
        "airflow.providers.standard": {},
        "airflow.providers.standard.operators": {},
        "airflow.providers.standard.operators.bash": {"BashOperator": BashOperator},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Recorded, "made", [])
    exec(compile(FILE.read_text(encoding="utf-8"), FILE.name, "exec"), {})
    return dict(Recorded.made)


def test_one_task_starts_a_poll_as_the_timer_does(example: dict[str, dict[str, Any]]) -> None:
    task = example["BashOperator"]
    _, program, *words = shlex.split(task["bash_command"])
    unit = (DEPLOY / "systemd" / "pycontw-assets-poll.service").read_text(encoding="utf-8")
    assert f"ExecStart={program} poll\n" in unit
    assert f"EnvironmentFile={words[1]}\n" in unit
    assert f"PYCONTW_HOME={task['env']['PYCONTW_HOME']}\n" in unit
    assert _parser().parse_args(words).run
    assert (words[0], words[-1]) == ("--env-file", "poll")


def test_nothing_of_airflows_environment_and_no_secret_is_handed_over(example: dict[str, dict[str, Any]]) -> None:
    task = example["BashOperator"]
    assert task["append_env"] is False
    secrets = {name.upper() for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert not secrets & set(task["env"])
    assert not [name for name in secrets if name in FILE.read_text(encoding="utf-8")]


def test_polls_neither_overlap_nor_pile_up(example: dict[str, dict[str, Any]]) -> None:
    dag, task = example["DAG"], example["BashOperator"]
    minutes = Settings.model_fields["poll_interval_seconds"].default // 60
    assert dag["schedule"] == f"*/{minutes} * * * *"
    assert is_valid_cron_string(dag["schedule"])
    assert (dag["catchup"], dag["max_active_runs"], task["retries"]) == (False, 1, 0)


def test_the_example_imports_public_names_of_airflow_3_only() -> None:
    tree = ast.parse(FILE.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"datetime", "airflow.sdk", "airflow.providers.standard.operators.bash"}


def test_the_example_of_cron_is_read_by_a_shell() -> None:
    (line,) = re.findall(r"^\*.*", (DEPLOY / "crontab.example").read_text(encoding="utf-8"), re.M)
    command = line.split(maxsplit=6)[-1]
    assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
