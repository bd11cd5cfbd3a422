"""Commands as a person starts them, with a home of their own, and what is asked of them while they run."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import requests

HOST = "127.0.0.1"
_PATIENCE_SECONDS = 180.0  # a busy machine with two cores took 70
_STOP_PATIENCE_SECONDS = 30.0

Found = TypeVar("Found")


class Command:
    """A Python module run as a command. ``home`` marks all its processes, however deep."""

    def __init__(self, module: str, *arguments: str, home: Path, folder: Path, **variables: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.home = home
        self._log = home.parent / f"{home.name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                env={**inherited, "HOME": str(home.parent), "PYCONTW_HOME": str(home), **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Where the tests were started in the background, Ctrl-C is ignored, and children inherit that.
                preexec_fn=_heed_interrupts,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, look: Callable[[], Found | None], what: str, *, pause: float = 0.5) -> Found:
        """What ``look`` found, asked again until it finds something; what cannot be reached yet is not found yet."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if (found := look()) is not None:
                    return found
            except requests.ConnectionError:
                pass
            time.sleep(pause)
        raise AssertionError(f"no {what}; the last words were:\n{self.output[-3000:]}")

    def processes(self) -> list[int]:
        """Every living process of this command, by the home in its environment."""
        mark = f"PYCONTW_HOME={self.home}".encode()
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _bears(entry, mark)]

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(_STOP_PATIENCE_SECONDS)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.interrupt()
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _bears(entry: Path, mark: bytes) -> bool:
    try:
        return mark in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended meanwhile, or is somebody else's


class Dagster:
    """What a running Dagster answers to a program."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"

    def ask(self, query: str) -> dict[str, Any]:
        reply = requests.post(f"{self.url}/graphql", json={"query": query}, timeout=30)
        answer: dict[str, Any] = reply.json()
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def location(self) -> dict[str, Any] | None:
        """The code location, once it was loaded or could not be."""
        answer = self.ask(
            "{workspaceOrError {... on Workspace {locationEntries {loadStatus locationOrLoadError {__typename"
            " ... on RepositoryLocation {name repositories {name sensors {name sensorState {status}}}}"
            " ... on PythonError {message}}}}}}"
        )
        entries = answer["workspaceOrError"].get("locationEntries", [])
        loaded = [entry["locationOrLoadError"] for entry in entries if entry["loadStatus"] == "LOADED"]
        return loaded[0] if loaded else None

    def runs(self) -> list[dict[str, str]]:
        return list(self.ask("{runsOrError {... on Runs {results {runId jobName status}}}}")["runsOrError"]["results"])

    def latest_ticks(self, sensor: str, count: int) -> list[dict[str, Any]]:
        selector = (
            f'{{repositoryLocationName: "pycontw_assets.definitions", repositoryName: "__repository__", '
            f'sensorName: "{sensor}"}}'
        )
        answer = self.ask(
            f"{{sensorOrError(sensorSelector: {selector}) {{... on Sensor "
            f"{{sensorState {{ticks(limit: {count}) {{status skipReason runIds}}}}}}}}}}"
        )
        return list(answer["sensorOrError"]["sensorState"]["ticks"])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
