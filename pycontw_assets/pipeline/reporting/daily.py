"""Money, comparison, pace, funnel and pictures: the rest of the daily message. Nothing is sent here.

All of it comes from the warehouse, where also former editions are. When that cannot be read, the message says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pycontw_assets.alerts.messenger import Picture
from pycontw_assets.load.readers.daily_sales import SalesDay, read_sales
from pycontw_assets.load.readers.view import TAIPEI_HOURS
from pycontw_assets.load.warehouse import Warehouse, WarehouseError
from pycontw_assets.pipeline.reporting.canvas import NoPicture
from pycontw_assets.pipeline.reporting.curves import SalesCurves, earned, edition_before, sales_curves
from pycontw_assets.pipeline.reporting.funnel import FunnelRow
from pycontw_assets.pipeline.reporting.pace import expected_at_opening, is_behind, last_week
from pycontw_assets.pipeline.reporting.pictures import (
    funnel_line,
    funnel_picture,
    sales_headline,
    sales_picture,
)
from pycontw_assets.settings import Settings

_UNREADABLE = "revenue: not known, because the tables could not be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """``lines`` of the message. ``findings`` about the pace. ``draw`` makes the pictures, which takes a second.

    ``is_compared``: a line compares with the edition before. ``link``: where to read on. ``is_known``: the tables could
    be read, so no finding means that there is none.
    """

    lines: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    is_compared: bool = False
    is_known: bool = False
    link: str = ""
    draw: Callable[[], tuple[Picture, ...]] = tuple


def day_in_taiwan(moment: datetime) -> date:
    return (moment + timedelta(hours=TAIPEI_HOURS)).date()


def extras_of(
    edition: str, now: datetime, *, warehouse: Warehouse, settings: Settings, funnel: Sequence[FunnelRow] = ()
) -> Extras:
    """Return the extras as the settings want them. ``funnel``: the rows of the live edition, if there are any."""
    return read_extras(
        edition,
        now,
        warehouse=warehouse,
        openings=settings.opening_days,
        funnel=funnel,
        percent=settings.pace_alarm_percent,
        link=settings.dashboard_url or "",
    )


def read_extras(
    edition: str,
    now: datetime,
    *,
    warehouse: Warehouse,
    openings: Mapping[str, date],
    funnel: Sequence[FunnelRow],
    percent: int | None,
    link: str = "",
) -> Extras:
    """Read the days of sales, and say what they mean for an edition as of the last whole day in Taiwan.

    ``percent``: when to raise an alarm about the pace, see ``pace.is_behind``; ``None``: never.
    """
    try:
        days = read_sales(warehouse)
    except WarehouseError:
        lines = filter(None, (_UNREADABLE, funnel_line(funnel)))
        return Extras(lines=tuple(lines), link=link, draw=lambda: _pictures(None, funnel))
    yesterday = day_in_taiwan(now) - timedelta(days=1)
    curves = sales_curves(days, openings, yesterday, edition=edition)
    lines = filter(None, (*_lines(days, curves, openings), funnel_line(funnel)))
    return Extras(
        lines=tuple(lines),
        findings=tuple(pace_findings(curves, percent)),
        is_compared=bool(curves and curves.earlier),
        is_known=True,
        link=link,
        draw=lambda: _pictures(curves, funnel),
    )


def pace_findings(curves: SalesCurves | None, percent: int | None) -> Iterator[str]:
    """Yield the alarm about a week that sold too little. ``percent``: of the low end of the range; ``None``: off."""
    week = last_week(curves) if curves and percent else None
    if curves and percent and week and is_behind(week, percent):
        yield (
            f"ticket sales of {curves.running.edition} are behind: {week.sold} sold in the seven days until "
            f"{curves.as_of}, and former editions let expect {week.expected.low} to {week.expected.high}"
        )


def _lines(days: Sequence[SalesDay], curves: SalesCurves | None, openings: Mapping[str, date]) -> Iterator[str]:
    if curves is None:
        return
    edition, as_of = curves.running.edition, curves.as_of
    total = earned(days, edition, until=as_of)
    last = earned(days, edition, after=as_of - timedelta(days=1), until=as_of)
    yield f"revenue by {as_of}, refunds taken off: {money(total)}; on that day {money(last, sign='+')}"
    yield from _comparison(days, curves, openings, total)
    if expected := expected_at_opening(curves):
        yield f"expected by the opening day: {expected.low:,} to {expected.high:,} corporate and individual tickets"
    if week := last_week(curves):
        yield f"last seven days: {week.sold:,} sold, {week.expected.low:,} to {week.expected.high:,} expected"


def _comparison(
    days: Sequence[SalesDay], curves: SalesCurves, openings: Mapping[str, date], total: Mapping[str, float]
) -> Iterator[str]:
    """Yield the comparison with the same day before the opening of the edition before, or the same day of its sale."""
    before = edition_before(curves)
    if before is None:
        return
    now, day = curves.running, curves.running.last_day
    is_from_opening = curves.axis == "opening"
    zero = openings[before.edition] if is_from_opening else _first_day(days, before.edition)
    old = earned(days, before.edition, until=zero + timedelta(days=day))
    change = {currency: total.get(currency, 0.0) - old.get(currency, 0.0) for currency in {*total, *old}}
    when = f"{-day} days before the opening day" if is_from_opening else f"by day {day + 1} of the sale"
    yield (
        f"{when}: {now.sold:,} corporate and individual tickets; {before.edition} had {before.sold_by(day):,} "
        f"({now.sold - before.sold_by(day):+,}) and {money(old)} ({money(change, sign='+')})"
    )


def _first_day(days: Sequence[SalesDay], edition: str) -> date:
    return min(day.day for day in days if day.edition == edition)


def money(sums: Mapping[str, float], *, sign: str = "") -> str:
    """Return sums by currency as text, without cents where there are none."""
    shown = [_amount(amount, sign) + f" {currency}".rstrip() for currency, amount in sorted(sums.items())]
    return ", ".join(shown) or "nothing"


def _amount(amount: float, sign: str) -> str:
    return f"{amount:{sign},.0f}" if float(amount).is_integer() else f"{amount:{sign},.2f}"


def _pictures(curves: SalesCurves | None, funnel: Sequence[FunnelRow]) -> tuple[Picture, ...]:
    """Draw what there is to be drawn. Without the library there are no pictures, and the text is all."""
    pictures = []
    with suppress(NoPicture):
        if curves:
            caption = f"tickets sold for {curves.running.edition}: {sales_headline(curves)}"
            pictures.append(Picture("sales.png", caption, sales_picture(curves)))
        if png := funnel_picture(funnel):
            pictures.append(Picture("funnel.png", "from the order to the click", png))
    return tuple(pictures)
