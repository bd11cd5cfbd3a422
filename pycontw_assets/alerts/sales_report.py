"""How many tickets were sold until when, by family and ticket, and what is told of it once a day. Counts only.

One row per day and ticket lies beside the ledger: so that a day can be compared with the last one and with the same day
of the edition before, whatever became of its orders. Who counts and who sends is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import date

import sqlalchemy as sa

from pycontw_assets.extract.orders import ticket_state
from pycontw_assets.ledger.engine import create_missing
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import upsert
from pycontw_assets.records import FAMILIES, AttendeeRecord, Family

_WORDS = {"pending": "unpaid"}
_tables = sa.MetaData()
sales = sa.Table(
    "sales",
    _tables,
    sa.Column("edition", sa.String, primary_key=True),
    sa.Column("family", sa.String, primary_key=True),
    sa.Column("ticket", sa.String, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("sold", sa.Integer, nullable=False),
    sa.Column("usable", sa.Integer, nullable=False),
    sa.Column("pending", sa.Integer, nullable=False),
    sa.Column("cancelled", sa.Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Attendees. ``sold``: paid and not cancelled; ``usable``: of these, whoever is let in; ``pending``: unpaid."""

    sold: int = 0
    usable: int = 0
    pending: int = 0
    cancelled: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


Ticket = tuple[Family, str]
Figures = Mapping[Ticket, Counts]


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    body: str


class Sales:
    """The table, beside the ledger's own."""

    def __init__(self, ledger: Ledger) -> None:
        self._engine = ledger.engine
        create_missing(self._engine, _tables)

    def record(self, edition: str, day: date, figures: Figures) -> None:
        with self._engine.begin() as db:
            for (family, ticket), counts in figures.items():
                key = {"edition": edition, "family": family, "ticket": ticket, "day": day}
                upsert(db, sales, key, asdict(counts))

    def days(self, edition: str) -> dict[date, dict[Ticket, Counts]]:
        """Every recorded day of an edition, the first one first."""
        query = sa.select(sales).where(sales.c.edition == edition).order_by(sales.c.day)
        found: dict[date, dict[Ticket, Counts]] = {}
        with self._engine.begin() as db:
            for row in db.execute(query):
                counts = Counts(row.sold, row.usable, row.pending, row.cancelled)
                found.setdefault(row.day, {})[row.family, row.ticket] = counts
        return found

    def edition_before(self, edition: str) -> str | None:
        with self._engine.begin() as db:
            earlier: str | None = db.scalar(sa.select(sa.func.max(sales.c.edition)).where(sales.c.edition < edition))
        return earlier


def count(records: Iterable[AttendeeRecord]) -> dict[str, Counts]:
    """Ticket name -> counts. An attendee is one seat, so nobody is counted twice."""
    found: dict[str, Counts] = {}
    for record in records:
        name = record.attendee.ticket_name or "without a name"
        found[name] = found.get(name, Counts()) + _counts_of(record)
    return found


def _counts_of(record: AttendeeRecord) -> Counts:
    state = ticket_state(record)
    if state == "cancelled":
        return Counts(cancelled=1)
    if record.attendee.is_paid is True:
        return Counts(sold=1, usable=int(state == "usable"))
    return Counts(pending=1)


def report(
    edition: str, days: Mapping[date, Figures], before: tuple[str, Mapping[date, Figures]] | None
) -> Report | None:
    """What is told on the last of ``days``; ``None``: it is the first one, with nothing to compare it with."""
    *earlier, today = sorted(days)
    if not earlier:
        return None
    now, then = days[today], days[earlier[-1]]
    more = _total(now).sold - _total(then).sold
    # Cancelled seats are not sold any more, so the number can fall.
    title = f"sales of {edition}: {f'{more:+}' if more else 'none'} since {earlier[-1]}, {_total(now).sold} in total"
    lines = [line for family in FAMILIES for line in _family_lines(family, now, then)]
    return Report(title, "\n".join([*lines, *_comparison(days, before)]))


def _family_lines(family: Family, now: Figures, then: Figures) -> Iterator[str]:
    tickets = sorted(name for its_family, name in now if its_family == family)
    if not tickets:
        return
    yield f"{family}: {_compared(_total(now, [family]), _total(then, [family]))}"
    for name in tickets:
        yield f"- {name}: {_compared(now[family, name], then.get((family, name), Counts()))}"


def _compared(now: Counts, then: Counts) -> str:
    before = asdict(then)
    return ", ".join(
        f"{number} {_WORDS.get(name, name)} ({number - before[name]:+})" for name, number in asdict(now).items()
    )


def _comparison(days: Mapping[date, Figures], before: tuple[str, Mapping[date, Figures]] | None) -> Iterator[str]:
    """The same day of the sale, counted from the first sold ticket: conferences move within the year."""
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
