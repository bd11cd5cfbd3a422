"""The daemon starts runs as forks: they do the same work, can be stopped by anybody, and end with the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, DefaultRunLauncher, RunsFilter
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    CodeLocationOrigin,
    GrpcServerCodeLocationOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from pycontw_assets.ledger.locks import process_here, process_identity
from pycontw_assets.orchestration.instance import open_instance, prepare_instance
from pycontw_assets.orchestration.launching.fork_server import ForkServerLauncher
from pycontw_assets.orchestration.run_history import OWNER_TAG
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.ui.processes import Command

HEAVY = ("pandas", "duckdb", "pyarrow", "google.cloud.bigquery")


def test_a_new_data_folder_has_the_launcher(tmp_path: Path) -> None:
    with open_instance(tmp_path / "dagster") as instance:
        assert isinstance(instance.run_launcher, ForkServerLauncher)


OURS = ManagedGrpcPythonEnvCodeLocationOrigin(
    loadable_target_origin=LoadableTargetOrigin(module_name="pycontw_assets.definitions"), location_name="here"
)
A_CONTAINER = GrpcServerCodeLocationOrigin(host="code", port=4000, location_name="elsewhere")


def run_of(
    module: str = "pycontw_assets.definitions",
    python: str = sys.executable,
    server: CodeLocationOrigin = OURS,
) -> DagsterRun:
    code = RepositoryPythonOrigin(
        executable_path=python,
        code_pointer=ModuleCodePointer(module, "defs", None),
        container_image=None,
        entry_point=None,
        container_context=None,
    )
    return DagsterRun(
        "any_job",
        job_code_origin=JobPythonOrigin("any_job", code),
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), "any_job"),
    )


@pytest.mark.parametrize(
    "run",
    [
        DagsterRun("any_job"),
        run_of(module="others.definitions"),
        run_of(python="/other/python"),
        run_of(server=A_CONTAINER),
    ],
    ids=["no code", "another package", "another Python", "another machine"],
)
def test_a_run_of_other_code_is_started_as_dagster_does(run: DagsterRun, monkeypatch: pytest.MonkeyPatch) -> None:
    passed_on: list[LaunchRunContext] = []
    monkeypatch.setattr(DefaultRunLauncher, "launch_run", lambda _self, context: passed_on.append(context))
    ForkServerLauncher().launch_run(LaunchRunContext(run, None))
    assert [context.dagster_run for context in passed_on] == [run]


def test_only_a_living_process_of_this_machine_can_be_interrupted() -> None:
    mine = process_identity()
    assert process_here(mine) == os.getpid()
    host, pid, _ = mine.split("/")
    assert process_here(f"{host}/{pid}/1") is None, "the number is used again"
    assert process_here(f"elsewhere~1~1/{pid}/1") is None
    assert process_here(f"{host}/{pid}/gone") is None, "it had ended when it was named"


@pytest.mark.long
def test_what_is_preloaded_opens_nothing_and_starts_no_thread(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    program = (
        "import json, sys, threading, pycontw_assets.orchestration.launching.preloaded\n"
        f"print(json.dumps([threading.active_count(), [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYCONTW_HOME": str(folder / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[1, []]"
    assert list(folder.iterdir()) == []


@pytest.mark.long
def test_runs_of_the_daemon_are_forks_that_anybody_can_stop_and_that_end_with_it(
    server: SandboxServer, install: Install, world: World, event: int
) -> None:
    pipeline = install(on_disk=True)
    folder = pipeline.home / "dagster"
    prepare_instance(folder)
    variables = {**server.environment, "DAGSTER_HOME": str(folder), "POLL_INTERVAL_SECONDS": "5"}
    command = Command(
        *("dagster._daemon", "run", "-m", "pycontw_assets.definitions"),
        home=pipeline.home,
        folder=pipeline.home.parent,
        **variables,
    )
    with command as daemon, DagsterInstance.from_config(str(folder)) as instance:
        with in_the_middle_of_a_run(daemon, world, event, instance) as run:
            assert "forkserver" in command_line(parent(process_of(run)))
            assert instance.run_launcher.terminate(run.run_id), "this is not the process that launched it"
        daemon.wait_for(lambda: find(instance, DagsterRunStatus.CANCELED), "end of the stopped run")
        daemon.wait_for(lambda: pipeline.mailed() or None, "mail of the next run")
        with in_the_middle_of_a_run(daemon, world, event, instance) as run:
            os.kill(process_of(run), signal.SIGKILL)
        daemon.wait_for(lambda: find(instance, DagsterRunStatus.FAILURE), "end of the dead run")
        daemon.wait_for(lambda: pipeline.mailed()[1:] or None, "mail of the next run")
        with in_the_middle_of_a_run(daemon, world, event, instance):
            daemon.interrupt()
            daemon.process.wait()
        assert [pid for pid in daemon.processes() if not has_ended(pid)] == []
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == len(set(pipeline.mailed())) == 3
    assert pipeline.verdict() == []


@contextmanager
def in_the_middle_of_a_run(
    daemon: Command, world: World, event: int, instance: DagsterInstance
) -> Iterator[DagsterRun]:
    """Sell a ticket, and hold the next run at a request to Gather until the end of the block."""
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        go_on.wait(60)

    world.faults.add("gather", "hook", path="setEmailGuestlist", method="POST", action=hold)
    world.sell(event)
    daemon.wait_for(lambda: reached.is_set() or None, "request of the run")
    try:
        yield daemon.wait_for(lambda: find(instance, DagsterRunStatus.STARTED), "run")
    finally:
        go_on.set()


def find(instance: DagsterInstance, status: DagsterRunStatus) -> DagsterRun | None:
    runs = instance.get_runs(RunsFilter(job_name="grant_access_job", statuses=[status]), limit=1)
    return runs[0] if runs else None


def process_of(run: DagsterRun) -> int:
    return int(run.tags[OWNER_TAG].split("/")[1])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def has_ended(pid: int) -> bool:
    """Wait some seconds for a process to end, as an interrupted run does after its request."""
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not Path(f"/proc/{pid}").exists()
