"""The simulation context that the three services share: one clock, one lock, one source of chance."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Concatenate, ParamSpec, Protocol, TypeVar

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    return datetime.now(timezone.utc)


class ManualClock:
    """A clock that only ``advance`` moves; ``advance`` can be injected as a ``sleep``."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2031, 6, 1, 2, 0, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class SkippingClock:
    """Real time plus all skipped waits: work takes its real time, waits take none."""

    def __init__(self, skipped: float = 0.0) -> None:
        self.skipped = skipped
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self.skipped)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def advance(self, seconds: float) -> None:
        """Skip a wait, in place of a ``sleep``; threads that wait at the same time skip it once."""
        until = self.monotonic() + seconds
        with self._lock:
            self.skipped = max(self.skipped, until - time.monotonic())


class SimulationContext:
    """Clock, lock and chance of one world. The lock is re-entrant: services call each other while holding it."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.random = random.Random(seed)  # noqa: S311 - invented data, not secrets

    def now(self) -> datetime:
        return self.clock()


class _HasContext(Protocol):
    context: SimulationContext


S = TypeVar("S", bound=_HasContext)
P = ParamSpec("P")
R = TypeVar("R")


def locked(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method under the world's lock."""

    @functools.wraps(method)
    def under_lock(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.context.lock:
            return method(self, *args, **kwargs)

    return under_lock
