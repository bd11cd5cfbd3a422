"""How a running sale compares with former editions: the tickets to expect by the opening day, and the last week. Pure.

The method. On each day the sale of a former edition had grown by some factor until its opening day. In logarithms these
factors are taken for a sample of a normal distribution, and the factor of the running sale for one more draw from it.
The range is the prediction interval of Student's t for that draw: mean ± t · s · sqrt(1 + 1/n), where s is the standard
deviation over n editions. It is wide with few editions, as it should be. With fewer than three there is none.
The tests try it on 200 invented seasons; docs/sales.md says how often the range held, and how wide it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pycontw_assets.pipeline.reporting.curves import Curve, SalesCurves

FEWEST_EDITIONS = 3
FEWEST_SOLD = 20  # tickets: before that the factor is mostly chance
WEEK = 7
# Degrees of freedom -> the factor of an interval that holds 90 %. Beyond ten it hardly changes.
_STUDENT = {2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833, 10: 1.812}


@dataclass(frozen=True, slots=True)
class Range:
    """Tickets. ``low`` to ``high`` holds nine outcomes of ten; ``likely`` is its middle in logarithms."""

    low: int
    likely: int
    high: int


@dataclass(frozen=True, slots=True)
class Week:
    """The last seven days of the running sale: what was sold, and what former editions let expect."""

    sold: int
    expected: Range


def expected_at_opening(curves: SalesCurves) -> Range | None:
    """Return the tickets to expect by the end of the opening day. ``None``: too little is known, or it has come."""
    running = curves.running
    if curves.axis != "opening" or running.last_day >= 0 or running.sold < FEWEST_SOLD:
        return None
    factors = [
        math.log(curve.sold / then)
        for curve in curves.earlier
        if (then := curve.sold_by(running.last_day)) >= FEWEST_SOLD
    ]
    return _predicted(running.sold, factors)


def last_week(curves: SalesCurves) -> Week | None:
    """Compare the last seven days with the same days before the opening of former editions.

    ``None``: too little is known, or the opening day has come. A week is relative to what was sold before it,
    so a small edition is not blamed for its size.
    """
    running, day = curves.running, curves.running.last_day
    before = running.sold_by(day - WEEK)
    if curves.axis != "opening" or day >= 0 or before < FEWEST_SOLD:
        return None
    factors = [_share(curve, day) for curve in curves.earlier if curve.sold_by(day - WEEK) >= FEWEST_SOLD]
    expected = _predicted(before, factors)
    return Week(running.sold - before, expected) if expected else None


def is_behind(week: Week, percent: int) -> bool:
    """Whether the week sold less than this share of the low end of its range."""
    return week.sold * 100 < week.expected.low * percent


def _share(curve: Curve, day: int) -> float:
    """Return what a week sold for each ticket sold before it, in logarithms. Half a ticket is none."""
    before = curve.sold_by(day - WEEK)
    return math.log(max(0.5, curve.sold_by(day) - before) / before)


def _predicted(sold: int, factors: Sequence[float]) -> Range | None:
    if len(factors) < FEWEST_EDITIONS:
        return None
    middle, count = fmean(factors), len(factors)
    spread = _STUDENT[min(count - 1, max(_STUDENT))] * stdev(factors) * math.sqrt(1 + 1 / count)
    low, likely, high = (sold * math.exp(middle + side * spread) for side in (-1, 0, 1))
    return Range(math.floor(low), round(likely), math.ceil(high))
