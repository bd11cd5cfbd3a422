"""The database under the ledger: SQLite in a file or PostgreSQL on a server, opened, waited for and explained alike.

What does not belong here: tables and what they mean.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

# What a URL may say otherwise. A server or a network that is gone without a word is noticed within a minute and not
# after hours, by either side: a transaction whose client is gone must not keep its locks.
_POSTGRES_MANNERS = {
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
# What a server, or the way to it, says when it lets nobody in.
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


class LedgerError(Exception):
    """The ledger cannot be used as it is. The text says what a person should do."""


@contextmanager
def explained() -> Iterator[None]:
    """Turns an error about the URL or the connection, which can quote a password, into a line a person can act on."""
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


def open_engine(url: str) -> sa.Engine:
    parsed = _parsed(url)
    if parsed.get_backend_name() != "sqlite":
        return _telling(_of_this_process(sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=True)))
    engine = _telling(sa.create_engine(parsed, hide_parameters=True, poolclass=sa.pool.NullPool))

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Readers that turn writers late fail in WAL mode; taking the write lock at once waits instead.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def open_reader(url: str) -> sa.Engine:
    """An engine that cannot write, whatever is asked of it."""
    parsed = _parsed(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    options = {} if is_sqlite else {"postgresql_readonly": True}
    engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.pool.NullPool, execution_options=options)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        if is_sqlite:
            connection.execute("PRAGMA query_only = ON")

    return _telling(engine)


def create_missing(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make the tables that are not there yet, one process at a time: looking and making are two statements."""
    with engine.begin() as db:
        if db.dialect.name == "postgresql":
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        tables.create_all(db)


def _parsed(url: str) -> sa.URL:
    """PostgreSQL may be spelled as its own tools do, without a driver."""
    parsed = sa.make_url(url)
    if parsed.drivername in _POSTGRES_SPELLINGS:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "postgresql":
        return parsed
    return parsed.update_query_dict(
        {name: value for name, value in _POSTGRES_MANNERS.items() if name not in parsed.query}
    )


def _of_this_process(engine: sa.Engine) -> sa.Engine:
    """A forked child must not talk over the connections of its parent: both would read each other's answers."""
    reference = weakref.ref(engine)

    def leave_them_to_the_parent() -> None:
        if (inherited := reference()) is not None:
            inherited.dispose(close=False)

    os.register_at_fork(after_in_child=leave_them_to_the_parent)
    return engine


def _telling(engine: sa.Engine) -> sa.Engine:
    """A full disk, a read-only folder or a server that is away become a line a person can act on."""
    is_sqlite = engine.dialect.name == "sqlite"

    @sa.event.listens_for(engine, "handle_error")
    def _tell(context: sa.engine.ExceptionContext) -> None:
        found = context.sqlalchemy_exception
        is_outage = isinstance(found, (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.InterfaceError))
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
    """The texts of a server can quote its address and user: only what they say is told, or else their kind."""
    said = (reason for words, reason in _REASONS.items() if words in str(error))
    return next(said, type(error).__name__)
