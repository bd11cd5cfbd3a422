"""Days of sales -> one curve per edition, counted from the opening day so that editions can be compared. Pure.

A curve is of sold tickets: corporate and individual ones that are paid, less those that were refunded. Reserved tickets
are set aside for speakers and staff, and say nothing about a sale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from typing import Literal

from pycontw_assets.load.readers.daily_sales import SalesDay
from pycontw_assets.records import Family

SOLD_FAMILIES: tuple[Family, ...] = ("corporate", "individual")
Axis = Literal["opening", "first sale"]


@dataclass(frozen=True, slots=True)
class Curve:
    """The sale of an edition. ``totals``: day -> tickets sold by its end, for every day from the first to the last.

    A day is a number: 0 is the opening day and -1 the day before it, or 0 is the day of the first sale.
    """

    edition: str
    totals: Mapping[int, int]

    def sold_by(self, day: int) -> int:
        """Return the tickets sold by the end of a day: none before the first, all after the last."""
        if day in self.totals:
            return self.totals[day]
        return 0 if not self.totals or day < min(self.totals) else self.totals[max(self.totals)]

    @property
    def last_day(self) -> int:
        return max(self.totals)

    @property
    def sold(self) -> int:
        return self.totals[self.last_day]


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesCurves:
    """The curves of all editions that can be compared. ``running`` is the newest of them. ``as_of``: its last day."""

    axis: Axis
    running: Curve
    earlier: tuple[Curve, ...]
    as_of: date


def sales_curves(
    days: Iterable[SalesDay], openings: Mapping[str, date], today: date, *, edition: str | None = None
) -> SalesCurves | None:
    """Return the curves, counted from the opening day. ``None``: nothing was sold.

    Where the opening day of the newest edition is not known, days count from each first sale. Otherwise former editions
    whose opening day is not known are left out. ``openings``: edition -> opening day. ``today``: in Taiwan.
    ``edition``: the running one; without it that of the newest sale.
    """
    sold = _tickets_by_day(days, until=today)
    newest = edition or max(sold, default=None)
    if newest is None or newest not in sold:
        return None
    axis: Axis = "opening" if newest in openings else "first sale"
    zeros = {edition: min(found) for edition, found in sold.items()} if axis == "first sale" else openings
    as_of = min(today, openings.get(newest, today))
    running = _curve(newest, sold[newest], zeros[newest], as_of)
    earlier = [
        _curve(former, found, zeros[former], zeros[former] if axis == "opening" else max(found))
        for former, found in sorted(sold.items())
        if former < newest and former in zeros
    ]
    return SalesCurves(axis=axis, running=running, earlier=tuple(c for c in earlier if c.sold > 0), as_of=as_of)


def _tickets_by_day(days: Iterable[SalesDay], *, until: date) -> dict[str, dict[date, int]]:
    sold: dict[str, dict[date, int]] = {}
    for day in days:
        if day.family in SOLD_FAMILIES and day.day <= until:
            of_edition = sold.setdefault(day.edition, {})
            of_edition[day.day] = of_edition.get(day.day, 0) + day.tickets
    return sold


def _curve(edition: str, sold: Mapping[date, int], zero: date, end: date) -> Curve:
    """Return the curve until ``end``. What was sold later does not count; what was sold at once on a day does."""
    first = min(*sold, end)
    days = [date.fromordinal(number) for number in range(first.toordinal(), end.toordinal() + 1)]
    totals = accumulate(sold.get(day, 0) for day in days)
    return Curve(edition, {(day - zero).days: total for day, total in zip(days, totals, strict=True)})


def edition_before(curves: SalesCurves) -> Curve | None:
    return curves.earlier[-1] if curves.earlier else None


def earned(
    days: Sequence[SalesDay], edition: str, *, after: date = date.min, until: date = date.max
) -> dict[str, float]:
    """Return what the edition earned later than ``after`` and by the end of ``until``, by currency, refunds off."""
    sums: dict[str, float] = {}
    for day in days:
        if day.edition == edition and after < day.day <= until:
            sums[day.currency] = sums.get(day.currency, 0.0) + day.earned
    return sums
