"""One stack from start to end: variables, services in order, and what ``up`` and ``check`` do with it."""

# ruff: noqa: T201, S603  # talks to a person; the commands are those of compose.yaml

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
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 2.0
_READ_ONLY, _WRITABLE = 0o555, 0o711


class Stack:
    """Running from ``start`` to the end of the ``with`` block; it begins anew every time, as the sandbox does."""

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
        # As strict as production: a variable that production needs and nobody names stops the start.
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
        # As in the image, which is read-only.
        (self._folder / "dagster").chmod(_READ_ONLY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave anybody behind.
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, signal.SIG_IGN)
        for process in reversed(self._processes):
            # PostgreSQL waits for its clients on SIGTERM, and ends them on SIGINT.
            process.stop(signal.SIGINT if process.name == "postgres" else signal.SIGTERM)
        end_all(self.home)

    def start(self, *, leave_out: str | None = None) -> None:
        """Every service in order, each once what it depends on is as far as it asks for; then all of them healthy."""
        for service in self.services.values():
            if service.name == leave_out:
                continue
            for other, condition in service.depends_on.items():
                self._await(other, condition)
            print(f"starting    {service.name}", flush=True)
            self._processes.append(self._started(service))
            if service.name == "postgres":
                self._await("postgres", "service_healthy")
                postgres.create_databases(int(self.variables["DB_PORT"]), self._environment(service))
        for process in self._processes:
            if self.services[process.name].healthcheck:
                self._await(process.name, "service_healthy")

    def watch(self) -> None:
        """Nothing, as long as everything runs."""
        for process in self._processes:
            if process.exit_code is not None and process.name != "migrate":
                raise Unusable(f"{process.name} ended by itself. Its last words ({process.log}):\n{process.last_words}")

    def _started(self, service: Service) -> Process:
        environment, logs = self._environment(service), self._folder / "logs"
        if service.image.startswith("postgres:"):
            return postgres.start(self._folder, int(self.variables["DB_PORT"]), environment, logs)
        return Process(service.name, service.command, environment, logs)

    def _environment(self, service: Service) -> dict[str, str]:
        """What a container would have: nothing of the person's own environment, but the way to the programs."""
        programs = (str(Path(sys.executable).parent), str(postgres.binaries()), os.environ.get("PATH", os.defpath))
        return {
            "PATH": os.pathsep.join(programs),
            "HOME": str(self._folder),
            "LANG": "C.UTF-8",
            MARK: str(self.home),
            **service.environment,
        }

    def _await(self, name: str, condition: str) -> None:
        process = next(one for one in self._processes if one.name == name)
        conditions: Mapping[str, Callable[[], bool]] = {
            "service_started": lambda: True,
            "service_healthy": lambda: process.exit_code is None and self._is_healthy(name),
            "service_completed_successfully": lambda: process.exit_code == 0,
        }
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not conditions[condition]():
            self.watch()
            if process.exit_code or time.monotonic() > deadline:
                raise Unusable(f"{name}: not {condition}. Its last words ({process.log}):\n{process.last_words}")
            time.sleep(_PAUSE_SECONDS)

    def _is_healthy(self, name: str) -> bool:
        service = self.services[name]
        environment = self._environment(service)
        try:
            done = subprocess.run(service.healthcheck, env=environment, capture_output=True, timeout=60)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


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
    """What compose.yaml is filled in with here: loopback, free ports, folders of ours, passwords of this start."""
    web, sandbox = _port(_WEB_PORT), _port(_SANDBOX_PORT)
    ours = {
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
    return {**compose.read_variables(DEPLOY / "sandbox.env", ours), **ours, **passwords}


def _remove(folder: Path) -> None:
    """What an earlier start left."""
    if folder.exists():
        if (folder / "dagster").exists():
            (folder / "dagster").chmod(_WRITABLE)
        shutil.rmtree(folder)


def _port(preferred: int = 0) -> int:
    """This port when nobody has it, otherwise a free one."""
    for port in (preferred, 0):
        try:
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((HOST, port))
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise Unusable("no free port on 127.0.0.1")


def _interrupt(_sign: int, _frame: object) -> None:
    raise KeyboardInterrupt
