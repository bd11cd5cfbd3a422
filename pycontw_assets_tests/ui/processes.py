"""Commands started as a person starts them, each with its own home, and queries to the running commands."""

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

Result = TypeVar("Result")


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
                # A shell that starts the tests in the background makes them ignore Ctrl-C, and children inherit that.
                preexec_fn=_accept_interrupts,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, look: Callable[[], Result | None], what: str, *, pause: float = 0.5) -> Result:
        """Call ``look`` until it returns a result, and return that; a failed connection counts as no result yet."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if (result := look()) is not None:
                    return result
            except requests.ConnectionError:
                pass
            time.sleep(pause)
        raise AssertionError(f"no {what}; the last output was:\n{self.output[-3000:]}")

    def processes(self) -> list[int]:
        """Return all living processes of this command, by the home in their environment."""
        mark = f"PYCONTW_HOME={self.home}".encode()
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _has_mark(entry, mark)]

    def interrupt(self) -> int:
        """Send Ctrl-C and return the exit code."""
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


def _accept_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _has_mark(entry: Path, mark: bytes) -> bool:
    try:
        return mark in (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # the process ended, or belongs to another user


class Dagster:
    """The GraphQL API of a running Dagster."""

    def __init__(self, port: int) -> None:
        self.url = f"http://{HOST}:{port}"

    def ask(self, query: str) -> dict[str, Any]:
        reply = requests.post(f"{self.url}/graphql", json={"query": query}, timeout=30)
        answer: dict[str, Any] = reply.json()
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def location(self) -> dict[str, Any] | None:
        """Return the code location after Dagster has loaded it or failed to load it."""
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
