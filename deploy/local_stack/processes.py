"""Start, watch and end processes, and find all processes of a stack."""

# ruff: noqa: S603  # runs the commands of compose.yaml

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.local_stack import MARK

_GRACE_SECONDS = 20.0


class Process:
    """A command in a separate process group, with its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        folder: Path,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user and _group_of(user),
                extra_groups=[] if user else None,
            )

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def last_output(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])

    def stop(self, sign: signal.Signals) -> None:
        """Signal the command, give it time, then end its whole group."""
        if self.exit_code is None:
            self._process.send_signal(sign)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


def belonging_to(home: Path) -> list[int]:
    """Return all living processes of the stack in this folder except this one, by the mark in their environment."""
    mark = f"{MARK}={home}".encode()
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [number for number in numbers if number != os.getpid() and mark in _environment(number)]


def _environment(number: int) -> list[bytes]:
    try:
        return Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # the process ended, or belongs to another user


def end_all(home: Path) -> int:
    """Terminate all processes of a stack, and return their number.

    Signal the process that started the others, or all of them if it is gone. After a while, kill the rest.
    """
    numbers = belonging_to(home)
    for number in [number for number in numbers if _is_stack(number)] or numbers:
        _send(number, signal.SIGTERM)
    if numbers and not _within(3 * _GRACE_SECONDS, lambda: not belonging_to(home)):
        for number in belonging_to(home):
            _send(number, signal.SIGKILL)
        _within(_GRACE_SECONDS, lambda: not belonging_to(home))
    return len(numbers)


def _is_stack(number: int) -> bool:
    with suppress(OSError):
        return b"deploy.local_stack" in Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    return False


def _send(number: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, sign)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.2)
    return False
