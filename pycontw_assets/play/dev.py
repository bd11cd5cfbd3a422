"""``pycontw-assets dev``: run sandbox page, Dagster UI and daemon in one terminal; a signal stops all of them.

Nothing outlives this process, not even when it is killed: a watcher ends the others then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from pycontw_assets.orchestration.instance import prepare_instance
from pycontw_assets.sandbox.server import environment as sandbox_environment
from pycontw_assets.settings import Settings

HOST = "127.0.0.1"
_GRACE_SECONDS = 10.0
# Waits until nobody can write to its standard input any more, then ends the process groups that it read from there.
_WATCHER = """
import os, signal, sys, time
groups = [int(line) for line in sys.stdin]
for sign in (signal.SIGINT, signal.SIGKILL):
    for group in reversed(groups):
        try:
            os.killpg(group, sign)
        except ProcessLookupError:
            pass
    time.sleep(float(sys.argv[1]) if sign == signal.SIGINT else 0)
"""


def serve(settings: Settings, port: int, sandbox_port: int) -> int:
    """Start everything and wait. The sandbox is started only when the settings leave the services to it."""
    prepare_instance(settings.dagster_folder)
    variables = {"DAGSTER_HOME": str(settings.dagster_folder), "PYCONTW_HOME": str(settings.home)}
    commands: list[list[str]] = []
    if "kktix_api_url" not in settings.model_fields_set:
        url = f"http://{HOST}:{sandbox_port}"
        variables |= sandbox_environment(url)
        commands.append([sys.executable, "-m", "pycontw_assets", "sandbox", "--port", str(sandbox_port)])
        print(f"sandbox     {url}")
    commands.append(
        [sys.executable, "-m", "dagster", "dev", "-m", "pycontw_assets.definitions", "-h", HOST, "-p", str(port)]
    )
    print(f"Dagster UI  http://{HOST}:{port}\nCtrl-C stops everything.", flush=True)
    return _run_all(commands, variables)


class _Signals:
    """Signals are counted, not raised: a process that is just being started must not be forgotten."""

    def __init__(self) -> None:
        self.stop, self.at_once = threading.Event(), threading.Event()
        # Started with "&" from a script, SIGINT would be ignored here and in every child.
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(sign, self._count)

    def _count(self, _number: int, _frame: object) -> None:
        (self.at_once if self.stop.is_set() else self.stop).set()


def _run_all(commands: list[list[str]], variables: Mapping[str, str]) -> int:
    """Run each command in its own process group: ``dagster dev`` has children that must not outlive it."""
    # Bytecode must be cached: each of these starts a Python, and some start more.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    signals, started = _Signals(), list[subprocess.Popen[bytes]]()
    watcher = subprocess.Popen(
        [sys.executable, "-c", _WATCHER, str(_GRACE_SECONDS)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        for command in commands:
            started.append(subprocess.Popen(command, env={**inherited, **variables}, start_new_session=True))
            _watch(watcher, started[-1].pid)
        while all(process.poll() is None for process in started):
            if signals.stop.wait(0.5):
                return 0
        return 1  # one of them ended; its own output says why
    finally:
        _stop(started, signals.at_once)
        watcher.kill()
        watcher.wait()


def _watch(watcher: subprocess.Popen[bytes], group: int) -> None:
    """Name a process group to the watcher. Without a watcher everything works, but for a kill of this process."""
    if watcher.stdin:
        with suppress(BrokenPipeError):
            watcher.stdin.write(f"{group}\n".encode())
            watcher.stdin.flush()


def _stop(started: list[subprocess.Popen[bytes]], at_once: threading.Event) -> None:
    """Stop them in reverse order: a tick or run that is still at work must not lose the sandbox."""
    for process in reversed(started):
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < deadline and process.poll() is None and not at_once.wait(0.1):
                pass
