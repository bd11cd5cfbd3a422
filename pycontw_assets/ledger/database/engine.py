"""SQLite in a file or PostgreSQL on a server: opening both, waiting for both and explaining their errors alike.

Tables and their meaning do not belong here.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

# A URL may set them otherwise. Both sides notice a lost server or network within a minute and not after hours: a
# transaction whose client is gone must not keep its locks.
_POSTGRES_OPTIONS = {
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",
    "application_name": "pycontw-assets",
    "options": "-c statement_timeout=60s -c lock_timeout=30s -c idle_in_transaction_session_timeout=60s"
    " -c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
}
_POSTGRES_SPELLINGS = ("postgres", "postgresql")
# Words of a server, or of the way to it, that refuses a connection.
_REASONS = {
    "Connection refused": "nothing answers there",
    "timeout expired": "no answer in time",
    "resolve host": "unknown host",
    "password authentication failed": "wrong user or password",
    "no pg_hba.conf entry": "this machine is not let in",
    "too many clients": "too many connections",
    "connection slots are reserved": "too many connections",
    "the database system is": "it is starting or stopping",
}
_SCHEMA_LOCK = 0x9C0_17E4  # any number that is the same in every process
_KEPT_OPEN = 4  # connections to a file; more are opened where more threads work at once, and closed at once
_FILES = "files"  # under this name a connection remembers which files it opened


class LedgerError(Exception):
    """The ledger cannot be used as it is. The text says what a person should do."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error about the URL or the connection, which can quote a password, into a line a person can act on."""
    try:
        yield
    except LedgerError as error:
        raise LedgerError(str(error)) from None
    except ImportError:
        raise LedgerError(
            "the ledger cannot be opened: the driver that LEDGER_URL needs is not installed; for PostgreSQL run "
            "`pip install 'pycontw-assets[production]'`"
        ) from None
    except (sa.exc.DBAPIError, sa.exc.ArgumentError) as error:
        kind = type(getattr(error, "orig", error)).__name__
        raise LedgerError(f"the ledger cannot be opened ({kind}); check LEDGER_URL or the data folder") from None


def open_engine(url: str | Path) -> sa.Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return _explaining(_of_this_process(sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True)))
    return _open_file(parsed)


def _open_file(url: sa.URL) -> sa.Engine:
    """Open a file of SQLite. Its connections are kept: opening one and closing it costs more than most queries."""
    pool = sa.pool.QueuePool
    engine = _explaining(
        _of_this_process(
            sa.create_engine(url, hide_parameters=True, poolclass=pool, pool_size=_KEPT_OPEN, max_overflow=-1)
        )
    )
    file = str(url.database)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        record.info[_FILES] = _files(file)

    @sa.event.listens_for(engine, "checkout")
    def _look_at_files(_connection: Any, record: Any, _proxy: Any) -> None:
        # Somebody may have put another ledger in its place: a kept connection would go on with the one that is gone.
        if record.info.get(_FILES) != _files(file):
            raise sa.exc.DisconnectionError

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Readers that turn writers late fail in WAL mode; taking the write lock at once waits instead.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def close_files(engine: sa.Engine) -> None:
    """Close the connections that are kept to a file. Nothing of it is open then, so it may be copied or replaced.

    Connections to a server are kept: it knows by itself who is there.
    """
    if engine.dialect.name == "sqlite":
        engine.dispose()


def open_reader(url: str | Path) -> sa.Engine:
    """Open an engine that cannot write, whatever is asked of it, and that leaves every file as it is."""
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        options = {"postgresql_readonly": True}
        return _explaining(
            sa.create_engine(parsed, hide_parameters=True, poolclass=sa.pool.NullPool, execution_options=options)
        )
    engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.pool.NullPool)

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, _arguments: Any, _options: Any) -> sqlite3.Connection | None:
        # The last connection that closes folds a left write-ahead log into the file, unless it is one for reading only.
        # Without a log, a usual connection (None) leaves nothing behind, and one for reading only an empty log.
        file = Path(parsed.database or "").absolute()
        if not Path(f"{file}-wal").exists():
            return None
        return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=60, check_same_thread=False)

    @sa.event.listens_for(engine, "connect")
    def _forbid_writing(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")

    return _explaining(engine)


def open_in_memory() -> sa.Engine:
    """Open an empty database that is gone with the engine."""
    return sa.create_engine(
        "sqlite://", hide_parameters=True, poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False}
    )


def forbid_writing(engine: sa.Engine) -> None:
    """Let a database in memory be read only from now on."""
    with engine.connect() as db:
        db.exec_driver_sql("PRAGMA query_only = ON")


def holds_nothing(url: str | Path) -> bool:
    """Say whether it is a file that does not exist. Asking a database in vain would make the file."""
    parsed = _parsed(url)
    is_file = parsed.get_backend_name() == "sqlite" and not parsed.query
    return is_file and not Path(parsed.database or "").exists()


@contextmanager
def schema_change(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that may change tables or keys, one process at a time: looking and changing are two steps."""
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        yield db


def _parsed(url: str | Path) -> sa.URL:
    """Accept a file, and the spellings of PostgreSQL's own tools, which name no driver.

    The path of a file is no part of a text here: a URL would take a ``?`` or ``%20`` in it for something else.
    """
    if isinstance(url, Path):
        return sa.URL.create("sqlite", database=str(url))
    parsed = sa.make_url(url)
    if parsed.drivername in _POSTGRES_SPELLINGS:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "postgresql":
        return parsed
    return parsed.update_query_dict(
        {name: value for name, value in _POSTGRES_OPTIONS.items() if name not in parsed.query}
    )


def _files(file: str) -> tuple[tuple[int, int] | None, ...]:
    """Return what tells the ledger's file, and its log of writes, from others of the same name."""
    found: list[tuple[int, int] | None] = []
    for name in (file, f"{file}-wal"):
        try:
            status = os.stat(name)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return tuple(found)


_engines: weakref.WeakSet[sa.Engine] = weakref.WeakSet()
_of_the_parent: list[sa.Pool] = []


def _of_this_process(engine: sa.Engine) -> sa.Engine:
    """Keep a forked child from using the connections of its parent: both would read each other's answers."""
    _engines.add(engine)
    return engine


def _leave_connections_to_the_parent() -> None:
    # Kept, because a connection that nobody holds is closed: SQLite would then write to files that the parent has open.
    for engine in list(_engines):
        _of_the_parent.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_connections_to_the_parent)


def _explaining(engine: sa.Engine) -> sa.Engine:
    """Turn a full disk, a read-only folder or a server that is away into a line a person can act on."""
    is_sqlite = engine.dialect.name == "sqlite"

    @sa.event.listens_for(engine, "handle_error")
    def _explain(context: sa.engine.ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        is_outage = isinstance(error, (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError))
        if context.is_pre_ping or not is_outage:
            return
        if is_sqlite:  # its texts are fixed words
            raise LedgerError(
                f"the ledger cannot be used ({context.original_exception}); look at LEDGER_URL or the data folder: is "
                "its disk full, or read-only?"
            )
        why = _reason(context.original_exception)
        raise LedgerError(
            f"the ledger cannot be used (PostgreSQL: {why}); is the server of LEDGER_URL up and reachable, its user "
            "and password right, its disk neither full nor read-only?"
        )

    return engine


def _reason(error: BaseException) -> str:
    """Return what a server's text means, or else its kind. The text itself can quote address and user."""
    said = (reason for words, reason in _REASONS.items() if words in str(error))
    return next(said, type(error).__name__)
