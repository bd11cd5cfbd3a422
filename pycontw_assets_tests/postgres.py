"""A real PostgreSQL server for the tests: on loopback, in a temporary folder, stopped with its parent process.

It needs the server's programs (Debian: ``apt-get install postgresql``), no running service and no rights. Tests are
skipped where the programs are missing, and fail instead where ``CI`` requires them.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from pycontw_assets_tests.bigquery import free_ports

USER = "pipeline"
PASSWORD = "a-password-of-tests"
_START_PATIENCE_SECONDS = 60
# The environment before a test emptied it.
_ENVIRONMENT = dict(os.environ)
# Small, and without waiting for the disk: the system keeps the writes of a killed server.
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "autovacuum": "off",
}
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid();"
)
_EMPTY_TABLES = """DO $$ BEGIN EXECUTE (
    SELECT coalesce('TRUNCATE ' || string_agg(quote_ident(tablename), ', '), 'SELECT 1')
    FROM pg_tables WHERE schemaname = 'public'
); END $$"""


class NoPostgres(Exception):
    """Raised with the reason why there is no server on this machine."""


class PostgresServer:
    """A server with its files made at once, running between ``start`` and ``stop``, always on the same port."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        password = folder / "password"
        password.write_text(PASSWORD)
        if "user" in self._account:
            for path in (folder, password):
                shutil.chown(path, self._account["user"], self._account["group"])
        options = ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", USER, *options],
            capture_output=True,
            text=True,
            **self._account,
        )
        if made.returncode:
            raise NoPostgres(f"initdb failed: {made.stderr.strip()[-500:]}")

    @cached_property
    def _account(self) -> dict[str, Any]:
        """Return the account to run as: the server refuses to run as root."""
        if os.geteuid() != 0:
            return {"cwd": self._folder}
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        return {"cwd": self._folder, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    # -- up and down ------------------------------------------------------------------------------

    def start(self) -> None:
        settings = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        server = [self._programs / "postgres", "-D", self._folder / "data", "-p", self._port, *settings]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_dying_with_us(), *server], stdout=log, stderr=log, start_new_session=True, **self._account
            )
        self._wait_until_it_answers(self._process)

    def crash(self) -> None:
        """Stop at once: transactions are lost, clients are cut off, and the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        self.crash()
        self.start()

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_START_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.crash()
        raise NoPostgres(f"the server does not start: {(self._folder / 'log').read_text()[-500:]}")

    # -- databases --------------------------------------------------------------------------------

    def url(self, database: str, *, driver: str = "postgresql+psycopg", password: str = PASSWORD) -> str:
        return f"{driver}://{USER}:{password}@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def cut_off(self, database: str) -> None:
        """End every connection to a database, as a restart of the server does."""
        self.execute(_END_OTHERS, database)

    def empty_database(self, name: str) -> None:
        """Delete all rows and end all connections. This is quicker than a new database."""
        self.execute(_END_OTHERS + _EMPTY_TABLES, name)

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        with psycopg.connect(self.url(database, driver="postgresql"), autocommit=True) as connection:
            result = connection.execute(statement)
            return result.fetchall() if result.description else []


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Run a server in a separate folder: other accounts may not enter the folders of pytest."""
    programs = _find_programs()
    with tempfile.TemporaryDirectory(prefix="pycontw-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), programs)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres(empty_environment: None) -> Iterator[PostgresServer]:
    try:
        with running_server() as server:
            yield server
    except NoPostgres as error:
        if _ENVIRONMENT.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def _find_programs() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = [Path(found).parent for found in [shutil.which("initdb")] if found]
    for folder in (*on_path, *_folder_of_pg_config(), *versions):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgres("the tests on PostgreSQL need its server's programs (Debian: apt-get install postgresql)")


def _folder_of_pg_config() -> list[Path]:
    if shutil.which("pg_config") is None:
        return []
    done = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
    return [Path(done.stdout.strip())] if done.returncode == 0 else []


def _dying_with_us() -> list[str]:
    """Let the system stop the server with its parent, where it can: a process killed by SIGKILL stops nothing."""
    return ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []


def age_locks(engine: sa.Engine, seconds: float) -> None:
    """Make the locks older: on a server they follow its clock, which no test can move."""
    with engine.begin() as db:
        db.exec_driver_sql(f"UPDATE locks SET expires_at = expires_at - {seconds}")
