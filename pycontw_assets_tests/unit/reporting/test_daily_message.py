"""The daily message has the money, the comparison, the pace and the link; a broken warehouse costs only those lines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from pycontw_assets.extract.events import Discovery
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.ledger.reporting.sales import Counts, record_sales
from pycontw_assets.load.readers.daily_sales import SalesDay
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.pipeline.maintenance import report_sales
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.reconcile import EventFacts
from pycontw_assets.pipeline.reporting.daily import Extras, money, read_extras
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.unit.conftest import PARTITION
from pycontw_assets_tests.unit.reporting.seasons import opening, sales_days, season
from pycontw_assets_tests.unit.reporting.test_pictures import row
from pycontw_assets_tests.unit.test_sales_figures import Sale

OPENINGS = {str(year): opening(str(year)) for year in range(2026, 2032)}
LINK = "https://dashboard.example.org"


class Days:
    """A warehouse that holds these days; ``None``: it cannot be read."""

    def __init__(self, days: Sequence[SalesDay] | None) -> None:
        self.days = days

    def select(self, *_: object, **__: object) -> list[tuple[Any, ...]]:
        if self.days is None:
            raise WarehouseError("the warehouse is locked")
        return [
            (
                d.edition,
                d.family,
                d.day.isoformat(),
                d.currency,
                d.tickets_paid,
                d.tickets_refunded,
                d.revenue,
                d.refunds,
            )
            for d in self.days
        ]  # fmt: skip


def day(edition: str, before_opening: int, number: int, *, back: int = 0) -> SalesDay:
    return SalesDay(
        edition=edition, family="individual", day=opening(edition) - timedelta(days=before_opening), currency="TWD",
        tickets_paid=number, tickets_refunded=back, revenue=2500.0 * number, refunds=2500.0 * back,
    )  # fmt: skip


def extras(days: Sequence[SalesDay] | None, now: date, **details: Any) -> Extras:
    noon = datetime(now.year, now.month, now.day, 4, tzinfo=timezone.utc)
    details = {"openings": OPENINGS, "funnel": (), "percent": None, **details}
    return read_extras("2031", noon, warehouse=Days(days), **details)  # type: ignore[arg-type]


def test_revenue_is_compared_with_the_same_day_before_the_opening_of_the_edition_before() -> None:
    days = [
        day("2030", 60, 30), day("2030", 40, 10, back=2), day("2030", 39, 7),
        day("2031", 50, 40), day("2031", 40, 5, back=1), day("2031", 39, 99),
    ]  # fmt: skip
    found = extras(days, opening("2031") - timedelta(days=39))
    assert found.lines == (
        "revenue by 2031-07-26, refunds taken off: 110,000 TWD; on that day +10,000 TWD",
        "40 days before the opening day: 44 corporate and individual tickets; 2030 had 38 (+6) and 95,000 TWD "
        "(+15,000 TWD)",
    )
    assert found.is_compared


def test_without_opening_days_the_same_day_of_the_sale_is_compared() -> None:
    days = [day("2030", 60, 30), day("2030", 59, 5), day("2030", 57, 9), day("2031", 50, 40), day("2031", 48, 1)]
    found = extras(days, opening("2031") - timedelta(days=47), openings={})
    assert found.lines[1] == (
        "by day 3 of the sale: 41 corporate and individual tickets; 2030 had 35 (+6) and 87,500 TWD (+15,000 TWD)"
    )


def test_range_week_and_funnel_have_a_line_each_and_a_weak_week_is_a_finding() -> None:
    chance = random.Random(5)
    days = [d for edition in list(OPENINGS)[:-1] for d in sales_days(edition, season(chance, edition, 500))]
    days += sales_days("2031", season(chance, "2031", 500), until=-36)
    found = extras(days, opening("2031") - timedelta(days=28), percent=100, funnel=[row("individual")])
    assert [line.partition(":")[0] for line in found.lines[2:]] == [
        "expected by the opening day", "last seven days", "funnel",
    ]  # fmt: skip
    assert found.findings
    assert extras(days, opening("2031") - timedelta(days=28)).findings == ()


def test_an_unreadable_warehouse_costs_its_lines_and_decides_nothing() -> None:
    found = extras(None, date(2031, 7, 1), funnel=[row("individual")], link=LINK)
    assert found.lines[0] == "revenue: not known, because the tables could not be read"
    assert found.lines[1].startswith("funnel: ")
    assert (found.is_known, found.is_compared, found.link) == (False, False, LINK)


def test_before_the_first_sale_nothing_is_said_of_another_edition() -> None:
    assert extras([], date(2031, 7, 1)).lines == ()
    others = [day("2030", 60, 30), SalesDay(edition="2032", family="individual", day=date(2031, 6, 1), currency="TWD",
                                            tickets_paid=5, tickets_refunded=0, revenue=1, refunds=0)]  # fmt: skip
    assert extras(others, date(2031, 7, 1)).lines == ()


@pytest.mark.parametrize(
    ("sums", "expected"),
    [({}, "nothing"), ({"TWD": 2500.0}, "2,500 TWD"), ({"TWD": 0.5, "USD": 10.0}, "0.50 TWD, 10 USD")],
)
def test_money_has_its_currency_and_cents_only_where_there_are_some(sums: dict[str, float], expected: str) -> None:
    assert money(sums) == expected


# -- in the report ------------------------------------------------------------------------------------


def report(ledger: Ledger, extras: Extras, *, is_on_sale: bool = True) -> Channels:
    """Report the second day of a sale."""
    sale = Sale(ledger)
    record_sales(ledger, "2031", ledger.clock().date() - timedelta(days=1), {("individual", "Early"): Counts(sold=1)})
    book = BookReading(frozenset({0, 1})) if is_on_sale else None
    event = EventFacts(PARTITION, book, last_poll(ledger, PARTITION.key))
    tick = Tick(Discovery("2031", (PARTITION,), ()), (), {PARTITION.key: event}, {}, template_due=False)
    report_sales(
        tick, ledger=ledger, vault=sale, alerts=sale.channels, read_extras=lambda _edition, _now: extras  # type: ignore[arg-type]
    )  # fmt: skip
    return sale.channels


def pace_problems(ledger: Ledger) -> list[str]:
    return [problem.text for problem in open_problems(ledger) if problem.subject == "the pace of the sale"]


def test_the_summary_comes_first_and_the_comparison_is_said_once(ledger: Ledger) -> None:
    [(_, _, body)] = report(ledger, Extras(lines=("revenue: much",), is_compared=True, is_known=True)).taken
    assert body.startswith("revenue: much\nindividual: ")
    assert "last year" not in body


def test_a_finding_about_the_pace_stays_open_until_it_is_known_to_be_over(ledger: Ledger) -> None:
    report(ledger, Extras(findings=("ticket sales of 2031 are behind: 0 sold",), is_known=True))
    assert pace_problems(ledger) == ["ticket sales of 2031 are behind: 0 sold"]
    ledger.clock.advance(hours=24)  # type: ignore[attr-defined]
    report(ledger, Extras(is_known=False))
    assert pace_problems(ledger)
    ledger.clock.advance(hours=24)  # type: ignore[attr-defined]
    report(ledger, Extras(is_known=True))
    assert pace_problems(ledger) == []


def test_a_sale_that_is_over_has_no_pace(ledger: Ledger) -> None:
    report(ledger, Extras(findings=("ticket sales of 2031 are behind: 0 sold",), is_known=True))
    report(ledger, Extras(), is_on_sale=False)
    assert pace_problems(ledger) == []


def test_nothing_is_read_or_drawn_when_the_report_has_been_sent(ledger: Ledger) -> None:
    report(ledger, Extras())
    drawn: list[str] = []
    channels = report(ledger, Extras(lines=("again",), draw=lambda: drawn.append("drawn") or ()))  # type: ignore[func-returns-value]
    assert drawn == []
    assert channels.taken == []
