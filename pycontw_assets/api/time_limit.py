"""The time that a piece of work has: every call that its threads make ends before it is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextvars import ContextVar


class TimeLimit:
    """Calls that are made inside ``with limit:`` wait no longer than it lasts, and none begins after it."""

    def __init__(self, seconds: float = math.inf, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + seconds

    @property
    def left(self) -> float:
        """Return the seconds left, none of them negative."""
        return max(self._ends - self._clock(), 0.0)

    def end(self) -> None:
        """Let the time be over: calls under way come to their end, and no other begins."""
        self._ends = -math.inf

    def __enter__(self) -> TimeLimit:
        _limits.set((*_limits.get(), self))
        return self

    def __exit__(self, *_error: object) -> None:
        _limits.set(_limits.get()[:-1])


_limits: ContextVar[tuple[TimeLimit, ...]] = ContextVar("limits", default=())


def time_left() -> float:
    """Return the seconds that this work has left; infinite without a limit."""
    return min((limit.left for limit in _limits.get()), default=math.inf)
