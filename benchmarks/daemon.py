"""Dagster's daemon at work on an installation, and what the runs cost that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

POLL_SECONDS = 5
_DAEMON = ("-m", "dagster._daemon", "run", "-m", "pycontw_assets.definitions")
_LONGEST_SECONDS = 120.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PARENT, _ENDED_CHILDREN = 1, slice(13, 15)  # in /proc/PID/stat, after the name


class Daemon:
    """A daemon and its processes. A run is a child of one of them, whoever starts it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def next_run(self) -> float:
        """Wait until another run has ended, and return the CPU seconds of its process."""
        before, deadline = self._ended(), time.monotonic() + _LONGEST_SECONDS
        while (cost := self._ended() - before) <= 0:
            if time.monotonic() > deadline:
                raise SystemExit(f"the daemon ended no run within {_LONGEST_SECONDS:.0f} s")
            time.sleep(0.1)
        return cost

    def _ended(self) -> float:
        """Return the CPU seconds of all processes that the daemon's processes started and that ended."""
        fields = {int(folder.name): _fields(folder) for folder in Path("/proc").glob("[0-9]*")}
        family, size = {self._pid}, 0
        while len(family) > size:
            size = len(family)
            family |= {pid for pid, known in fields.items() if known and int(known[_PARENT]) in family}
        spent = (sum(map(int, fields[pid][_ENDED_CHILDREN])) for pid in family if fields.get(pid))
        return sum(spent) / _TICKS_PER_SECOND


def _fields(folder: Path) -> list[str]:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return []


@contextmanager
def daemon(environment: Mapping[str, str], folder: Path) -> Iterator[Daemon]:
    """Start a daemon with its code server, and stop both at the end."""
    process = subprocess.Popen(
        [sys.executable, *_DAEMON],
        env={**environment, "POLL_INTERVAL_SECONDS": str(POLL_SECONDS)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Daemon(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
