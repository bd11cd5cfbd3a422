"""The range that is stated holds the outcome; a week that falls behind is found, and a good one is left alone."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import pytest

from pycontw_assets.pipeline.reporting.curves import Curve, SalesCurves, sales_curves
from pycontw_assets.pipeline.reporting.daily import pace_findings
from pycontw_assets.pipeline.reporting.pace import Range, expected_at_opening, is_behind, last_week
from pycontw_assets_tests.unit.reporting.seasons import curve, opening, sales_days, season

SEASONS, FORMER = 200, ("2026", "2027", "2028", "2029", "2030")
DOCS = Path(__file__).parents[3] / "docs" / "sales.md"


def curves(chance: random.Random, day: int, former: tuple[str, ...] = FORMER) -> tuple[SalesCurves, int]:
    """Return what is known on a day of an invented season, and the tickets that it ended with."""
    seasons = {edition: season(chance, edition, chance.uniform(300, 900)) for edition in (*former, "2031")}
    known = SalesCurves(
        axis="opening",
        running=curve("2031", seasons["2031"], day),
        earlier=tuple(curve(edition, seasons[edition]) for edition in former),
        as_of=opening("2031") + timedelta(days=day),
    )
    return known, sum(seasons["2031"].values())


def back_test(day: int, former: tuple[str, ...] = FORMER) -> tuple[float, float]:
    """Return how often the range held, and its median width, both in percent (the width: of the outcome)."""
    chance, held, widths = random.Random(day), 0, []
    for _ in range(SEASONS):
        known, outcome = curves(chance, day, former)
        found = expected_at_opening(known)
        assert found
        held += found.low <= outcome <= found.high
        widths.append(100 * (found.high - found.low) / outcome)
    return 100 * held / SEASONS, median(widths)


@pytest.mark.parametrize(("days_before", "most_width"), [(56, 75), (28, 45), (7, 25)])
def test_the_range_holds_four_of_five_outcomes_and_the_docs_say_how_wide_it_is(
    days_before: int, most_width: float
) -> None:
    held, width = back_test(-days_before)
    assert held >= 80
    assert width <= most_width
    assert re.search(rf"^\| {days_before} \| 5 \| {held:.0f} % \| {width:.0f} % \|$", DOCS.read_text(), re.M)


def test_with_three_former_editions_the_range_is_wider_and_holds_as_well() -> None:
    held, width = back_test(-28, FORMER[-3:])
    assert held >= 80
    assert width > back_test(-28)[1]
    assert re.search(rf"^\| 28 \| 3 \| {held:.0f} % \| {width:.0f} % \|$", DOCS.read_text(), re.M)


def test_a_good_week_raises_no_alarm_and_a_week_without_sales_does() -> None:
    chance, false_alarms, found = random.Random(4), 0, 0
    for _ in range(SEASONS):
        known, _ = curves(chance, -28)
        week = last_week(known)
        assert week
        false_alarms += is_behind(week, 100)
        totals = dict(known.running.totals)
        for day in range(-34, -27):
            totals[day] = totals[-35]
        stopped = SalesCurves(axis="opening", running=Curve("2031", totals), earlier=known.earlier, as_of=known.as_of)
        standing = last_week(stopped)
        assert standing
        assert standing.sold == 0
        found += is_behind(standing, 100)
    assert false_alarms <= 0.15 * SEASONS
    assert found == SEASONS


def flat(edition: str, per_day: int, until: int = 0) -> Curve:
    return Curve(edition, {day: per_day * (day + 61) for day in range(-60, until + 1)})


def known(per_day: int, former: int, day: int = -20) -> SalesCurves:
    return SalesCurves(
        axis="opening",
        running=flat("2031", per_day, day),
        earlier=tuple(flat(f"202{number}", 5 + number) for number in range(former)),
        as_of=date(2031, 8, 15),
    )


def test_equal_curves_leave_no_doubt() -> None:
    assert expected_at_opening(known(10, 3)) == Range(609, 610, 611) or expected_at_opening(known(10, 3)) == Range(
        610, 610, 610
    )


@pytest.mark.parametrize(
    "too_little",
    [known(10, 2), known(0, 4), known(10, 4, day=0)],
    ids=["two_editions", "nothing_sold", "the_opening_day_has_come"],
)
def test_nothing_is_expected_from_too_little(too_little: SalesCurves) -> None:
    assert expected_at_opening(too_little) is None
    assert last_week(too_little) is None


def test_without_an_opening_day_nothing_is_expected() -> None:
    chance = random.Random(1)
    days = [day for edition in FORMER for day in sales_days(edition, season(chance, edition, 500))]
    found = sales_curves(days, {}, date(2030, 12, 1))
    assert found
    assert found.axis == "first sale"
    assert expected_at_opening(found) is None
    assert last_week(found) is None


def test_the_alarm_is_off_until_a_threshold_is_set() -> None:
    totals = {day: 10 * (min(day, -27) + 61) for day in range(-60, -19)}
    standing = SalesCurves(
        axis="opening", running=Curve("2031", totals), earlier=known(10, 4).earlier, as_of=date(2031, 8, 15)
    )
    assert list(pace_findings(standing, None)) == []
    [text] = pace_findings(standing, 50)
    assert text.startswith("ticket sales of 2031 are behind: 0 sold in the seven days until 2031-08-15, and former")
    assert list(pace_findings(known(10, 4), 100)) == []
    assert list(pace_findings(None, 100)) == []
