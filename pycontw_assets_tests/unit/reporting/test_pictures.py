"""The pictures show what the data says. Their data is tested, and that they can be drawn; not their pixels."""

from __future__ import annotations

import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

import pytest

from pycontw_assets.load.readers.daily_sales import SalesDay
from pycontw_assets.pipeline.reporting.canvas import NoPicture
from pycontw_assets.pipeline.reporting.curves import sales_curves
from pycontw_assets.pipeline.reporting.funnel import FunnelRow
from pycontw_assets.pipeline.reporting.pictures import (
    funnel_data,
    funnel_line,
    funnel_picture,
    funnel_svg,
    sales_headline,
    sales_picture,
    sales_svg,
)
from pycontw_assets.records import Family
from pycontw_assets_tests.unit.reporting.seasons import opening, sales_days, season

AS_OF = datetime(2031, 7, 24, 8, 5, tzinfo=timezone.utc)
MOST_BYTES = 60_000  # of a picture in Dagster's event log
EDITIONS = ("2028", "2029", "2030", "2031")
OPENINGS = {edition: opening(edition) for edition in EDITIONS}


def sold(day: date, number: int, *, family: Family = "individual", edition: str = "2031", back: int = 0) -> SalesDay:
    return SalesDay(
        edition=edition, family=family, day=day, currency="TWD", tickets_paid=number, tickets_refunded=back,
        revenue=2500.0 * number, refunds=2500.0 * back,
    )  # fmt: skip


def years(chance: random.Random, until: int = -40) -> list[SalesDay]:
    return [
        day
        for edition in EDITIONS
        for day in sales_days(edition, season(chance, edition, 600), until=until if edition == "2031" else 0)
    ]


def row(family: Family, **counts: int | None) -> FunnelRow:
    known = {
        "tickets_ordered": 12, "tickets_paid": 10, "let_in": 9, "invited": 8, "delivered": 7, "clicked": 5, "opened": 6,
        "unreachable": 1, "bounced": 1, "unsubscribed": 0,
    }  # fmt: skip
    return FunnelRow(edition="2031", family=family, as_of=AS_OF, **{**known, **counts})  # type: ignore[arg-type]


# -- curves -------------------------------------------------------------------------------------------


def test_a_curve_adds_up_what_was_sold_and_takes_refunds_off() -> None:
    first = date(2031, 8, 1)
    days = [
        sold(first, 3),
        sold(first, 2, family="corporate"),
        sold(first, 50, family="reserved"),
        sold(first + timedelta(days=2), 4, back=1),
    ]
    found = sales_curves(days, {"2031": date(2031, 8, 11)}, date(2031, 8, 4))
    assert found
    assert found.running.totals == {-10: 5, -9: 5, -8: 8, -7: 8}
    assert found.as_of == date(2031, 8, 4)
    assert sales_headline(found) == "8 sold by 2031-08-04, 7 days before the opening"


def test_former_editions_are_compared_by_days_before_their_own_opening_day() -> None:
    days = [sold(date(2030, 5, 1), 9, edition="2030"), sold(date(2030, 9, 20), 1, edition="2030"), sold(
        date(2029, 5, 1), 7, edition="2029"), sold(date(2031, 6, 1), 1)]  # fmt: skip
    found = sales_curves(days, {"2031": date(2031, 9, 1), "2030": date(2030, 8, 1)}, date(2031, 6, 3))
    assert found
    # Sold at the door, after the opening day; and an edition whose opening day nobody gave.
    assert [(curve.edition, curve.last_day, curve.sold) for curve in found.earlier] == [("2030", 0, 9)]
    assert min(found.earlier[0].totals) == -92


def test_without_an_opening_day_days_count_from_the_first_sale() -> None:
    days = [sold(date(2030, 5, 1), 9, edition="2030"), sold(date(2031, 6, 1), 1)]
    found = sales_curves(days, {"2030": date(2030, 8, 1)}, date(2031, 6, 3))
    assert found
    assert found.axis == "first sale"
    assert found.running.totals == {0: 1, 1: 1, 2: 1}
    assert sales_headline(found) == "1 sold by 2031-06-03, day 3 of the sale"
    assert sales_curves([], {}, date(2031, 6, 3)) is None


# -- the funnel ---------------------------------------------------------------------------------------


def test_the_funnel_is_that_of_the_newest_edition_family_by_family() -> None:
    old = FunnelRow(**{name: getattr(row("individual"), name) for name in FunnelRow.__dataclass_fields__}
                    | {"edition": "2030"})  # fmt: skip
    found = funnel_data([row("individual"), old, row("corporate", clicked=3)])
    assert found
    assert found.edition == "2031"
    assert [stage.total for stage in found.stages] == [24, 20, 18, 16, 14, 8]
    assert found.stages[-1].counts == {"corporate": 3, "individual": 5}
    assert found.as_of == AS_OF
    assert funnel_data([]) is None


def test_what_is_not_known_is_never_shown_as_nothing() -> None:
    found = funnel_data([row("individual", clicked=None, delivered=None), row("corporate", delivered=None)])
    assert found
    *_, delivered, clicked = found.stages
    assert (delivered.total, delivered.text) == (None, "not known")
    assert (clicked.total, clicked.text) == (5, "at least 5")


def test_the_funnel_fits_into_one_line() -> None:
    assert funnel_line([row("individual"), row("corporate", bounced=None)]) == (
        "funnel: 24 ordered, 20 paid, 18 let in, 16 invited, 14 delivered, 10 clicked (12 opened, inflated); fell out: "
        "2 unreachable, at least 1 bounced, 0 unsubscribed; mail figures of 2031-07-24 08:05 UTC"
    )
    assert "delivered: not known" in funnel_line([row("individual", delivered=None)])
    assert funnel_line([]) == ""


# -- drawing ------------------------------------------------------------------------------------------


def sheets() -> Sequence[str]:
    curves = sales_curves(years(random.Random(1)), OPENINGS, opening("2031") - timedelta(days=40))
    funnel = funnel_svg([row("individual"), row("corporate"), row("reserved", clicked=None)])
    assert curves
    assert funnel
    return sales_svg(curves), funnel


@pytest.mark.parametrize("sheet", sheets(), ids=["sales", "funnel"])
def test_a_picture_names_axes_units_and_the_date_of_its_data_and_is_small(sheet: str) -> None:
    texts = [element.text or "" for element in ElementTree.fromstring(sheet).iter() if element.tag.endswith("text")]
    assert any("2031-07-2" in text for text in texts)
    assert any(text.startswith(("days before the opening day", "people let in")) for text in texts)
    assert any("tickets" in text for text in texts)
    assert len(sheet.encode()) * 4 / 3 < MOST_BYTES
    sizes = [float(e.attrib["font-size"]) for e in ElementTree.fromstring(sheet).iter() if "font-size" in e.attrib]
    assert min(sizes) >= 16  # on a phone half of it


@pytest.mark.parametrize("until", [-109, -100, -40, 0])
@pytest.mark.parametrize("has_openings", [True, False], ids=["by_opening_day", "by_first_sale"])
def test_every_stage_of_a_sale_can_be_drawn_within_the_sheet(until: int, has_openings: bool) -> None:
    days = years(random.Random(3), until)
    curves = sales_curves(days, OPENINGS if has_openings else {}, opening("2031") + timedelta(days=until))
    assert curves
    numbers = [
        float(number)
        for element in ElementTree.fromstring(sales_svg(curves)).iter()
        for name in ("x", "y")
        for number in [element.attrib.get(name, "0")]
    ]
    assert all(0 <= number <= 640 for number in numbers)


def test_a_chat_gets_pngs() -> None:
    curves = sales_curves(years(random.Random(1)), OPENINGS, opening("2031") - timedelta(days=40))
    assert curves
    for png in (sales_picture(curves), funnel_picture([row("individual")])):
        assert png
        assert png.startswith(b"\x89PNG")
        assert len(png) < 200_000
    assert funnel_picture([]) is None


def test_without_the_library_there_is_no_png_and_the_ui_has_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NoPicture, match="pip install"):
        funnel_picture([row("individual")])
    assert funnel_svg([row("individual")])


def test_drawing_for_the_ui_does_not_load_the_library() -> None:
    program = (
        "import sys\nfrom pycontw_assets_tests.unit.reporting.test_pictures import sheets\n"
        "assert sheets() and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
