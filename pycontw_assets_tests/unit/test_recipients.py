"""Recipients of sent campaigns are compared with their batches, rarely, and a shortfall is told."""

from __future__ import annotations

from typing import Any

import pytest

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import record_failure
from pycontw_assets.ledger.reporting.unreachable import refused_addresses
from pycontw_assets.send_email.recipients import compare_recipients
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, keys
from pycontw_assets_tests.unit.test_campaign import EDITION, ONE, THREE, TWO, invite, let_in, state_of


@pytest.fixture
def klaviyo(clock: Any) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def compare(klaviyo: Any, ledger: Ledger, *, most_asked: int = 200, **later: int) -> list[str]:
    ledger.clock.advance(**later)  # type: ignore[attr-defined]
    return list(compare_recipients(klaviyo=klaviyo, ledger=ledger, most_asked=most_asked))


def send(klaviyo: FakeKlaviyo, ledger: Ledger, *addresses: str, lost: int = 0) -> None:
    """Send a campaign that Klaviyo calls sent. It leaves the last ``lost`` of its people out."""
    klaviyo.left_out = set(addresses[len(addresses) - lost :])
    let_in(ledger, *addresses)
    invite(klaviyo, ledger, *addresses)
    klaviyo.left_out = set()


def test_a_campaign_that_reached_everybody_is_asked_about_once(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO)
    assert compare(klaviyo, ledger, minutes=59) == []
    assert klaviyo.calls["count_recipients"] == 0, "not before the report may know it"
    for _ in range(30):
        assert compare(klaviyo, ledger, hours=1) == []
    assert klaviyo.calls["count_recipients"] == 1


def test_people_whom_klaviyo_left_out_are_told_and_listed_as_unreachable(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO, THREE, lost=1)
    for _ in range(3):
        [problem] = compare(klaviyo, ledger, hours=1)
        assert "reached 2 of 3 people" in problem
    assert klaviyo.calls["count_recipients"] == 1
    assert refused_addresses(ledger, EDITION, PARTITION.key) == dict.fromkeys(keys(THREE), "left out of its campaign")
    assert (state_of(ledger, ONE), state_of(ledger, THREE)) == ("accepted", "unreachable")
    assert not find_newcomers(ledger, PARTITION.key, EDITION), "perhaps the mail reached them all the same"
    assert compare(klaviyo, ledger, days=8) == []


def test_a_late_report_is_asked_again_every_hour_and_blames_nobody(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO)
    klaviyo.reported = -1
    for _ in range(60):
        assert compare(klaviyo, ledger, minutes=5) == []
    assert klaviyo.calls["count_recipients"] == 5
    assert state_of(ledger, ONE) == state_of(ledger, TWO) == "accepted"
    klaviyo.reported = 0
    assert compare(klaviyo, ledger, hours=1) == []


@pytest.mark.parametrize("call", ["metrics", "count_recipients", "profile_events"])
def test_a_report_that_cannot_be_read_for_a_day_is_told(klaviyo: FakeKlaviyo, ledger: Ledger, call: str) -> None:
    send(klaviyo, ledger, ONE, TWO, lost=1)
    klaviyo.faults.fail(call, Unavailable("Klaviyo", call, "answered 503"), times=99)
    for _ in range(23):
        assert compare(klaviyo, ledger, hours=1) == []
    [problem] = compare(klaviyo, ledger, hours=2)
    assert "1 sent campaigns could not be compared" in problem
    assert "metrics:read" in problem
    assert klaviyo.calls["metrics"] <= 24
    klaviyo.faults.mend()
    [problem] = compare(klaviyo, ledger, hours=1)
    assert "reached 1 of 2 people" in problem


def test_nothing_is_overdue_because_no_tick_came_for_days(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO)
    assert compare(klaviyo, ledger, days=3) == []
    assert klaviyo.calls["count_recipients"] == 1


def test_a_report_without_the_campaign_is_not_a_report_of_nobody(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO)
    klaviyo.reported = None
    assert compare(klaviyo, ledger, hours=2) == []
    assert state_of(ledger, ONE) == "accepted"


def test_many_people_are_not_asked_about_one_by_one(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE, TWO, THREE, lost=1)
    assert compare(klaviyo, ledger, most_asked=2, hours=2) == []
    [problem] = compare(klaviyo, ledger, most_asked=2, hours=5)
    assert "reached 2 of 3 people, says Klaviyo; see there who was left out" in problem
    assert klaviyo.calls["profile_events"] == 0


def test_a_klaviyo_that_is_down_is_not_asked_for_reports(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send(klaviyo, ledger, ONE)
    record_failure(ledger, PARTITION.key, "klaviyo_campaign", cause="Klaviyo", text="Klaviyo: answered 503")
    assert compare(klaviyo, ledger, hours=2) == []
    assert klaviyo.calls["metrics"] == 0
