"""The report of a day's sales is compared with the last report and with the same day of the sale a year ago."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from pycontw_assets.alerts.sales_report import count, report
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.sales import Counts, Figures, edition_before, record_sales, sales_by_day
from pycontw_assets.records import Attendee, AttendeeRecord

SEEN = datetime(2031, 6, 1, tzinfo=timezone.utc)


def day(number: int, year: int = 2031) -> date:
    return date(year, 6, number)


def sold(number: int, ticket: str = "Early bird") -> Figures:
    return {("individual", ticket): Counts(sold=number, usable=number)}


def record(
    *, ticket: str | None = "Early bird", paid: bool | None = True, gone: bool = False, state: str = "activated"
) -> AttendeeRecord:
    attendee = Attendee(attendee_id=700101, is_paid=paid, state=state, answers=(), ticket_name=ticket)
    return AttendeeRecord(attendee, SEEN, gone_at=SEEN if gone else None)


def test_every_attendee_counts_once_where_it_stands() -> None:
    records = [
        record(),
        record(state="pending"),
        record(paid=False),
        record(paid=None),
        record(gone=True),
        record(paid=False, gone=True),
        record(ticket=None),
    ]
    assert count(records) == {
        "Early bird": Counts(sold=2, usable=1, unpaid=1, cancelled=2, not_activated=1, unclear=1),
        "without a name": Counts(sold=1, usable=1),
    }


def test_the_first_day_has_nothing_to_be_compared_with() -> None:
    assert report("2031", {day(1): sold(5)}, None) is None


def test_a_day_is_compared_with_the_one_before() -> None:
    now: Figures = {
        ("individual", "Early bird"): Counts(300, 298, 4, 9),
        ("individual", "Regular"): Counts(12, 12, 1, 0),
        ("corporate", "Team"): Counts(5, 5, 0, 0),
    }
    then: Figures = {("individual", "Early bird"): Counts(301, 299, 4, 8), ("corporate", "Team"): Counts(5, 5, 0, 0)}
    news = report("2031", {day(1): then, day(3): now}, None)
    assert news
    assert news.title == "sales of 2031: +11 since 2031-06-01, 317 in total"
    assert news.body.splitlines() == [
        "corporate: 5 sold (+0), 5 usable (+0), 0 unpaid (+0), 0 cancelled (+0)",
        "- Team: 5 sold (+0), 5 usable (+0), 0 unpaid (+0), 0 cancelled (+0)",
        "individual: 312 sold (+11), 310 usable (+11), 5 unpaid (+1), 9 cancelled (+1)",
        "- Early bird: 300 sold (-1), 298 usable (-1), 4 unpaid (+0), 9 cancelled (+1)",
        "- Regular: 12 sold (+12), 12 usable (+12), 1 unpaid (+1), 0 cancelled (+0)",
        "no figures of last year",
    ]


def test_a_paid_ticket_that_is_not_activated_is_not_called_unpaid() -> None:
    now: Figures = {("individual", "Early bird"): Counts(sold=3, usable=2, unpaid=1, not_activated=1)}
    news = report("2031", {day(1): sold(2), day(2): now}, None)
    assert news
    assert news.body.splitlines()[1] == (
        "- Early bird: 3 sold (+1), 2 usable (+0), 1 unpaid (+1), 0 cancelled (+0), 1 not activated (+1)"
    )


def test_a_day_without_sales_is_reported_too() -> None:
    news = report("2031", {day(1): sold(5), day(2): sold(5)}, None)
    assert news
    assert news.title == "sales of 2031: none since 2031-06-01, 5 in total"


@pytest.mark.parametrize(
    ("old_day", "expected"),
    [(14, "2030 had sold 80 by then (-30)"), (15, "2030 had sold 40 by then (+10)")],
    ids=["a_figure_of_that_day", "the_last_figure_before_it"],
)
def test_last_year_is_compared_by_the_day_of_the_sale(old_day: int, expected: str) -> None:
    nobody: Figures = {("individual", "no tickets yet"): Counts()}
    days = {day(1): nobody, day(3): sold(10), day(5): sold(50)}
    old = {day(10, 2030): nobody, day(12, 2030): sold(40), day(old_day, 2030): sold(80), day(20, 2030): sold(200)}
    news = report("2031", days, ("2030", old))
    assert news
    assert news.body.splitlines()[-1] == f"day 3 of the sale; {expected}"


def test_figures_of_a_day_replace_earlier_ones(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    for edition, number in (("2028", 1), ("2030", 2), ("2031", 3), ("2031", 4)):
        record_sales(ledger, edition, day(1), sold(number))
    assert sales_by_day(ledger, "2031") == {day(1): sold(4)}
    assert (edition_before(ledger, "2031"), edition_before(ledger, "2028")) == ("2030", None)
