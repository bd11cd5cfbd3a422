"""Stop means stop: after a signal no call begins, nothing counts as failed, and no process is left. Real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pycontw_assets.api.stopping import Stopped
from pycontw_assets.ledger.locks import LockName, lock_owner
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import NAMES, make_swift
from pycontw_assets_tests.pipeline.harness import Pipeline
from pycontw_assets_tests.ui.processes import Command, Dagster, free_port

pytestmark = pytest.mark.slow

_PATIENCE_SECONDS = 120


@pytest.fixture
def pipeline(install: Install, world: World) -> Pipeline:
    """Set up a sale of three events with a buyer each."""
    make_swift(world)
    for name in NAMES.values():
        world.sell(world.add_event(name))
    return install(on_disk=True)


class Process:
    """A command of the console script, to send signals to. Its output is one text."""

    def __init__(self, server: SandboxServer, pipeline: Pipeline, *arguments: str) -> None:
        kept = {
            name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "LANG", "HOME"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pycontw_assets", *arguments],
            env={**kept, **server.environment, "PYCONTW_HOME": str(pipeline.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_accept_signals,
        )
        self.pid = self._process.pid

    def wait_until_it_listens(self) -> None:
        """Wait for the handlers of the command: Python brings none for SIGTERM."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _caught_signals(self.pid) & 1 << (signal.SIGTERM - 1):
            assert time.monotonic() < deadline, "the command installs no handler"
            time.sleep(0.05)

    def send(self, sign: signal.Signals) -> None:
        self._process.send_signal(sign)

    def end(self) -> tuple[int, str]:
        output, _ = self._process.communicate(timeout=_PATIENCE_SECONDS)
        return self._process.returncode, output


def _caught_signals(pid: int) -> int:
    [caught] = re.findall(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(caught, 16)


def _accept_signals() -> None:
    """Tests that a shell started in the background ignore Ctrl-C, and children inherit that."""
    for sign in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_DFL)


def is_fine_afterwards(pipeline: Pipeline) -> None:
    """Nothing failed, nothing waits; the next poll does the rest, and mails nobody twice."""
    assert open_problems(pipeline.ledger) == []
    history = read_run_history(pipeline.instance, pipeline.ledger)
    assert [item for item in history.attempts_by.items() if item[1].failures or item[1].running] == []
    assert pipeline.later_poll().ok
    assert len(pipeline.mailed()) == len(NAMES)
    assert pipeline.verdict() == []


LONG, SLOW = pytest.mark.long, pytest.mark.slow
STOPPED = [
    ((signal.SIGTERM, 143, "klaviyo", {"path": "send-jobs$", "method": "POST", "acts": True}), ()),
    ((signal.SIGINT, 130, "klaviyo", {"path": "send-jobs$", "method": "POST"}), SLOW),
    ((signal.SIGHUP, 129, "gather", {"method": "POST"}), SLOW),
    ((signal.SIGTERM, 143, "kktix", {"path": "attendees/"}), LONG),
    ((signal.SIGINT, 130, "kktix", {"path": "hosting_events$"}), SLOW),
]


@pytest.mark.parametrize(
    ("sign", "code", "service", "call"),
    [pytest.param(*values, marks=mark) for values, mark in STOPPED],
)
def test_a_signal_in_the_middle_of_a_call_lets_no_other_call_begin(
    server: SandboxServer, pipeline: Pipeline, world: World, sign: signal.Signals, code: int, service: str, call: dict
) -> None:
    process, marks = Process(server, pipeline, "poll"), []

    def interrupt() -> None:
        process.send(sign)
        time.sleep(0.2)
        marks.append(world.calls.mark())

    world.faults.add(service, "hook", action=interrupt, **call)
    ended, output = process.end()
    assert ended == code, output
    assert f"Interrupted by {sign.name}" in output
    assert world.calls.find(since=marks[0])[1:] == [], "the call under way, and no other"
    assert len(world.outbox) <= 1
    is_fine_afterwards(pipeline)


def test_an_interrupted_run_is_cancelled_work_and_no_failure(pipeline: Pipeline, world: World) -> None:
    """However often it is interrupted, the next poll comes at once, and an earlier failure still counts."""
    world.faults.add("gather", "status", method="POST", times=9, status=503)
    pipeline.poll()
    world.faults.clear()
    [*before] = failures(pipeline).values()
    for _ in range(2):
        world.faults.add("gather", "hook", method="GET", action=pipeline.root.stop.ask)
        with pytest.raises(Stopped):
            pipeline.later_poll()
        pipeline.restart()
    assert [*failures(pipeline).values()] == before == [1, 1, 1]
    assert pipeline.mailed() == []
    assert pipeline.later_poll().runs
    assert len(pipeline.mailed()) == len(NAMES)


def failures(pipeline: Pipeline) -> dict[str, int]:
    history = read_run_history(pipeline.instance, pipeline.ledger)
    return {key: attempts.failures for (key, kind), attempts in history.attempts_by.items() if kind == "access"}


@LONG
def test_a_second_signal_ends_at_once(server: SandboxServer, pipeline: Pipeline, world: World) -> None:
    process, answered = Process(server, pipeline, "poll"), []

    def interrupt_twice() -> None:
        for _ in range(2):
            process.send(signal.SIGINT)
            time.sleep(0.5)
        answered.append(process.end())

    world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", action=interrupt_twice)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not answered and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answered[0][0] == 130, answered
    pipeline.until_quiet()
    assert len(pipeline.mailed()) == len(NAMES)
    assert pipeline.verdict() == []


@LONG
def test_a_stopped_poll_leaves_no_lock(server: SandboxServer, pipeline: Pipeline, world: World) -> None:
    process = Process(server, pipeline, "poll")
    world.faults.add("gather", "hook", method="POST", action=lambda: process.send(signal.SIGTERM))
    assert process.end()[0] == 143
    with pipeline.ledger.engine.begin() as db:
        assert db.exec_driver_sql("select count(*) from locks").scalar() == 0
    assert lock_owner(pipeline.ledger, LockName.GUEST_LIST) is None


@LONG
@pytest.mark.parametrize("name", ["demo", pytest.param("drill", marks=SLOW)])
def test_a_played_sale_stops_without_a_verdict(server: SandboxServer, pipeline: Pipeline, name: str) -> None:
    process = Process(server, pipeline, name)
    process.wait_until_it_listens()
    time.sleep(2)  # into the first poll
    process.send(signal.SIGINT)
    code, output = process.end()
    assert code == 130, output
    assert "Interrupted by SIGINT" in output
    assert "held" not in output


# -- runs of the daemon, and dev ----------------------------------------------------------------------


@contextmanager
def dev(tmp_path: Path, server: SandboxServer, **variables: str) -> Iterator[tuple[Command, Dagster]]:
    port = free_port()
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(free_port()))
    with Command(
        "pycontw_assets", *arguments, home=tmp_path / "dev", folder=tmp_path, **server.environment, **variables
    ) as command:
        yield command, Dagster(port)


@pytest.mark.slow
@LONG
def test_a_terminated_run_of_the_daemon_calls_nobody_any_more_and_has_not_failed(
    server: SandboxServer, world: World, event: int, tmp_path: Path
) -> None:
    make_swift(world)
    world.sell(event)
    with dev(tmp_path, server, POLL_INTERVAL_SECONDS="600") as (command, dagster):
        marks: list[int] = []

        def terminate() -> None:
            [run] = [run for run in dagster.runs() if run["jobName"] == "grant_access_job"]
            dagster.ask(f'mutation {{terminateRun(runId: "{run["runId"]}") {{__typename}}}}')
            time.sleep(3)
            marks.append(world.calls.mark())

        world.faults.add("gather", "hook", method="POST", action=terminate)

        def status() -> str | None:
            [*found] = [run["status"] for run in dagster.runs() if run["jobName"] == "grant_access_job"]
            return found[0] if marks and found and found[0] in ("CANCELED", "FAILURE", "SUCCESS") else None

        assert command.wait_for(status, "end of the run") == "CANCELED"
        time.sleep(1)
        assert [call for call in world.calls.find(since=marks[0])[1:] if call.service != "kktix"] == []
    assert world.outbox == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(signal.SIGINT, marks=SLOW),
        pytest.param(signal.SIGTERM, marks=LONG),
        pytest.param(signal.SIGHUP, marks=SLOW),
        pytest.param(signal.SIGKILL, marks=LONG),
    ],
)
def test_dev_leaves_no_process_behind(
    server: SandboxServer, world: World, tmp_path: Path, sign: signal.Signals
) -> None:
    with dev(tmp_path, server) as (command, dagster):
        command.wait_for(dagster.location, "code location")
        assert len(command.processes()) > 3
        command.process.send_signal(sign)
        command.process.wait(_PATIENCE_SECONDS)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (left := command.processes()) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert left == []


@pytest.mark.slow
@LONG
def test_a_second_signal_ends_dev_at_once(server: SandboxServer, world: World, tmp_path: Path) -> None:
    with dev(tmp_path, server) as (command, dagster):
        command.wait_for(dagster.location, "code location")
        began = time.monotonic()
        for _ in range(2):
            command.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        command.process.wait(_PATIENCE_SECONDS)
        assert time.monotonic() - began < 5
        assert command.processes() == []
