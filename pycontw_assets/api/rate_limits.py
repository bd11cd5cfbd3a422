"""Keeping calls under a service's windows, so that a 429 is the exception.

A caller learns when its turn is and waits for it; nobody asks twice. Which windows a service has is said by its client.
Waiting, and what to do about a 429 all the same, belongs to ``client``; a limit shared between processes to the ledger.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from pycontw_assets.api.adaptive_rate import Objection

Windows = Mapping[str, Sequence[tuple[int, float]]]  # group of calls -> (calls, seconds) limits that all hold


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
        """Return the seconds until the reserved slot; nothing is reserved when that is more than ``longest_wait``."""
        with self._lock:
            slots, now = self._slots[group], self._clock()
            slot = next_slot(now, self._windows[group], lambda n: slots[-n] if len(slots) >= n else None)
            if slot - now <= longest_wait:
                slots.append(slot)
            return slot - now

    def slow_down(self, group: str, reason: Objection) -> None:
        """Do nothing: the windows are the service's own, and ``client`` waits out a 429."""

    def answered_in(self, group: str, seconds: float) -> None:
        """Do nothing, likewise."""


def next_slot(now: float, limits: Sequence[tuple[int, float]], nth_latest: Callable[[int], float | None]) -> float:
    """Return the earliest time at which one more call keeps every limit. ``nth_latest(1)`` is the last slot taken."""
    ends = [earlier + seconds for calls, seconds in limits if (earlier := nth_latest(calls)) is not None]
    return max([now, *ends])
