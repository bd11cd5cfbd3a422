"""Keeping calls under a service's windows, in one process or in all that use one ledger: a 429 is then the exception.

Slots are handed out, nobody asks twice: a caller learns when its turn is and waits for it. Which windows a service has
is said by its client. Waiting, and what to do about a 429 all the same, belongs to ``api_client``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from pycontw_assets.ledger.engine import LedgerError, create_missing

Windows = Mapping[str, Sequence[tuple[int, float]]]  # group of calls -> (calls, seconds) limits that all hold

# A call may reach the service this much later than its slot, so windows are kept longer than they are.
_LATENESS = 0.25
# No slot is given out so far ahead: one that is there was written before somebody set the clock back.
_FURTHEST_AHEAD = 600.0

_tables = sa.MetaData()
slots = sa.Table(
    "rate_slots",
    _tables,
    sa.Column("slot_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("rate_slots_by_time", "name", "at"),
)


class RateLimiter:
    """The limiter of one process. What holds in every sliding stretch holds in the fixed windows of a service too."""

    def __init__(self, windows: Windows, clock: Callable[[], float] = time.monotonic) -> None:
        self._windows = windows
        self._clock = clock
        self._lock = threading.Lock()
        self._slots = {
            group: deque[float](maxlen=max(calls for calls, _ in limits)) for group, limits in windows.items()
        }

    def reserve(self, group: str, longest_wait: float) -> float:
        """Seconds until the reserved slot; nothing is reserved when that is more than ``longest_wait``."""
        with self._lock:
            slots, now = self._slots[group], self._clock()
            slot = _next_slot(now, self._windows[group], lambda n: slots[-n] if len(slots) >= n else None)
            if slot - now <= longest_wait:
                slots.append(slot)
            return slot - now


class SharedRateLimiter:
    """One limiter for all processes of a ledger. Without a ledger, or while it is in trouble: for this process only.

    ``bundle`` slots are taken at a time, so that a fast stream of calls does not mean as many transactions; those not
    used at once are lost. Times are the server's where the ledger is on one.
    """

    def __init__(
        self,
        engine: Callable[[], sa.Engine | None],
        service: str,
        windows: Windows,
        *,
        bundle: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._service = service
        self._windows = {
            group: [(calls, seconds + _LATENESS) for calls, seconds in limits] for group, limits in windows.items()
        }
        self._bundle = bundle
        self._clock = clock
        self._lock = threading.Lock()
        self._spare: dict[str, deque[float]] = {group: deque() for group in windows}
        self._prepared: sa.Engine | None = None
        self._alone = RateLimiter(windows)

    def reserve(self, group: str, longest_wait: float) -> float:
        """As ``RateLimiter.reserve``."""
        engine = self._engine()
        if engine is None:
            return self._alone.reserve(group, longest_wait)
        with self._lock:
            now, spare = self._clock(), self._spare[group]
            while spare and spare[0] < now - _LATENESS:
                spare.popleft()
            if spare and spare[0] - now <= longest_wait:
                return max(spare.popleft() - now, 0.0)
            try:
                wait, *others = self._take(engine, group, longest_wait)
            except (sa.exc.SQLAlchemyError, LedgerError):
                # The ledger has an alarm of its own; no call fails for the sake of its waits.
                return self._alone.reserve(group, longest_wait)
            spare.extend(now + other for other in others)
            return wait

    def _take(self, engine: sa.Engine, group: str, longest_wait: float) -> list[float]:
        """Reserve the next slots of the group, in seconds from now; only told, not reserved, when that is too long."""
        if self._prepared is not engine:
            create_missing(engine, _tables)
            self._prepared = engine
        name, limits = f"{self._service} {group}", self._windows[group]
        with engine.begin() as db:
            now = self._locked_time(db, name)
            forgotten = now - max(seconds for _, seconds in limits)
            outdated = (slots.c.name == name, ~slots.c.at.between(forgotten, now + _FURTHEST_AHEAD))
            db.execute(sa.delete(slots).where(*outdated))
            taken: list[float] = []
            while len(taken) < self._bundle:
                slot = _next_slot(now, limits, lambda n: _nth_latest(db, name, n))
                if slot - now > longest_wait:
                    return taken or [slot - now]
                if taken and slot - now > taken[0] + _LATENESS:
                    break
                db.execute(sa.insert(slots).values(name=name, at=slot))
                taken.append(slot - now)
        return taken

    def _locked_time(self, db: sa.Connection, name: str) -> float:
        """Now, once nobody else reserves under this name. SQLite lets in one transaction at a time anyway."""
        if db.dialect.name != "postgresql":
            return self._clock()
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))
        return float(db.scalars(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))).one())


def _next_slot(now: float, limits: Sequence[tuple[int, float]], nth_latest: Callable[[int], float | None]) -> float:
    """The earliest time at which one more call keeps every limit."""
    ends = [earlier + seconds for calls, seconds in limits if (earlier := nth_latest(calls)) is not None]
    return max([now, *ends])


def _nth_latest(db: sa.Connection, name: str, n: int) -> float | None:
    query = sa.select(slots.c.at).where(slots.c.name == name).order_by(slots.c.at.desc()).offset(n - 1).limit(1)
    at: float | None = db.scalar(query)
    return at
