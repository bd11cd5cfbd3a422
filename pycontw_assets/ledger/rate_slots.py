"""One rate limit for all processes that share a ledger.

Which windows a service has is said by its client; the rule for the next slot is in ``api.rate_limits``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import cast

import sqlalchemy as sa

from pycontw_assets.api.adaptive_rate import Latency, Objection, SlowedRate, rate_in_force, slow_down
from pycontw_assets.api.rate_limits import RateLimiter, Windows, next_slot
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import rate_slots, slowed_rates
from pycontw_assets.ledger.ledger import Ledger

# A call may reach the service this much later than its slot, so windows that a service publishes are kept longer.
_LATENESS = 0.25
# Slots of one transaction. While it takes them, nobody else can write to the ledger.
_LARGEST_BUNDLE = 100
# No slot is given out so far ahead. One that is there was written before somebody set the clock back.
_FURTHEST_AHEAD = 600.0


class SharedRateLimiter:
    """One limiter for all processes of a ledger. It limits this process only, while there is no ledger to write to.

    ``bundle`` slots are taken at a time, so that a fast stream of calls does not mean as many transactions. Slots that
    are not used at once are lost. ``lateness``: seconds by which each window is kept longer than it is. Times are the
    server's where the ledger is on one.
    """

    def __init__(
        self,
        ledger: Callable[[], Ledger | None],
        service: str,
        windows: Windows,
        *,
        bundle: int = 1,
        adapts: bool = False,
        lateness: float = _LATENESS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._service = service
        self._windows = {
            group: [(calls, seconds + lateness) for calls, seconds in limits] for group, limits in windows.items()
        }
        self._bundle = min(bundle, _LARGEST_BUNDLE)
        self._clock = clock
        self._lock = threading.Lock()
        self._spare: dict[str, deque[float]] = {group: deque() for group in windows}
        self._alone = RateLimiter(windows)
        self._adapts = adapts
        self._latency = Latency()

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

    def slow_down(self, group: str, reason: Objection) -> None:
        """Halve the rate of all processes, for a while."""
        ledger = self._ledger()
        if not self._adapts or ledger is None or not ledger.can_write:
            return
        with self._lock:
            self._spare[group].clear()
            name, most = self._name(group), self._most(group)
            # The ledger has an alert of its own; no call fails for the sake of its rate.
            with suppress(sa.exc.SQLAlchemyError, LedgerError), ledger.engine.begin() as db:
                now = self._locked_time(db, name)
                slowed = slow_down(_slowed_rate(db, name), most, now, reason)
                db.execute(sa.delete(slowed_rates).where(slowed_rates.c.name == name))
                at = datetime.fromtimestamp(slowed.slowed_at, timezone.utc)
                row = {"per_second": slowed.per_second, "slowed_at": at, "reason": slowed.reason}
                db.execute(sa.insert(slowed_rates).values(name=name, **row))

    def answered_in(self, group: str, seconds: float) -> None:
        """Slow down when the answers of this process have become slower."""
        if not self._adapts:
            return
        with self._lock:
            has_risen = self._latency.has_risen(seconds)
        if has_risen:
            self.slow_down(group, "slower answers")

    def _name(self, group: str) -> str:
        return f"{self._service} {group}"

    def _most(self, group: str) -> float:
        return float(min(calls for calls, _ in self._windows[group]))

    def _limits(self, db: sa.Connection, group: str, now: float) -> Sequence[tuple[int, float]]:
        limits = self._windows[group]
        slowed = _slowed_rate(db, self._name(group)) if self._adapts else None
        if slowed is None:
            return limits
        return [(max(1, int(rate_in_force(slowed, calls, now))), seconds) for calls, seconds in limits]

    def _take(self, engine: sa.Engine, group: str, longest_wait: float) -> list[float]:
        """Reserve the next slots of the group, in seconds from now. One that is too far away is only returned."""
        name = self._name(group)
        with engine.begin() as db:
            now = self._locked_time(db, name)
            limits = self._limits(db, group, now)
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


def _slowed_rate(db: sa.Connection, name: str) -> SlowedRate | None:
    row = db.execute(sa.select(slowed_rates).where(slowed_rates.c.name == name)).one_or_none()
    return SlowedRate(row.per_second, row.slowed_at.timestamp(), cast(Objection, row.reason)) if row else None


def slowed_rate(ledger: Ledger, service: str, group: str) -> SlowedRate | None:
    """Return the rate to which the calls of a group were slowed down last. ``None``: never."""
    with ledger.engine.connect() as db:
        return _slowed_rate(db, f"{service} {group}")
