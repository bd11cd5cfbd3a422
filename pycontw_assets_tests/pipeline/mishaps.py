"""Polls that do not run undisturbed: killed at a moment of their work, or something else happens just then.

A moment is right before or after any call to KKTIX, Gather, Klaviyo, the ledger, the vault or the warehouse, so
killing at every moment kills between any two effects. The expectations of a test do not belong here.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from dagster import DagsterInstance

from pycontw_assets.api.client import ServiceError
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.orchestration.poll import PollReport, poll
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, fused_ledger
from pycontw_assets_tests.pipeline.harness import Pipeline, TestClock, build_root, call, definer

BROKE = 70
_PARTS = ("kktix", "gather", "klaviyo", "ledger", "vault", "warehouse")
_CHILD_PATIENCE_SECONDS = 120
_LONGEST_WAIT_SECONDS = 0.01


class ShortWaits(TestClock):
    """Waits of a poll that is not alone: it cannot move the shared clock, so it waits briefly in real time."""

    def advance(self, seconds: float) -> None:
        time.sleep(min(seconds, _LONGEST_WAIT_SECONDS))


class Moment(Fuse):
    """Acts once, at the given moment, or at the next one of the main thread if that is another thread's.

    Dagster's instance in memory is not for several threads.
    """

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.happened = False
        self._at = at
        self._action = action
        self._lock = threading.Lock()

    def burn(self) -> None:
        with self._lock:
            is_due = self._at <= self.moments and not self.happened
            self.moments += 1
        if is_due and threading.current_thread() is threading.main_thread():
            self.happened = True
            self._action()


def poll_with(pipeline: Pipeline, moment: Fuse | None = None, instance: DagsterInstance | None = None) -> PollReport:
    """Poll with separate clients that do not move the clock. ``moment`` is called at each of their calls."""
    clock = ShortWaits(pipeline.clock.skipped)
    waits = WaitPolicy(sleep=clock.advance, lock=0)  # the other process may wait for this one: give up at once
    root = build_root(pipeline.settings, clock, waits=waits)
    if moment is not None:
        clients = {name: getattr(root, name) for name in _PARTS}
        parts: dict[str, Any] = {name: Fused(part, moment) for name, part in clients.items() if part is not None}
        parts["ledger"] = fused_ledger(root.ledger, moment)
        root = build_root(pipeline.settings, clock, waits=waits, **parts)
    return call(root, poll, definer(root), instance or pipeline.instance)


def _open_instance(pipeline: Pipeline) -> DagsterInstance:
    return DagsterInstance.from_config(str(pipeline.home / "dagster"))


def poll_in_fork(
    pipeline: Pipeline, moment: Fuse | None = None, ready: Callable[[int], None] = lambda pid: None
) -> int:
    """Poll in a copy of this process. Return 0: fine, 1: a problem, negative: killed, ``BROKE``: a bug.

    Its changes to an instance in memory are lost with it. ``ready`` gets its process id before it begins.
    """

    def work() -> int:
        # Two processes must not share open files of a database. A database in memory is a copy anyway.
        instance = None if pipeline.instance.is_ephemeral else _open_instance(pipeline)
        try:
            return 0 if poll_with(pipeline, moment, instance).ok else 1
        except ServiceError:
            return 1

    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = BROKE
        try:
            os.read(gate, 1)
            code = work()
        except BaseException:  # noqa: BLE001 - the copy of a test must never go on as a test
            traceback.print_exc()
        finally:
            os._exit(code)
    ready(pid)
    os.write(opener, b"!")
    os.close(opener)
    os.close(gate)
    return _exit_code(pid)


def _exit_code(pid: int) -> int:
    deadline = time.monotonic() + _CHILD_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("a child did not end")


def poll_killed_at(pipeline: Pipeline, at: int) -> int:
    """Poll in a child that is killed right before or after one of its calls."""
    return poll_in_fork(pipeline, Moment(at, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def poll_killed_unheard(pipeline: Pipeline, service: str, request: int) -> int:
    """Poll in a child that is killed between an action of a service and its answer."""
    doomed: list[int] = []
    kill = functools.partial(_kill, doomed)
    fault = pipeline.world.faults.add(service, "hook", acts=True, skip=request, action=kill)
    try:
        return poll_in_fork(pipeline, ready=doomed.append)
    finally:
        fault.times = 0


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class BrokenWarehouse:
    """A warehouse that refuses all rows."""

    def __getattr__(self, name: str) -> Any:
        raise WarehouseError("the file is locked by another program; close it")
