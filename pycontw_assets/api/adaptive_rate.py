"""The rate for a service that publishes no limit: halve it when the service objects, climb back slowly.

This is the rule of TCP's congestion control (additive increase, multiplicative decrease). Where the rate is kept, and
whose turn is next, belongs to the limiters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Objection = Literal["too many requests", "blocked", "slower answers"]

SLOWEST = 1.0  # calls a second
SECONDS_TO_CLIMB = 1800.0  # from standstill to the rate that is set
# Threads that asked at once hear the same objection several times.
_SAME_OBJECTION = 10.0  # seconds
_SAMPLE = 20  # answers that are compared
_RISE = 3.0  # times as slow as at first
_LEAST_RISE = 0.5  # seconds: a fast service may waver


@dataclass(frozen=True, slots=True)
class SlowedRate:
    """A rate that was lowered to ``per_second`` calls, at ``slowed_at`` (seconds since 1970), because of ``reason``."""

    per_second: float
    slowed_at: float
    reason: Objection


def rate_in_force(slowed: SlowedRate | None, most: float, now: float) -> float:
    """Return the calls a second that are allowed now. ``most``: the rate that is set, in calls a second."""
    if slowed is None:
        return most
    # A clock that was set back must not lower the rate further.
    climbed = most * max(now - slowed.slowed_at, 0.0) / SECONDS_TO_CLIMB
    return min(most, slowed.per_second + climbed)


def slow_down(slowed: SlowedRate | None, most: float, now: float, reason: Objection) -> SlowedRate:
    """Return half the rate in force, or the same again when the last objection was a moment ago."""
    if slowed is not None and abs(now - slowed.slowed_at) < _SAME_OBJECTION:
        return slowed
    return SlowedRate(max(SLOWEST, rate_in_force(slowed, most, now) / 2), now, reason)


class Latency:
    """Notices that answers take longer than the first ones of this process did."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._latest: deque[float] = deque(maxlen=_SAMPLE)

    def has_risen(self, seconds: float) -> bool:
        """Take in the time of one answer. Return whether the latest are slower, and begin a new sample if so."""
        if len(self._first) < _SAMPLE:
            self._first.append(seconds)
            return False
        self._latest.append(seconds)
        if len(self._latest) < _SAMPLE or not _is_slower(self._latest, self._first):
            return False
        self._latest.clear()
        return True


def _is_slower(latest: Sequence[float], first: Sequence[float]) -> bool:
    usual, now = median(first), median(latest)
    return now > max(_RISE * usual, usual + _LEAST_RISE)
