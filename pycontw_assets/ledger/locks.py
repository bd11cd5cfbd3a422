"""One writer at a time: named locks in the ledger, renewed while their owner lives, free once it died.

A lock has a deadline. The owner renews it; when the deadline has passed, others may take it, wherever the owner ran. A
dead process of this machine is noticed at once. An owner that slept past the deadline finds that out before it calls
anybody (``check_locks``).
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
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

    ACCESS_RUN = "access run"  # of one event, from its first step to its end
    TABLE_RUN = "table run"  # of one event
    TEMPLATE_RUN = "template run"
    ORDERS = "orders"  # of one event
    INVITATIONS = "invitations"  # of one event
    GUEST_LIST = "gather guest list"
    DISCORD_INVITES = "discord invites"  # of the guild, which is one for all events
    MAIL_SERVICE_NAMES = "klaviyo names"  # lists and templates that are found or made by name
    LETTERS = "letters to everybody"  # of one edition
    SALES_REPORT = "sales report"
    ALERTS = "alerts"

    def describe(self, partition_key: str = "") -> str:
        return f"{self.value} of {partition_key}" if partition_key else self.value


class Busy(Exception):
    """Another process is at work on it. Nothing was done; the next poll tries again."""


class LockLost(Busy):
    """This process did not renew a lock in time, so another one may be at work. Nothing more was done."""


# -- processes --------------------------------------------------------------------------------------


def process_identity(pid: int | None = None) -> str:
    """Return ``host/pid/start``, which names one process for good, also after its number is used again."""
    pid = pid or os.getpid()
    return f"{_host()}/{pid}/{_started(pid)}"


def is_dead(identity: str) -> bool:
    """Say whether a process of this machine is gone. Nothing is known about other machines, so ``False`` for theirs."""
    host, pid, started = identity.split("/")[:3]
    if host != _host() or not _is_known(host):
        return False
    # One that had ended when it was named was never seen alive.
    return started == _GONE or _started(int(pid)) not in (started, _HIDDEN)


def process_here(identity: str) -> int | None:
    """Return the number of a living process of this machine; ``None`` for one that is gone, or is another machine's."""
    host, pid, _ = identity.split("/")[:3]
    return int(pid) if host == _host() and _is_known(host) and not is_dead(identity) else None


def _host() -> str:
    """Process numbers mean the same only in one namespace of one boot of one machine; cloned machines share names."""
    boot = _read("/proc/sys/kernel/random/boot_id")[:8]
    namespace = os.readlink("/proc/self/ns/pid") if Path("/proc/self/ns/pid").exists() else ""
    return f"{socket.gethostname()}~{boot}~{namespace}"


def _is_known(host: str) -> bool:
    return all(host.split("~")[1:])


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


_GONE, _HIDDEN = "gone", "hidden"


def _started(pid: int) -> str:
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if fields:
        return _GONE if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return _GONE
    except PermissionError:
        pass
    return _HIDDEN  # it lives, and this process may not look at it


# -- holding a lock -----------------------------------------------------------------------------------


class _HeldLock:
    """A lock of this process. Its thread renews it; ``check`` finds out when it could not."""

    def __init__(self, ledger: Ledger, name: LockName, partition_key: str, owner: str) -> None:
        self._ledger = ledger
        self._key = (name, partition_key)
        self._owner = owner
        self._renewed_at = ledger.clock()
        self._is_lost = False
        self._stop = threading.Event()
        self._keeper = threading.Thread(
            target=keep, args=(self._renew, self._stop), daemon=True, name=f"lock {name.describe(partition_key)}"
        )

    def check(self) -> None:
        """Raise ``LockLost`` if another process may have it. The ledger is asked only after a missed renewal."""
        age = self._ledger.clock() - self._renewed_at
        if self._is_lost or not (timedelta(0) <= age <= TTL / 2 or self._renew()):
            raise LockLost(
                f"{self._key[0].describe(self._key[1])}: this process lost its lock, because it slept or the ledger "
                f"was away for over {TTL.total_seconds() / 60:.0f} min; it did nothing more; the next poll goes on"
            )

    def _renew(self) -> bool:
        now = self._ledger.clock()
        self._is_lost = not renew_lock(self._ledger, *self._key, owner=self._owner)
        self._renewed_at = now
        return not self._is_lost

    def __enter__(self) -> _HeldLock:
        self._keeper.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._keeper.join()
        # The work is done, or its failure has an error of its own. A lock that cannot be dropped now expires.
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            drop_lock(self._ledger, *self._key, owner=self._owner)


def keep(renew: Callable[[], bool], stop: threading.Event) -> None:
    """Renew a lock until it is dropped or lost. A renewal may fail: the next comes before the lock expires."""
    while not stop.wait(TTL.total_seconds() / 3):
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            if not renew():
                return


_held: ContextVar[tuple[_HeldLock, ...]] = ContextVar("held", default=())


def check_locks() -> None:
    """Raise ``LockLost`` if this work is done under a lock that another process may have by now."""
    for held in _held.get():
        held.check()


@contextmanager
def lock(
    ledger: Ledger,
    name: LockName,
    partition_key: str = "",
    *,
    work: str = "",
    wait_seconds: float = 120,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold a lock for the block; ``Busy`` when it did not come free in time. ``work`` names what it is held for."""
    owner = f"{process_identity()}/{work or uuid.uuid4().hex[:8]}"
    waited = 0.0
    while other := take_lock(ledger, name, partition_key, owner=owner):
        if waited >= wait_seconds:
            what, who = name.describe(partition_key), _in_words(other)
            raise Busy(f"{what}: {who} is at work on it for over {waited:.0f} s; the next poll tries again")
        sleep(_POLL_SECONDS)
        waited += _POLL_SECONDS
    with _HeldLock(ledger, name, partition_key, owner) as held:
        _held.set((*_held.get(), held))
        try:
            yield
        finally:
            _held.set(tuple(other for other in _held.get() if other is not held))


def _in_words(owner: str) -> str:
    host, _, rest = owner.partition("/")
    return f"process {rest.partition('/')[0]} on {host.partition('~')[0]}" if rest else owner


def work_of(owner: str) -> str:
    """Return what an owner holds a lock for."""
    return owner.rpartition("/")[2]


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


def shorten_locks(ledger: Ledger) -> int:
    """Let locks that a clock far ahead took expire as if they were renewed now. Return how many there were.

    Their owners renew them if they live. Otherwise nobody could work before that time has come.
    """
    with ledger.engine.begin() as db:
        now = _server_time(ledger, db)
        far = locks.c.expires_at > now + 2 * TTL
        return int(db.execute(sa.update(locks).where(far).values(expires_at=now + TTL)).rowcount)


def lock_owner(ledger: Ledger, name: LockName, partition_key: str = "") -> str | None:
    """Return the owner of a lock that has not expired."""
    with ledger.engine.begin() as db:
        current = (*_is(name, partition_key), locks.c.expires_at > _server_time(ledger, db))
        owner: str | None = db.scalar(sa.select(locks.c.owner).where(*current))
    return owner


def living_owners(ledger: Ledger, names: Collection[LockName]) -> dict[tuple[LockName, str], str]:
    """Return the owners at work by lock: those who renewed it in time and are no dead process of this machine."""
    values = [name.value for name in names]
    with ledger.engine.begin() as db:
        query = sa.select(locks).where(locks.c.name.in_(values), locks.c.expires_at > _server_time(ledger, db))
        rows = db.execute(query).all()
    return {(LockName(row.name), row.partition_key): row.owner for row in rows if not is_dead(row.owner)}


def drop_locks_for(ledger: Ledger, work: Collection[str]) -> None:
    """Free the locks that are held for this work: nobody does it any more, and a sleeper must notice that."""
    with ledger.engine.begin() as db:
        for item in work:
            db.execute(sa.delete(locks).where(locks.c.owner.endswith(f"/{item}", autoescape=True)))


def _is(name: LockName, partition_key: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (locks.c.name == name.value, locks.c.partition_key == partition_key)


def _server_time(ledger: Ledger, db: sa.Connection) -> datetime:
    """Return the server's time where there is one: clocks of two machines may differ by more than a lock lasts."""
    if db.dialect.name != "postgresql":
        return ledger.clock()
    now: datetime = db.scalars(sa.select(sa.func.clock_timestamp())).one()
    return now.astimezone(timezone.utc)
