"""What the three simulated services stand on together: one clock, one lock, one source of chance."""

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
    """A clock that moves only when told; ``advance`` fits wherever a ``sleep`` is injected."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2031, 6, 1, 2, 0, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class SkippingClock:
    """Real time plus all the waiting that was skipped: work takes as long as it takes, waits take no time."""

    def __init__(self, skipped: float = 0.0) -> None:
        self.skipped = skipped
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self.skipped)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def advance(self, seconds: float) -> None:
        """Fits wherever a ``sleep`` is injected; threads that wait at the same time wait once."""
        until = self.monotonic() + seconds
        with self._lock:
            self.skipped = max(self.skipped, until - time.monotonic())


class Ground:
    """Shared by the services of one world. The lock is re-entrant: services call each other while holding it."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.random = random.Random(seed)  # noqa: S311 - invented data, not secrets

    def now(self) -> datetime:
        return self.clock()


class _Grounded(Protocol):
    ground: Ground


S = TypeVar("S", bound=_Grounded)
P = ParamSpec("P")
R = TypeVar("R")


def locked(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Run a method under the world's lock."""

    @functools.wraps(method)
    def under_lock(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.ground.lock:
            return method(self, *args, **kwargs)

    return under_lock
