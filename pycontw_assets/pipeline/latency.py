"""How long people waited, in three numbers: the one way to count percentiles. Pure.

Whose waiting it is, and from when to when, belongs elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    count: int
    median: float
    p95: float
    slowest: float


def spread(seconds: Iterable[float | None]) -> Spread | None:
    """``None`` when nobody waited; who never got what they waited for (``None``) is not counted."""
    known = sorted(one for one in seconds if one is not None)
    if not known:
        return None
    return Spread(len(known), percentile(known, 50), percentile(known, 95), known[-1])


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that so many percent do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]
