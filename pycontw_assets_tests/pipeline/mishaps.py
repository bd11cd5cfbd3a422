"""Polls that do not run undisturbed: killed or stopped at a moment of their work, or something else happens just then.

A moment is right before or after any call to KKTIX, Gather, Klaviyo, the ledger, the vault or the warehouse, so
killing at every moment kills between any two effects. The expectations of a test do not belong here.
"""

from __future__ import annotations

import functools
import io
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from typing import Any

from dagster import DagsterInstance

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.commands.interrupts import run_until_stopped
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.orchestration.poll import PollReport, poll
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox.call_log import CallRecord
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, fused_ledger
from pycontw_assets_tests.pipeline.harness import Pipeline, TestClock, build_root, call, definer

BROKE = 70
_PARTS = ("kktix", "gather", "discord", "klaviyo", "ledger", "vault", "warehouse")
_CHILD_PATIENCE_SECONDS = 120
_LONGEST_WAIT_SECONDS = 0.01
Refusals = tuple[type[Exception], ...]
REFUSED = (ServiceError, LedgerError)  # how a poll ends that did not even begin


class ShortWaits(TestClock):
    """Waits of a poll that is not alone: it cannot move the shared clock, so it waits briefly in real time."""

    def advance(self, seconds: float) -> None:
        time.sleep(min(seconds, _LONGEST_WAIT_SECONDS))


class Moment(Fuse):
    """Acts once, at the given moment, or at the next one of ``thread`` if that is another thread's.

    Dagster's instance in memory is not for several threads.
    """

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.happened = False
        self.thread = threading.main_thread()
        self._at = at
        self._action = action
        self._lock = threading.Lock()

    def burn(self) -> None:
        with self._lock:
            is_due = self._at <= self.moments and not self.happened
            self.moments += 1
        if is_due and threading.current_thread() is self.thread:
            self.happened = True
            self._action()


def separate_root(pipeline: Pipeline, moment: Fuse | None = None, stop: Stop | None = None) -> Composition:
    """Build separate clients that do not move the clock. ``moment`` is called at each of their calls."""
    clock, stop = ShortWaits(pipeline.clock.skipped), stop or Stop()
    waits = WaitPolicy(sleep=clock.advance, lock=0)  # the other process may wait for this one: give up at once
    root = build_root(pipeline.settings, clock, waits=waits, stop=stop)
    if moment is None:
        return root
    clients = {name: getattr(root, name) for name in _PARTS}
    parts: dict[str, Any] = {name: Fused(part, moment) for name, part in clients.items() if part is not None}
    parts["ledger"] = fused_ledger(root.ledger, moment)
    return build_root(pipeline.settings, clock, waits=waits, stop=stop, **parts)


def poll_with(
    pipeline: Pipeline,
    moment: Fuse | None = None,
    instance: DagsterInstance | None = None,
    stop: Stop | None = None,
) -> PollReport:
    """Poll with clients of its own (``separate_root``)."""
    root = separate_root(pipeline, moment, stop)
    return call(root, poll, definer(root), instance or pipeline.instance)


def _open_instance(pipeline: Pipeline) -> DagsterInstance:
    return DagsterInstance.from_config(str(pipeline.home / "dagster"))


def poll_in_fork(
    pipeline: Pipeline,
    moment: Fuse | None = None,
    ready: Callable[[int], None] = lambda pid: None,
    run: Callable[[Callable[[], int]], int] = lambda work: work(),
    stop: Stop | None = None,
) -> int:
    """Poll in a copy of this process. Return 0: fine, 1: a problem, negative: killed, ``BROKE``: a bug.

    Its changes to an instance in memory are lost with it.
    """

    def work() -> int:
        # Two processes must not share open files of a database. A database in memory is a copy anyway.
        instance = None if pipeline.instance.is_ephemeral else _open_instance(pipeline)
        try:
            return 0 if poll_with(pipeline, moment, instance, stop).ok else 1
        except REFUSED:
            return 1

    return _in_fork(work, ready, run)


def _in_fork(
    work: Callable[[], int],
    ready: Callable[[int], None] = lambda pid: None,
    run: Callable[[Callable[[], int]], int] = lambda work: work(),
) -> int:
    """Work in a copy of this process, and return its exit code.

    ``ready`` gets its process id before it begins. ``run`` does the work in the copy and returns its exit code.
    """
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = BROKE
        try:
            os.read(gate, 1)
            code = run(work)
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


def killed_at(pipeline: Pipeline, at: int, action: Callable[[Composition], object], refused: Refusals) -> int:
    """Do something other than a poll in a child that is killed right before or after one of its calls."""

    def work() -> int:
        moment = Moment(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        try:
            action(separate_root(pipeline, moment))
        except (*REFUSED, *refused):
            return 1
        return 0

    return _in_fork(work)


def poll_killed_unheard(pipeline: Pipeline, service: str, request: int) -> int:
    """Poll in a child that is killed between an action of a service and its answer."""
    doomed: list[int] = []
    kill = functools.partial(_kill, doomed)
    fault = pipeline.world.faults.add(service, "hook", acts=True, skip=request, action=kill)
    try:
        return poll_in_fork(pipeline, ready=doomed.append)
    finally:
        fault.times = 0


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The end of a poll that got a signal. ``calls``, ``messages``: what began afterwards, however it ended.

    ``None``: it had ended before the moment of the signal.
    """

    exit_code: int
    calls: list[CallRecord] | None
    messages: int = 0


def poll_interrupted_at(pipeline: Pipeline, at: int, sign: signal.Signals, messages: Callable[[], int]) -> Interrupted:
    """Poll in a child that gets a signal right before or after one of its calls, as the command would.

    ``messages``: count those that people got.
    """
    stop, marks = Stop(), list[tuple[int, int]]()
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()

    def interrupt() -> None:
        """Ask this process to stop, and let the parent remember what had begun by then."""
        os.kill(os.getpid(), sign)
        with suppress(Stopped):  # the handler runs in another thread
            stop.sleep(_CHILD_PATIENCE_SECONDS)
        os.write(ask, b"?")
        os.read(answered, 1)

    def note_when_asked(_pid: int) -> None:
        os.close(ask)
        threading.Thread(target=note, daemon=True).start()

    def note() -> None:
        if os.read(asked, 1):
            marks.append((pipeline.world.calls.mark(), messages()))
            os.write(answer, b"!")
        for end in (asked, answered, answer):
            os.close(end)

    moment = Moment(at, interrupt)

    def run(work: Callable[[], int]) -> int:
        def in_its_thread() -> int:
            moment.thread = threading.current_thread()
            return work()

        signal.signal(sign, signal.SIG_DFL)  # tests that a shell started in the background ignore Ctrl-C
        with redirect_stderr(io.StringIO()):
            return run_until_stopped(in_its_thread, stop)

    exit_code = poll_in_fork(pipeline, moment, note_when_asked, run, stop)
    if not marks:
        return Interrupted(exit_code, None)
    [(calls, before)] = marks
    return Interrupted(exit_code, pipeline.world.calls.find(since=calls), messages() - before)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class BrokenWarehouse:
    """A warehouse that refuses all rows."""

    def __getattr__(self, name: str) -> Any:
        raise WarehouseError("the file is locked by another program; close it")
