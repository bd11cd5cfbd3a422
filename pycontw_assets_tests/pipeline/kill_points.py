"""Points at which a process may die, counted by kind; at the chosen one it kills itself as ``kill -9`` would.

Everything here runs inside a child. It listens at the borders of the product: requests, statements of the ledger's
and Dagster's databases, the vault's system calls, DuckDB. The tests choose the points and say what must hold.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb
import requests
import sqlalchemy as sa

Kind = Literal[
    "before a request",
    "request acted, reply unheard",
    "before a write to the ledger",
    "after a write, uncommitted",
    "before a COMMIT",
    "after a COMMIT",
    "vault: staged file opened",
    "vault: half written",
    "vault: whole, unsynced",
    "vault: before replacing",
    "vault: replaced, unsynced",
    "before a replacement",
    "somewhere in a replacement",
    "after a warehouse statement",
    "after a COMMENT in the warehouse",
    "between reads of the ledger",
    "after a COMMIT of Dagster's",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
TRIES_PER_REPLACEMENT = 8
_LONGEST_REPLACEMENT_SECONDS = 0.02  # of these small tables, with the checkpoint at closing
_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The ``number``-th point of its kind, from 1."""

    kind: Kind
    number: int


class KillPoints:
    """Counters in memory shared with the parent, so that the counts survive the process."""

    def __init__(self, chosen: KillPoint | None = None) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self._counts: Any = multiprocessing.get_context("fork").Array("i", len(KINDS), lock=False)

    @property
    def counts(self) -> dict[Kind, int]:
        return dict(zip(KINDS, self._counts, strict=True))

    def watch(self, vault: str, ledger: str) -> None:
        """Listen at every border from now on. Nothing is restored, because this process dies anyway."""
        self._watch_requests()
        self._watch_databases(ledger)
        self._watch_vault(vault)
        self._watch_warehouse()

    def _reach(self, kind: Kind, last_wish: Callable[[], object] = lambda: None) -> None:
        with self._lock:
            self._counts[KINDS.index(kind)] += 1
            if self._chosen == KillPoint(kind, self._counts[KINDS.index(kind)]):
                last_wish()
                _die()

    # -- requests -----------------------------------------------------------------------------------

    def _watch_requests(self) -> None:
        send = requests.Session.send

        def counted(*args: Any, **details: Any) -> requests.Response:
            self._reach("before a request")
            response = send(*args, **details)
            self._reach("request acted, reply unheard")
            return response

        requests.Session.send = counted  # type: ignore[assignment,method-assign]

    # -- databases ----------------------------------------------------------------------------------

    def _watch_databases(self, ledger: str) -> None:
        def is_ledger(connection: sa.Connection) -> bool:
            return connection.engine.url.database == ledger

        def before(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if is_ledger(connection) and _is_write(statement):
                self._reach("before a write to the ledger")

        def after(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if _is_write(statement):
                connection.info["wrote"] = "ledger" if is_ledger(connection) else "Dagster"
            if is_ledger(connection):
                self._reach("after a write, uncommitted" if _is_write(statement) else "between reads of the ledger")

        sa.event.listen(sa.Engine, "before_cursor_execute", before)
        sa.event.listen(sa.Engine, "after_cursor_execute", after)
        self._watch_commits()

    def _watch_commits(self) -> None:
        """Count commits when the connection returns to its pool: SQLAlchemy has no earlier event."""

        def commit(connection: sa.Connection) -> None:
            if wrote := connection.info.pop("wrote", None):
                connection.info["committed"] = wrote
                if wrote == "ledger":
                    self._reach("before a COMMIT")

        def checkin(_connection: Any, record: Any) -> None:
            if committed := record.info.pop("committed", None):
                self._reach("after a COMMIT" if committed == "ledger" else "after a COMMIT of Dagster's")

        sa.event.listen(sa.Engine, "commit", commit)
        sa.event.listen(sa.pool.Pool, "checkin", checkin)

    # -- the vault ----------------------------------------------------------------------------------

    def _watch_vault(self, folder: str) -> None:
        open_file, sync, replace = os.open, os.fsync, os.replace

        def counted_open(path: Any, *args: Any, **details: Any) -> int:
            handle = open_file(path, *args, **details)
            if str(path).startswith(folder) and str(path).endswith(".tmp"):
                self._reach("vault: staged file opened")
            return handle

        def counted_sync(handle: int) -> None:
            path = os.readlink(f"/proc/self/fd/{handle}")
            if path.startswith(folder) and path.endswith(".tmp"):
                self._reach("vault: half written", lambda: os.ftruncate(handle, os.fstat(handle).st_size // 2))
                self._reach("vault: whole, unsynced")
            sync(handle)

        def counted_replace(source: Any, target: Any, **details: Any) -> None:
            is_in_vault = str(target).startswith(folder)
            if is_in_vault:
                self._reach("vault: before replacing")
            replace(source, target, **details)
            if is_in_vault:
                self._reach("vault: replaced, unsynced")

        os.open, os.fsync, os.replace = counted_open, counted_sync, counted_replace  # type: ignore[assignment]

    # -- the warehouse ------------------------------------------------------------------------------

    def _watch_warehouse(self) -> None:
        connect = duckdb.connect
        duckdb.connect = lambda *args, **details: _CountedConnection(connect(*args, **details), self)  # type: ignore[assignment]

    def statement(self, run: Callable[[], Any], text: str) -> Any:
        """Run a statement, and count it unless it is a read: a read changes nothing and adds no point."""
        if text.startswith("BEGIN"):
            self._die_later()
            self._reach("before a replacement")
        result = run()
        if text.startswith("COMMENT"):
            self._reach("after a COMMENT in the warehouse")
        elif not text.startswith("SELECT"):
            self._reach("after a warehouse statement")
        return result

    def _die_later(self) -> None:
        """Die at a random moment between now and the end of the connection. Each call stands for several points."""
        kind: Kind = "somewhere in a replacement"
        for _ in range(TRIES_PER_REPLACEMENT):
            self._counts[KINDS.index(kind)] += 1
            if self._chosen == KillPoint(kind, self._counts[KINDS.index(kind)]):
                moment = random.Random(self._chosen.number).uniform(0, _LONGEST_REPLACEMENT_SECONDS)
                threading.Timer(moment, _die).start()


class _CountedConnection:
    """A DuckDB connection whose statements are points."""

    def __init__(self, connection: Any, points: KillPoints) -> None:
        self._connection = connection
        self._points = points

    def __enter__(self) -> _CountedConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self._points.statement(self._connection.close, "close")

    def execute(self, text: str, *args: Any) -> Any:
        return self._points.statement(lambda: self._connection.execute(text, *args), text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _is_write(statement: str) -> bool:
    return statement.lstrip().upper().startswith(_WRITES)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)
