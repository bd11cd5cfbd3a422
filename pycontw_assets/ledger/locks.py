"""One writer at a time: named leases in the ledger, renewed while their owner lives, free once it died.

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
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger, LedgerError

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
def lease(
    ledger: Ledger, name: str, *, wait_seconds: float = 120, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold ``name`` for the block; ``Busy`` when it did not come free in time."""
    owner = f"{process_identity()}/{uuid.uuid4().hex[:8]}"
    waited = 0.0
    while holder := ledger.take_lease(name, owner, TTL, is_dead):
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
            ledger.drop_lease(name, owner)


def _told(owner: str) -> str:
    """An owner in a person's words."""
    host, _, rest = owner.partition("/")
    return f"process {rest.partition('/')[0]} on {host.partition('~')[0]}" if rest else owner


def keep(ledger: Ledger, name: str, owner: str, stop: threading.Event) -> None:
    """Renew a lease until told to stop. One renewal may fail: the next comes before the lease expires."""
    while not stop.wait(TTL.total_seconds() / 3):
        with suppress(sa.exc.SQLAlchemyError, LedgerError):
            ledger.renew_lease(name, owner, TTL)
