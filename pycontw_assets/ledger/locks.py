"""One writer at a time: named locks in the ledger, renewed while their owner lives, free once it died.

An owner on this host is dead when its process is; one on another host when it stopped renewing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import dialect_insert, locks
from pycontw_assets.ledger.ledger import Ledger

TTL = timedelta(minutes=3)
_POLL_SECONDS = 0.2


class LockName(Enum):
    """Everything that one writer at a time may work on. The value is how people read it, and how it is stored."""

    ORDERS = "orders"  # of one event
    INVITATIONS = "invitations"  # of one event
    GUEST_LIST = "gather guest list"
    MAIL_SERVICE_NAMES = "klaviyo names"  # lists and templates that are found or made by name
    SALES_REPORT = "sales report"

    def describe(self, partition_key: str = "") -> str:
        return f"{self.value} of {partition_key}" if partition_key else self.value


class Busy(Exception):
    """Another process is at work on it. Nothing was done; the next poll tries again."""


def process_identity(pid: int | None = None) -> str:
    """Return ``host/pid/start``, which names one process for good, also after its number is used again."""
    pid = pid or os.getpid()
    return f"{_host()}/{pid}/{_started(pid)}"


def is_dead(identity: str) -> bool:
    """Say whether a process of this host is gone. Nothing is known about other hosts, so ``False`` for theirs."""
    host, pid, started = identity.split("/")[:3]
    return host == _host() and _started(int(pid)) != started


def _host() -> str:
    """Cloned machines and containers may share a name: process numbers mean the same only where all of this does."""
    machine = _read("/etc/machine-id")[:8]
    namespace = os.readlink("/proc/self/ns/pid") if Path("/proc/self/ns/pid").exists() else ""
    return f"{socket.gethostname()}~{machine}~{namespace}"


def _read(path: str) -> str:
    return Path(path).read_text().strip() if Path(path).exists() else ""


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return "gone" if Path("/proc/self").exists() else _started_without_proc(pid)
    # Ticks count from the start of the machine, so its boot belongs to the name.
    return "gone" if fields[0] in "ZX" else f"{_read('/proc/sys/kernel/random/boot_id')[:8]}-{fields[19]}"


def _started_without_proc(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "alive"
    return "alive"


@contextmanager
def lock(
    ledger: Ledger,
    name: LockName,
    partition_key: str = "",
    *,
    wait_seconds: float = 120,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold a lock for the block; ``Busy`` when it did not come free in time."""
    owner = f"{process_identity()}/{uuid.uuid4().hex[:8]}"
    what = name.describe(partition_key)
    waited = 0.0
    while other := take_lock(ledger, name, partition_key, owner=owner):
        if waited >= wait_seconds:
            who = _in_words(other)
            raise Busy(f"{what}: {who} is at work on it for over {waited:.0f} s; the next poll tries again")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
    stop = threading.Event()
    arguments = {"owner": owner, "stop": stop}
    keeper = threading.Thread(
        target=keep, args=(ledger, name, partition_key), kwargs=arguments, daemon=True, name=f"lock {what}"
    )
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        # The work is done, or its failure has an error of its own. A lock that cannot be dropped now expires.
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            drop_lock(ledger, name, partition_key, owner=owner)


def _in_words(owner: str) -> str:
    host, _, rest = owner.partition("/")
    return f"process {rest.partition('/')[0]} on {host.partition('~')[0]}" if rest else owner


def keep(ledger: Ledger, name: LockName, partition_key: str, *, owner: str, stop: threading.Event) -> None:
    """Renew a lock until ``stop`` is set. One renewal may fail: the next comes before the lock expires."""
    while not stop.wait(TTL.total_seconds() / 3):
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            renew_lock(ledger, name, partition_key, owner=owner)


# -- the rows -------------------------------------------------------------------------------------


def take_lock(
    ledger: Ledger,
    name: LockName,
    partition_key: str = "",
    *,
    owner: str,
    ttl: timedelta = TTL,
    is_dead: Callable[[str], bool] = is_dead,
) -> str | None:
    """Give ``owner`` the lock and return ``None``, or return its other owner. A dead owner's lock is free."""
    with ledger.engine.begin() as db:
        now = _server_time(ledger, db)
        row = {"name": name.value, "partition_key": partition_key, "owner": owner, "expires_at": now + ttl}
        if db.execute(dialect_insert(db, locks).values(row).on_conflict_do_nothing()).rowcount == 1:
            return None
        # Read under a row lock: its owner could renew it between this look and what follows from it.
        current = db.execute(sa.select(locks).where(*_is(name, partition_key)).with_for_update()).one_or_none()
        if current is None:
            return "another process"
        if current.owner != owner and current.expires_at > now and not is_dead(current.owner):
            return str(current.owner)
        db.execute(sa.update(locks).where(*_is(name, partition_key)).values(owner=owner, expires_at=now + ttl))
    return None


def renew_lock(ledger: Ledger, name: LockName, partition_key: str = "", *, owner: str, ttl: timedelta = TTL) -> bool:
    """Say whether ``owner`` still had it."""
    owned = (*_is(name, partition_key), locks.c.owner == owner)
    with ledger.engine.begin() as db:
        renewed = db.execute(sa.update(locks).where(*owned).values(expires_at=_server_time(ledger, db) + ttl))
    return renewed.rowcount == 1


def drop_lock(ledger: Ledger, name: LockName, partition_key: str = "", *, owner: str) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.delete(locks).where(*_is(name, partition_key), locks.c.owner == owner))


def lock_owner(ledger: Ledger, name: LockName, partition_key: str = "") -> str | None:
    """Return the owner of a lock that has not expired."""
    with ledger.engine.begin() as db:
        current = (*_is(name, partition_key), locks.c.expires_at > _server_time(ledger, db))
        owner: str | None = db.scalar(sa.select(locks.c.owner).where(*current))
    return owner


def _is(name: LockName, partition_key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (locks.c.name == name.value, locks.c.partition_key == partition_key)


def _server_time(ledger: Ledger, db: sa.Connection) -> datetime:
    """Return the server's time where there is one: clocks of two machines may differ by more than a lock lasts."""
    if db.dialect.name != "postgresql":
        return ledger.clock()
    now: datetime = db.scalars(sa.select(sa.func.clock_timestamp())).one()
    return now.astimezone(timezone.utc)
