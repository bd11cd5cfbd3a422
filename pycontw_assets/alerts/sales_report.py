"""Orders -> counts by ticket, and days of counts -> the daily report. Pure; counts only.

A day is compared with the last one and with the same day of the edition before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date

from pycontw_assets.api.outlets import shorten
from pycontw_assets.ledger.reporting.sales import Counts, Figures
from pycontw_assets.records import FAMILIES, AttendeeRecord, Family

# Counts in the order of the report -> their words. The last of them are left out while there are none.
_WORDS = {"sold": "sold", "usable": "usable", "unpaid": "unpaid", "cancelled": "cancelled"}
_RARE = {"not_activated": "not activated", "unclear": "unclear"}


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    body: str


def count(records: Iterable[AttendeeRecord]) -> dict[str, Counts]:
    """Return the counts by ticket name. An attendee is one seat, so nobody is counted twice."""
    counts: dict[str, Counts] = {}
    for record in records:
        name = shorten(record.attendee.ticket_name or "") or "without a name"
        counts[name] = counts.get(name, Counts()) + _counts_of(record)
    return counts


def _counts_of(record: AttendeeRecord) -> Counts:
    state = record.ticket_state
    if state == "cancelled":
        return Counts(cancelled=1)
    if record.attendee.is_paid is True:
        return Counts(sold=1, usable=int(state == "usable"), not_activated=int(state == "not activated"))
    return Counts(unpaid=1) if record.attendee.is_paid is False else Counts(unclear=1)


def report(
    edition: str,
    days: Mapping[date, Figures],
    before: tuple[str, Mapping[date, Figures]] | None,
    *,
    is_compared: bool = False,
) -> Report | None:
    """Return the report of the last of ``days``; ``None``: it is the first one, with nothing to compare it with.

    ``is_compared``: the edition before is compared in another line of the message.
    """
    *earlier, today = sorted(days)
    if not earlier:
        return None
    now, then = days[today], days[earlier[-1]]
    more = _total(now).sold - _total(then).sold
    # Cancelled seats are not sold any more, so the number can fall.
    title = f"sales of {edition}: {f'{more:+}' if more else 'none'} since {earlier[-1]}, {_total(now).sold} in total"
    lines = [line for family in FAMILIES for line in _family_lines(family, now, then)]
    return Report(title, "\n".join([*lines, *(() if is_compared else _comparison(days, before))]))


def _family_lines(family: Family, now: Figures, then: Figures) -> Iterator[str]:
    tickets = sorted(name for its_family, name in now if its_family == family)
    if not tickets:
        return
    yield f"{family}: {_compared(_total(now, [family]), _total(then, [family]))}"
    for name in tickets:
        yield f"- {name}: {_compared(now[family, name], then.get((family, name), Counts()))}"


def _compared(now: Counts, then: Counts) -> str:
    today, before = asdict(now), asdict(then)
    rare = {name: word for name, word in _RARE.items() if today[name] or before[name]}
    words = {**_WORDS, **rare}.items()
    return ", ".join(f"{today[name]} {word} ({today[name] - before[name]:+})" for name, word in words)


def _comparison(days: Mapping[date, Figures], before: tuple[str, Mapping[date, Figures]] | None) -> Iterator[str]:
    """Yield the same day of the sale before, counted from the first sold ticket: conferences move within the year."""
    begin, old_begin = _begin(days), _begin(before[1]) if before else None
    if begin is None or before is None or old_begin is None:
        yield "no figures of last year"
        return
    passed = max(days) - begin
    reached = max(day for day in before[1] if day <= old_begin + passed)
    old, new = _total(before[1][reached]).sold, _total(days[max(days)]).sold
    yield f"day {passed.days + 1} of the sale; {before[0]} had sold {old} by then ({new - old:+})"


def _begin(days: Mapping[date, Figures]) -> date | None:
    return min((day for day, figures in days.items() if _total(figures).sold), default=None)


def _total(figures: Figures, families: Collection[Family] = FAMILIES) -> Counts:
    return sum((counts for (family, _), counts in figures.items() if family in families), Counts())
