"""Invented seasons with a known curve: an early rush, a quiet middle and a last week, of a size that varies."""

from __future__ import annotations

import math
import random
from datetime import date, timedelta

from pycontw_assets.load.readers.daily_sales import SalesDay
from pycontw_assets.pipeline.reporting.curves import Curve

LENGTH = 110  # days on sale


def opening(edition: str) -> date:
    return date(int(edition), 9, 4)


def season(chance: random.Random, edition: str, size: float) -> dict[int, int]:
    """Return day before the opening (below 0) -> tickets of that day. Shape and size differ from season to season."""
    early, late = 0.35 * math.exp(chance.gauss(0, 0.25)), 0.25 * math.exp(chance.gauss(0, 0.25))
    middle = 0.4 * math.exp(chance.gauss(0, 0.2))
    sold = {}
    for day in range(-LENGTH, 1):
        rate = size * (early / 5 * math.exp(-(day + LENGTH) / 5) + middle / LENGTH + late / 7 * math.exp(day / 7))
        sold[day] = max(0, round(chance.gauss(rate, math.sqrt(rate))))
    return sold


def curve(edition: str, sold: dict[int, int], until: int = 0) -> Curve:
    total, totals = 0, {}
    for day in range(-LENGTH, until + 1):
        total += sold[day]
        totals[day] = total
    return Curve(edition, totals)


def sales_days(edition: str, sold: dict[int, int], *, price: float = 2500, until: int = 0) -> list[SalesDay]:
    return [
        SalesDay(
            edition=edition,
            family="individual",
            day=opening(edition) + timedelta(days=day),
            currency="TWD",
            tickets_paid=number,
            tickets_refunded=0,
            revenue=price * number,
            refunds=0.0,
        )
        for day, number in sold.items()
        if number and day <= until
    ]
