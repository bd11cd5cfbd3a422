"""One rate limit for all processes that share a ledger.

Which windows a service has is said by its client; the rule for the next slot is in ``api.rate_limits``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import sqlalchemy as sa

from pycontw_assets.api.rate_limits import RateLimiter, Windows, next_slot
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import rate_slots
from pycontw_assets.ledger.ledger import Ledger

# A call may reach the service this much later than its slot, so windows are kept longer than they are.
_LATENESS = 0.25
# Slots of one transaction. While it takes them, nobody else can write to the ledger.
_LARGEST_BUNDLE = 100
# No slot is given out so far ahead. One that is there was written before somebody set the clock back.
_FURTHEST_AHEAD = 600.0


class SharedRateLimiter:
    """One limiter for all processes of a ledger. It limits this process only, while there is no ledger to write to.

    ``bundle`` slots are taken at a time, so that a fast stream of calls does not mean as many transactions. Slots that
    are not used at once are lost. Times are the server's where the ledger is on one.
    """

    def __init__(
        self,
        ledger: Callable[[], Ledger | None],
        service: str,
        windows: Windows,
        *,
        bundle: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._windows = {
            group: [(calls, seconds + _LATENESS) for calls, seconds in limits] for group, limits in windows.items()
        }
        self._bundle = min(bundle, _LARGEST_BUNDLE)
        self._clock = clock
        self._lock = threading.Lock()
        self._spare: dict[str, deque[float]] = {group: deque() for group in windows}
        self._alone = RateLimiter(windows)

    def reserve(self, group: str, longest_wait: float) -> float:
        """Do the same as ``RateLimiter.reserve``."""
        ledger = self._ledger()
        if ledger is None or not ledger.can_write:
            return self._alone.reserve(group, longest_wait)
        with self._lock:
            now, spare = self._clock(), self._spare[group]
            while spare and spare[0] < now - _LATENESS:
                spare.popleft()
            if spare and spare[0] - now <= longest_wait:
                return max(spare.popleft() - now, 0.0)
            try:
                wait, *others = self._take(ledger.engine, group, longest_wait)
            except (sa.exc.SQLAlchemyError, LedgerError):
                # The ledger has an alert of its own; no call fails for the sake of its waits.
                return self._alone.reserve(group, longest_wait)
            spare.extend(now + other for other in others)
            return wait

    def _take(self, engine: sa.Engine, group: str, longest_wait: float) -> list[float]:
        """Reserve the next slots of the group, in seconds from now. One that is too far away is only returned."""
        name, limits = f"{self._service} {group}", self._windows[group]
        with engine.begin() as db:
            now = self._locked_time(db, name)
            forgotten = now - max(seconds for _, seconds in limits)
            outdated = (rate_slots.c.name == name, ~rate_slots.c.at.between(forgotten, now + _FURTHEST_AHEAD))
            db.execute(sa.delete(rate_slots).where(*outdated))
            taken: list[float] = []
            while len(taken) < self._bundle:
                slot = next_slot(now, limits, lambda n: _nth_latest(db, name, n))
                if slot - now > longest_wait:
                    return taken or [slot - now]
                if taken and slot - now > taken[0] + _LATENESS:
                    break
                db.execute(sa.insert(rate_slots).values(name=name, at=slot))
                taken.append(slot - now)
        return taken

    def _locked_time(self, db: sa.Connection, name: str) -> float:
        """Return the time, once nobody else reserves under this name. SQLite lets in one transaction at a time."""
        if db.dialect.name != "postgresql":
            return self._clock()
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(name))))
        return float(db.scalars(sa.select(sa.func.extract("epoch", sa.func.clock_timestamp()))).one())


def _nth_latest(db: sa.Connection, name: str, n: int) -> float | None:
    query = sa.select(rate_slots.c.at).where(rate_slots.c.name == name)
    at: float | None = db.scalar(query.order_by(rate_slots.c.at.desc()).offset(n - 1).limit(1))
    return at
