"""One stack from start to end: its variables, its services in order, and ``up``."""

# ruff: noqa: T201, S603  # prints for a person; runs the commands of compose.yaml

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from deploy.local_stack import DEPLOY, MARK, Unusable, compose, postgres
from deploy.local_stack.compose import Service
from deploy.local_stack.processes import Process, belonging_to, end_all

HOST = "127.0.0.1"
_WEB_PORT, _SANDBOX_PORT = 3000, 8031
_TIMEOUT_SECONDS = 300.0
_PAUSE_SECONDS = 2.0
_READ_ONLY, _WRITABLE = 0o555, 0o711


class Stack:
    """A stack that runs from ``start`` to the end of the ``with`` block; every start is empty, as in the sandbox."""

    def __init__(self, home: Path) -> None:
        if belonging_to(home):
            raise Unusable(f"a stack is running in {home}; stop it with: deploy/local-stack down --home {home}")
        self.home, self._folder = home, home / "run"
        self._processes: list[Process] = []
        self.variables = _variables(self._folder)
        self.services = self._read()

    @property
    def web_url(self) -> str:
        return f"http://{HOST}:{self.variables['WEB_PORT']}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{HOST}:{self.variables['SANDBOX_PORT']}"

    def _read(self) -> dict[str, Service]:
        from cryptography.fernet import Fernet

        services = compose.read(DEPLOY / "compose.yaml", self.variables, profile="sandbox")
        # As strict as production: a missing variable that production needs stops the start.
        strict = {
            "PYCONTW_ENV": "production",
            "VAULT_KEY": Fernet.generate_key().decode(),
            "PSEUDONYM_KEY": secrets.token_hex(32),
        }
        code = services["code"]
        return {**services, "code": replace(code, environment={**code.environment, **strict})}

    def __enter__(self) -> Stack:
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, _interrupt)
        _remove(self._folder)
        for part in ("", "logs", "dagster", "data"):
            (self._folder / part).mkdir(mode=0o711)
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy2(DEPLOY / name, self._folder / "dagster" / name)
        # The folder is read-only, as the image is.
        (self._folder / "dagster").chmod(_READ_ONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave processes behind.
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        for process in reversed(self._processes):
            # PostgreSQL waits for its clients on SIGTERM, and ends them on SIGINT.
            process.stop(signal.SIGINT if process.name == "postgres" else signal.SIGTERM)
        end_all(self.home)

    def start(self, *, leave_out: str | None = None) -> None:
        """Start the services in order, each when its dependencies are ready; then wait until all are healthy."""
        for service in self.services.values():
            if service.name == leave_out:
                continue
            for other, condition in service.depends_on.items():
                self._await(other, condition)
            print(f"starting    {service.name}", flush=True)
            self._processes.append(self._start(service))
            if service.name == "postgres":
                self._await("postgres", "service_healthy")
                postgres.create_databases(int(self.variables["DB_PORT"]), self._environment(service))
        for process in self._processes:
            if self.services[process.name].healthcheck:
                self._await(process.name, "service_healthy")

    def watch(self) -> None:
        """Raise ``Unusable`` if a process has ended."""
        for process in self._processes:
            if process.exit_code is not None and process.name != "migrate":
                raise Unusable(
                    f"{process.name} ended unexpectedly. Its last output ({process.log}):\n{process.last_output}"
                )

    def _start(self, service: Service) -> Process:
        environment, logs = self._environment(service), self._folder / "logs"
        if service.image.startswith("postgres:"):
            port = int(self.variables["DB_PORT"])
            return postgres.start(self._folder, port, environment=environment, logs=logs)
        return Process(service.name, service.command, environment, folder=logs)

    def _environment(self, service: Service) -> dict[str, str]:
        """Return the environment that a container would have, and the path to the programs on this machine."""
        programs = (str(Path(sys.executable).parent), str(postgres.binaries()), os.environ.get("PATH", os.defpath))
        return {
            "PATH": os.pathsep.join(programs),
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            MARK: str(self.home),
            **service.environment,
        }

    def _await(self, name: str, condition: str) -> None:
        process = next(process for process in self._processes if process.name == name)
        conditions: Mapping[str, Callable[[], bool]] = {
            "service_started": lambda: True,
            "service_healthy": lambda: process.exit_code is None and self._is_healthy(name),
            "service_completed_successfully": lambda: process.exit_code == 0,
        }
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not conditions[condition]():
            self.watch()
            if process.exit_code or time.monotonic() > deadline:
                raise Unusable(f"{name}: not {condition}. Its last output ({process.log}):\n{process.last_output}")
            time.sleep(_PAUSE_SECONDS)

    def _is_healthy(self, name: str) -> bool:
        service = self.services[name]
        environment = self._environment(service)
        try:
            result = subprocess.run(service.healthcheck, env=environment, capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return False
        return result.returncode == 0


def up(home: Path) -> int:
    """Run until Ctrl-C or ``down``."""
    with Stack(home) as stack:
        stack.start()
        print(f"sandbox     {stack.sandbox_url}\nDagster UI  {stack.web_url}  (read-only)")
        print(f"logs        {stack.home / 'run' / 'logs'}\nCtrl-C stops everything.", flush=True)
        try:
            while True:
                stack.watch()
                time.sleep(_PAUSE_SECONDS)
        except KeyboardInterrupt:
            return 0


def _variables(folder: Path) -> dict[str, str]:
    """Return the variables for compose.yaml: loopback, free ports, local folders, and new passwords for each start."""
    web, sandbox = _port(_WEB_PORT), _port(_SANDBOX_PORT)
    local = {
        "BIND": HOST,
        "DB_HOST": HOST,
        "CODE_HOST": HOST,
        "DB_PORT": str(_port()),
        "CODE_PORT": str(_port()),
        "WEB_PORT": str(web),
        "SANDBOX_PORT": str(sandbox),
        "DAGSTER_FOLDER": str(folder / "dagster"),
        "DATA_FOLDER": str(folder / "data"),
    }
    passwords = {
        name: secrets.token_hex(16) for name in ("POSTGRES_PASSWORD", "DAGSTER_PG_PASSWORD", "LEDGER_PG_PASSWORD")
    }
    return {**compose.read_variables(DEPLOY / "sandbox.env", local), **local, **passwords}


def _remove(folder: Path) -> None:
    """Remove the files of an earlier start."""
    if folder.exists():
        if (folder / "dagster").exists():
            (folder / "dagster").chmod(_WRITABLE)
        shutil.rmtree(folder)


def _port(preferred: int = 0) -> int:
    """Return this port if it is free, otherwise another free port."""
    for port in (preferred, 0):
        try:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((HOST, port))
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise Unusable("no free port on 127.0.0.1")


def _interrupt(_signal_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
