"""An answer that cannot be read costs itself: its buyer is let in, mailed and has a row, and the poll was good."""

from __future__ import annotations

from typing import Any

import pytest

from pycontw_assets.commands.poll import describe_poll
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough

ODD: dict[str, dict[str, Any]] = {
    "half@example.org": {"data": [["Nickname / 暱稱", "Mei \ud83d"]]},
    "half-name@example.org": {"data": [["聯絡人 姓名", "\udf1f"]], "ticket_name": "Regular \ud83d"},
    "one@example.org": {"data": [["only a label"]]},
    "three@example.org": {"data": [["Company / 服務單位", "Example", None]]},
    "null-label@example.org": {"data": [[None, "Mei"]]},
    "object-label@example.org": {"data": [[{"zh": "暱稱"}, "Mei"]]},
    "deep@example.org": {"data": [["Nickname / 暱稱", [[[[[[[[["Mei"]]]]]]]]]]]},
    "long@example.org": {"ticket_name": "T" * 201, "data": [["Nickname / 暱稱", "M" * 10_001]]},
    "words@example.org": {"payment_method": "Mei Chen", "currency": "mei"},
    "objects@example.org": {"payment_method": {"holder": "Mei Chen"}, "currency": ["Mei Chen"], "ticket_type": 7},
}


def test_one_odd_answer_keeps_nobody_out(pipeline: Pipeline, world: World, event: int) -> None:
    for address, members in ODD.items():
        [number] = world.sell(event, address=address)
        world.kktix.override(number, **{**members, "data": [*members.get("data", []), ["聯絡人 Email", address]]})
    report = pipeline.poll()
    assert report.ok
    assert pipeline.guests() == set(pipeline.mailed()) == set(ODD)
    rows = pipeline.tables()["individual"]
    assert len(rows) == len(ODD)
    assert all(row["email_sha256"] for row in rows)
    text = "\n".join(describe_poll(report))
    assert "answers withheld 11" in text
    assert "answers or fields cannot be read and are left out" in text
    assert "Mei" not in text
    assert pipeline.grep_home(["Mei Chen"]) == []
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_quarantined_buyer_is_shown_and_the_poll_is_good(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address="anna@example.org")
    [odd] = world.sell(event, address="mei@example.org")
    world.kktix.override(odd, data=None)
    report = pipeline.poll()
    assert report.ok
    assert f"attendee {odd}: its form has no contact address that can be read" in "\n".join(describe_poll(report))
    assert pipeline.guests() == {"anna@example.org"}
    world.kktix.override(odd)
    assert pipeline.later_poll().ok
    assert pipeline.guests() == {"anna@example.org", "mei@example.org"}


@pytest.mark.long
def test_one_odd_event_and_one_odd_guest_cost_themselves(pipeline: Pipeline, world: World, event: int) -> None:
    world.add_event("PyCon TW 2031 Registration: Corporate", event_id=2**64)
    world.add_guest("\ud83d@example.org", {"name": "Mei"})
    [leaving] = world.sell(event, address="anna@example.org")
    report = pipeline.poll()
    assert report.ok
    assert "1 of 2 listed events have no usable id or name and are left alone" in report.tick.warnings
    assert "anna@example.org" in pipeline.guests()
    assert pipeline.mailed() == ["anna@example.org"]
    world.refund(leaving)
    world.sell(event, address="ben@example.com")
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert "1 entries of Gather's guest list cannot be read" in "\n".join(describe_poll(report))
    assert "\ud83d@example.org" in pipeline.guests()
    assert sorted(pipeline.mailed()) == ["anna@example.org", "ben@example.com"]
