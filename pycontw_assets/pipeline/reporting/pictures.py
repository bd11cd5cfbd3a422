"""The two pictures: how many tickets were sold by which day, and what became of an order on the way to a click.

Each has a pure function for its data and one for its sheet. Sheets hold our own words and numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10

from pycontw_assets.pipeline.reporting.canvas import FAINT_INK, INK, RULE, Area, Box, Canvas, Label, Line, Shape
from pycontw_assets.pipeline.reporting.curves import Curve, SalesCurves
from pycontw_assets.pipeline.reporting.funnel import FunnelRow
from pycontw_assets.pipeline.reporting.pace import Range, expected_at_opening
from pycontw_assets.records import FAMILIES, Family

_WIDTH, _HEIGHT = 640, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 76, 134, 96
_RUNNING, _FAN, _GREYS = "#1864ab", "#d0e4f5", ("#8a949e", "#c3cad1")
_COLOURS: Mapping[Family, str] = {"corporate": "#1864ab", "individual": "#15aabf", "reserved": "#e8a317"}
_STEPS, _STEPS_OF_WEEKS = (1, 2, 5, 10), (1, 2, 4, 8, 10)
_MOST_TICKS = 6
_LABEL_HEIGHT = 19
_WEEKS_WITH_DAYS = 3


# -- the sales curve ----------------------------------------------------------------------------------


def sales_picture(curves: SalesCurves) -> bytes:
    """Return the PNG. Raise ``NoPicture`` without matplotlib."""
    return _sales_sheet(curves).png()


def sales_svg(curves: SalesCurves) -> str:
    return _sales_sheet(curves).svg()


def sales_headline(curves: SalesCurves) -> str:
    """Return what the picture says, as a sentence."""
    running = curves.running
    return f"{running.sold:,} sold by {curves.as_of}{_place(curves.axis == 'opening', running.last_day)}"


def _place(is_from_opening: bool, day: int) -> str:
    if not is_from_opening:
        return f", day {day + 1} of the sale"
    if day == 0:
        return ", the opening day"
    return f", {_count(-day, 'day')} before the opening"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps days and tickets to pixels."""

    first: int
    last: int
    highest: int

    def x(self, day: float) -> float:
        return _LEFT + (day - self.first) / max(1, self.last - self.first) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, tickets: float) -> float:
        return _HEIGHT - _BOTTOM - tickets / self.highest * (_HEIGHT - _TOP - _BOTTOM)


def _sales_sheet(curves: SalesCurves) -> Canvas:
    expected = expected_at_opening(curves)
    scale = _scale(curves, expected)
    lines = [_curve_line(curve, scale, _grey(curves, curve)) for curve in curves.earlier]
    running = _curve_line(curves.running, scale, _RUNNING, width=4)
    shapes: list[Shape] = [
        *_sales_heads(curves, expected),
        *_grid(scale, curves.axis == "opening"),
        *_fan(curves.running, expected, scale),
        *lines,
        running,
        *_names(curves, scale),
        *_sales_feet(curves),
    ]
    return Canvas(_WIDTH, _HEIGHT, shapes)


def _sales_heads(curves: SalesCurves, expected: Range | None) -> Iterable[Shape]:
    yield Label(x=20, y=36, text=f"Tickets sold for {curves.running.edition}", size=27, is_bold=True)
    yield Label(x=20, y=64, text=sales_headline(curves), size=19, colour=FAINT_INK)
    if expected:
        text = f"Expected by the opening day: {expected.low:,} to {expected.high:,}"
        yield Label(x=20, y=89, text=text, size=19, colour=_RUNNING)


def _sales_feet(curves: SalesCurves) -> Iterable[Shape]:
    axis = "days before the opening day" if curves.axis == "opening" else "days since the first sale"
    yield Label(x=_LEFT - 8, y=_TOP - 11, text="tickets", size=18, colour=FAINT_INK, anchor="middle")
    yield Label(x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 46, text=axis, size=19, colour=FAINT_INK, anchor="middle")
    note = "Corporate and individual tickets, refunded ones taken off. Days in Taiwan."
    yield Label(x=20, y=_HEIGHT - 15, text=note, size=16, colour=FAINT_INK)


def _scale(curves: SalesCurves, expected: Range | None) -> _Scale:
    every = [curves.running, *curves.earlier]
    first = min(min(curve.totals) for curve in every)
    last = 0 if curves.axis == "opening" else max(1, *(curve.last_day for curve in every))
    highest = max(max(curve.totals.values()) for curve in every)
    # A range from few editions may be so wide that nothing else could be seen. Then it leaves the sheet.
    top = max(highest, min(expected.high, 2 * highest) if expected else 0)
    return _Scale(min(first, last - 1), last, max(1, ceil(top * 1.06)))


def _curve_line(curve: Curve, scale: _Scale, colour: str, *, width: float = 2.5) -> Line:
    points = [(scale.x(day), scale.y(tickets)) for day, tickets in sorted(curve.totals.items())]
    if len(points) == 1:
        points = [(points[0][0], scale.y(0)), *points]
    return Line(points=_thinned(points), colour=colour, width=width)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out points between two of the same height: a quiet month is one line."""
    inner = [b for a, b, c in zip(points, points[1:], points[2:]) if not a[1] == b[1] == c[1]]  # noqa: B905
    return [points[0], *inner, points[-1]]


def _grey(curves: SalesCurves, curve: Curve) -> str:
    return _GREYS[0] if curve == curves.earlier[-1] else _GREYS[1]


def _fan(running: Curve, expected: Range | None, scale: _Scale) -> Iterable[Shape]:
    if expected is None:
        return
    start = (scale.x(running.last_day), scale.y(running.sold))
    end, top = scale.x(0), min(expected.high, scale.highest)
    yield Area(points=[start, (end, scale.y(top)), (end, scale.y(expected.low))], colour=_FAN)
    yield Line(points=[start, (end, scale.y(min(expected.likely, top)))], colour=_RUNNING, is_dashed=True)


def _grid(scale: _Scale, is_from_opening: bool) -> Iterable[Shape]:
    end = _WIDTH - _RIGHT
    for tickets in _ticks(scale.highest):
        y = scale.y(tickets)
        yield Line(points=[(_LEFT, y), (end, y)], colour=RULE, width=1.5)
        yield Label(x=_LEFT - 8, y=y + 6, text=f"{tickets:,}", size=18, colour=FAINT_INK, anchor="end")
    for day in _day_ticks(scale.first, scale.last):
        x = scale.x(day)
        yield Line(points=[(x, scale.y(0)), (x, scale.y(0) + 6)], colour=FAINT_INK, width=1.5)
        text = f"{abs(day)}" if is_from_opening else f"{day}"
        yield Label(x=x, y=scale.y(0) + 25, text=text, size=18, colour=FAINT_INK, anchor="middle")


def _ticks(highest: int) -> list[int]:
    step = _step(highest)
    return list(range(0, highest + 1, step))


def _step(length: float, steps: Sequence[int] = _STEPS) -> int:
    power = int(10 ** floor(log10(max(1, length / _MOST_TICKS))))
    return next(step * power for step in steps if length / (step * power) <= _MOST_TICKS)


def _day_ticks(first: int, last: int) -> list[int]:
    """Return days in whole weeks, so that the same weekday is meant, or single days of a short sale."""
    length = last - first
    step = 7 * _step(length / 7, _STEPS_OF_WEEKS) if length > 7 * _WEEKS_WITH_DAYS else _step(length)
    return list(range(-(-first // step) * step, last + 1, step))


def _names(curves: SalesCurves, scale: _Scale) -> Iterable[Shape]:
    """Write each edition at the end of its line, former ones one below the other and never over each other."""
    lowest = scale.y(0) + 6
    for curve in sorted(curves.earlier, key=lambda curve: curve.sold):
        y = min(scale.y(curve.sold) + 6, lowest)
        colour = INK if curve is curves.earlier[-1] else FAINT_INK
        yield Label(x=_WIDTH - _RIGHT + 8, y=y, text=curve.edition, size=18, colour=colour)
        lowest = y - _LABEL_HEIGHT
    x, y = scale.x(curves.running.last_day), scale.y(curves.running.sold) - 10
    is_near_the_axis = x - 70 < _LEFT
    yield Label(
        x=x + 8 if is_near_the_axis else x - 6,
        y=y,
        text=curves.running.edition,
        size=22,
        colour=_RUNNING,
        anchor="start" if is_near_the_axis else "end",
        is_bold=True,
    )


# -- the funnel ---------------------------------------------------------------------------------------

_STAGES = {
    "tickets_ordered": "tickets ordered",
    "tickets_paid": "tickets paid",
    "let_in": "people let in",
    "invited": "people invited",
    "delivered": "mails delivered",
    "clicked": "people who clicked",
}
_OPENED = "opened"
_NEARLY_ALL, _ALL = 99, 100  # percent: rounded, they would look the same
_FELL_OUT = {"unreachable": "unreachable", "bounced": "bounced", "unsubscribed": "unsubscribed"}
_BAR_LEFT, _BAR_RIGHT, _BAR_TOP, _BAR_STEP, _BAR_HEIGHT = 204, 470, 116, 44, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One bar. ``counts``: known counts by family. ``is_whole``: whether the counts of all families are known."""

    name: str
    counts: Mapping[Family, int]
    is_whole: bool

    @property
    def total(self) -> int | None:
        """The sum of what is known; ``None``: nothing is. "At least 0" would say nothing, either."""
        known = sum(self.counts.values())
        return known if self.counts and (known or self.is_whole) else None

    @property
    def text(self) -> str:
        if self.total is None:
            return "not known"
        return f"{self.total:,}" if self.is_whole else f"at least {self.total:,}"

    def phrase(self, word: str) -> str:
        return f"{word}: {self.text}" if self.total is None else f"{self.text} {word}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """The data of the picture, of one edition. ``as_of``: the oldest of the mail figures."""

    edition: str
    stages: tuple[Stage, ...]
    opened: Stage
    fell_out: tuple[Stage, ...]
    as_of: datetime | None


def funnel_data(rows: Iterable[FunnelRow]) -> Funnel | None:
    """Return the funnel of the newest edition. ``None``: there are no rows."""
    every = list(rows)
    if not every:
        return None
    edition = max(row.edition for row in every)
    newest = sorted((row for row in every if row.edition == edition), key=lambda row: FAMILIES.index(row.family))
    times = [row.as_of for row in newest if row.as_of]
    return Funnel(
        edition=edition,
        stages=tuple(_stage(field, name, newest) for field, name in _STAGES.items()),
        opened=_stage(_OPENED, "people who opened", newest),
        fell_out=tuple(_stage(field, name, newest) for field, name in _FELL_OUT.items()),
        as_of=min(times, default=None),
    )


def _stage(field: str, name: str, rows: Sequence[FunnelRow]) -> Stage:
    found: dict[Family, int | None] = {row.family: getattr(row, field) for row in rows}
    counts = {family: count for family, count in found.items() if count is not None}
    return Stage(name=name, counts=counts, is_whole=len(counts) == len(found))


def funnel_line(rows: Iterable[FunnelRow]) -> str:
    """Return the funnel of the newest edition in one line, all families together; empty without rows."""
    funnel = funnel_data(rows)
    if funnel is None:
        return ""
    way = ", ".join(stage.phrase(word) for stage, word in zip(funnel.stages, _WORDS, strict=True))
    opened = f" ({funnel.opened.phrase('opened')}, inflated)" if funnel.opened.counts else ""
    return f"funnel: {way}{opened}; fell out: {_fell_out(funnel)}; {_mail_figures(funnel)}"


_WORDS = ("ordered", "paid", "let in", "invited", "delivered", "clicked")


def _fell_out(funnel: Funnel) -> str:
    return ", ".join(stage.phrase(stage.name) for stage in funnel.fell_out)


def _mail_figures(funnel: Funnel) -> str:
    return f"mail figures of {funnel.as_of:%Y-%m-%d %H:%M} UTC" if funnel.as_of else "mail figures not read yet"


def funnel_picture(rows: Iterable[FunnelRow]) -> bytes | None:
    """Return the PNG; ``None`` without rows. Raise ``NoPicture`` without matplotlib."""
    funnel = funnel_data(rows)
    return _funnel_sheet(funnel).png() if funnel else None


def funnel_svg(rows: Iterable[FunnelRow]) -> str | None:
    """Return the picture for the UI; ``None`` without rows."""
    funnel = funnel_data(rows)
    return _funnel_sheet(funnel).svg() if funnel else None


def _funnel_sheet(funnel: Funnel) -> Canvas:
    longest = max(1, *(stage.total or 0 for stage in (*funnel.stages, funnel.opened)))
    shapes: list[Shape] = [
        Label(x=20, y=36, text=f"From the order to the click, {funnel.edition}", size=27, is_bold=True),
        *_legend({family for stage in funnel.stages for family in stage.counts}),
    ]
    before: Stage | None = None
    for place, stage in enumerate(funnel.stages):
        shapes += _bar(stage, before, longest, y=_BAR_TOP + place * _BAR_STEP)
        before = stage
    shapes += _opened(funnel.opened, longest, y=_BAR_TOP + len(funnel.stages) * _BAR_STEP)
    shapes.append(Label(x=20, y=_HEIGHT - 41, text=f"Fell out: {_fell_out(funnel)}", size=17))
    figures = _mail_figures(funnel)
    note = f"%: of the bar above. {figures[:1].upper()}{figures[1:]}."
    shapes.append(Label(x=20, y=_HEIGHT - 15, text=note, size=16, colour=FAINT_INK))
    return Canvas(_WIDTH, _HEIGHT, shapes)


def _legend(families: Iterable[Family]) -> Iterable[Shape]:
    shown = [family for family in FAMILIES if family in set(families)]
    for place, family in enumerate(shown):
        x = 20 + place * 140
        yield Box(x=x, y=60, width=18, height=18, colour=_COLOURS[family])
        yield Label(x=x + 25, y=76, text=family, size=19, colour=FAINT_INK)


def _bar(stage: Stage, before: Stage | None, longest: int, *, y: float) -> Iterable[Shape]:
    yield Label(x=_BAR_LEFT - 12, y=y + 21, text=stage.name, size=19, anchor="end")
    left = float(_BAR_LEFT)
    for family in FAMILIES:
        width = stage.counts.get(family, 0) / longest * (_BAR_RIGHT - _BAR_LEFT)
        if width:
            yield Box(x=left, y=y, width=width, height=_BAR_HEIGHT, colour=_COLOURS[family])
        left += width
    yield Line(points=[(_BAR_LEFT, y - 7), (_BAR_LEFT, y + _BAR_HEIGHT + 7)], colour=FAINT_INK, width=1.5)
    is_known = stage.total is not None
    text = stage.text + _share(stage, before)
    yield Label(x=left + 8, y=y + 22, text=text, size=19, is_bold=is_known, colour=INK if is_known else FAINT_INK)


def _share(stage: Stage, before: Stage | None) -> str:
    """Return the share of the stage before. Tickets are not people, so between the two kinds there is none."""
    if before is None or not (stage.is_whole and before.is_whole) or not before.total or stage.total is None:
        return ""
    if (before.name.startswith("tickets")) != (stage.name.startswith("tickets")):
        return ""
    percent = 100 * stage.total / before.total
    return f" ({percent:.1f} %)" if _NEARLY_ALL <= percent < _ALL else f" ({percent:.0f} %)"


def _opened(stage: Stage, longest: int, *, y: float) -> Iterable[Shape]:
    """Draw opens as a thin outline next to the funnel: mail programs open mails by themselves."""
    width = (stage.total or 0) / longest * (_BAR_RIGHT - _BAR_LEFT)
    yield Label(x=_BAR_LEFT - 12, y=y + 19, text=stage.name, size=17, anchor="end", colour=FAINT_INK)
    corners = [(_BAR_LEFT, y + 4), (_BAR_LEFT + width, y + 4), (_BAR_LEFT + width, y + 22), (_BAR_LEFT, y + 22)]
    if width:
        yield Line(points=[*corners, corners[0]], colour=FAINT_INK, width=1.5, is_dashed=True)
    text = f"{stage.text}, inflated" if stage.total is not None else stage.text
    yield Label(x=_BAR_LEFT + width + 8, y=y + 19, text=text, size=16, colour=FAINT_INK)
