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
from pathlib import Path

import sqlalchemy as sa

from pycontw_assets.ledger.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import dialect_insert, locks

TTL = timedelta(minutes=3)
_POLL_SECONDS = 0.2


class Busy(Exception):
    """Somebody else is at work on it. Nothing was done; the next poll tries again."""


def process_identity(pid: int | None = None) -> str:
    """``host/pid/start``: names one process for good, also after its number is used again."""
    pid = pid or os.getpid()
    return f"{_host()}/{pid}/{_started(pid)}"


def is_dead(identity: str) -> bool:
    """Whether a process of this host is gone. Of other hosts nothing can be said, so ``False``."""
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
    ledger: Ledger, name: str, *, wait_seconds: float = 120, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold ``name`` for the block; ``Busy`` when it did not come free in time."""
    owner = f"{process_identity()}/{uuid.uuid4().hex[:8]}"
    waited = 0.0
    while holder := take_lock(ledger, name, owner, TTL, is_dead):
        if waited >= wait_seconds:
            raise Busy(f"{name}: {_told(holder)} is at work on it for over {waited:.0f} s; the next poll tries again")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
    stop = threading.Event()
    keeper = threading.Thread(target=keep, args=(ledger, name, owner, stop), daemon=True, name=f"lease {name}")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        # What was done is done, and what failed has its own error: a lease that cannot be dropped now expires.
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            drop_lock(ledger, name, owner)


def _told(owner: str) -> str:
    """An owner in a person's words."""
    host, _, rest = owner.partition("/")
    return f"process {rest.partition('/')[0]} on {host.partition('~')[0]}" if rest else owner


def keep(ledger: Ledger, name: str, owner: str, stop: threading.Event) -> None:
    """Renew a lease until told to stop. One renewal may fail: the next comes before the lease expires."""
    while not stop.wait(TTL.total_seconds() / 3):
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            renew_lock(ledger, name, owner, TTL)


# -- the rows -------------------------------------------------------------------------------------


def take_lock(ledger: Ledger, name: str, owner: str, ttl: timedelta, is_dead: Callable[[str], bool]) -> str | None:
    """``None`` when ``owner`` has the lease now; otherwise who has it. A dead owner's lease is free."""
    with ledger.engine.begin() as db:
        now = _server_time(ledger, db)
        insert = dialect_insert(db, locks).values(name=name, owner=owner, expires_at=now + ttl)
        if db.execute(insert.on_conflict_do_nothing()).rowcount == 1:
            return None
        # Locked: its owner could renew it between this look and what follows from it.
        held = db.execute(sa.select(locks).where(locks.c.name == name).with_for_update()).one_or_none()
        if held is None:
            return "another process"
        if held.owner != owner and held.expires_at > now and not is_dead(held.owner):
            return str(held.owner)
        db.execute(sa.update(locks).where(locks.c.name == name).values(owner=owner, expires_at=now + ttl))
    return None


def renew_lock(ledger: Ledger, name: str, owner: str, ttl: timedelta) -> bool:
    mine = (locks.c.name == name, locks.c.owner == owner)
    with ledger.engine.begin() as db:
        renewed = db.execute(sa.update(locks).where(*mine).values(expires_at=_server_time(ledger, db) + ttl))
    return renewed.rowcount == 1


def drop_lock(ledger: Ledger, name: str, owner: str) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.delete(locks).where(locks.c.name == name, locks.c.owner == owner))


def lock_owner(ledger: Ledger, name: str) -> str | None:
    """Who holds a lease that has not expired."""
    with ledger.engine.begin() as db:
        now = _server_time(ledger, db)
        owner: str | None = db.scalar(sa.select(locks.c.owner).where(locks.c.name == name, locks.c.expires_at > now))
    return owner


def _server_time(ledger: Ledger, db: sa.Connection) -> datetime:
    """The server's clock where there is one: those of two machines may differ by more than a lease lasts."""
    if db.dialect.name != "postgresql":
        return ledger.clock()
    now: datetime = db.scalars(sa.select(sa.func.clock_timestamp())).one()
    return now.astimezone(timezone.utc)
