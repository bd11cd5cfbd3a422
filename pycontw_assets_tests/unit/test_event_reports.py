"""Events of Klaviyo say which mails left, who was invited before a ledger was lost, and how the set-up stands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from pycontw_assets.api.client import Unavailable
from pycontw_assets.commands.way_check import check_way
from pycontw_assets.ledger.batches import Batch, Invitation
from pycontw_assets.ledger.by_event.mails import count_unseen
from pycontw_assets.ledger.grants import Grant
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.send_email.by_event.events_client import Flow, Metric, RecordedEvent
from pycontw_assets.send_email.by_event.invitation_event import event_id, event_properties
from pycontw_assets.send_email.by_event.mail_watch import UNSEEN_AFTER, watch_mails
from pycontw_assets.send_email.by_event.rebuild_from_events import (
    continued,
    count_unknown_events,
    find_events,
    merged,
    rebuild_events,
)
from pycontw_assets.send_email.klaviyo_records import Profile, ProfileEvent
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.send_email.rebuild_from_klaviyo import HolderList, RebuiltInvitations
from pycontw_assets.settings import Settings
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.events import FakeEvents
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, keys
from pycontw_assets_tests.unit.test_by_event import invite
from pycontw_assets_tests.unit.test_campaign import EDITION, ONE, TWO, let_in, state_of

NOW = FakeClock()()
KEY = "0123456789ab"


class Recorder(FakeEvents):
    """Events that Klaviyo recorded, by metric id."""

    def __init__(self, flow_status: str = "live") -> None:
        super().__init__(FakeKlaviyo(FakeClock()), (Flow(flow_id="F1", status=flow_status),))
        self.recorded: dict[str, list[RecordedEvent]] = {}
        self.asked = 0

    def metrics(self) -> tuple[Metric, ...]:
        return (*super().metrics(), Metric(metric_id="B", name="Bounced Email"))

    def events_of(self, metric_id: str, *, since: datetime | None = None) -> Iterator[RecordedEvent]:
        self.asked += 1
        yield from (event for event in self.recorded.get(metric_id, ()) if since is None or event.at >= since)

    def latest_events(self, metric_id: str) -> tuple[RecordedEvent, ...]:
        return tuple(self.events_of(metric_id))


def mail(at: datetime, profile_id: str, flow: str = "F1") -> RecordedEvent:
    return RecordedEvent(at=at, profile_id=profile_id, event=ProfileEvent("R", frozenset({flow, "Your way in"})))


def invited(address: str, period: int = 1, edition: str = EDITION, batch: str = KEY) -> RecordedEvent:
    from pycontw_assets.send_email.by_event.invitation_event import Links

    properties = event_properties(edition, "individual", period=period, batch_key=batch, links=Links("v", "w"))
    return RecordedEvent(
        at=NOW, profile_id=f"P-{address}", email=address, event=ProfileEvent("M1", frozenset()), properties=properties
    )


# -- mails that were seen -----------------------------------------------------------------------------


@pytest.fixture
def handed_over(ledger: Ledger) -> Recorder:
    """Two events were handed over; the profiles are known from the search."""
    recorder = Recorder()
    for address in (ONE, TWO):
        recorder.klaviyo.upsert_profile(address, {})
    let_in(ledger, ONE, TWO)
    invite(recorder, ledger, ONE, TWO)
    return recorder


def profile_of(recorder: Recorder, address: str) -> str:
    return next(profile_id for profile_id, known in recorder.klaviyo.addresses.items() if known == address)


def watch(recorder: Recorder, ledger: Ledger, **later: float) -> list[str]:
    ledger.clock.advance(**later)  # type: ignore[attr-defined]
    return list(watch_mails(events=recorder, ledger=ledger))  # type: ignore[arg-type]


def test_a_mail_counts_as_seen_when_its_event_names_the_flow(handed_over: Recorder, ledger: Ledger) -> None:
    at = ledger.clock()
    handed_over.recorded["R"] = [
        mail(at, profile_of(handed_over, ONE)),
        mail(at, profile_of(handed_over, TWO), flow="a campaign of somebody"),
    ]
    watch(handed_over, ledger, minutes=10)
    assert count_unseen(ledger, PARTITION.key, EDITION) == 1


def test_a_mail_that_came_back_makes_its_person_unreachable(handed_over: Recorder, ledger: Ledger) -> None:
    handed_over.recorded["B"] = [mail(ledger.clock(), profile_of(handed_over, ONE))]
    watch(handed_over, ledger, minutes=10)
    assert (state_of(ledger, ONE), state_of(ledger, TWO)) == ("unreachable", "accepted")
    invite(handed_over, ledger, ONE, TWO, way="campaign")
    assert handed_over.klaviyo.mailed == {ONE: 1, TWO: 1}, "nobody gets a campaign after an event"


def test_klaviyo_is_asked_at_most_once_an_hour_and_never_about_nothing(handed_over: Recorder, ledger: Ledger) -> None:
    watch(handed_over, ledger, minutes=1)
    assert handed_over.asked == 0, "the mail has not left yet"
    for _ in range(5):
        watch(handed_over, ledger, minutes=10)
    assert handed_over.asked == 2
    at = ledger.clock()
    handed_over.recorded["R"] = [mail(at, profile_of(handed_over, address)) for address in (ONE, TWO)]
    watch(handed_over, ledger, hours=1)
    watch(handed_over, ledger, hours=1)
    assert handed_over.asked == 4


def test_a_mail_that_is_not_seen_for_hours_is_an_alarm(handed_over: Recorder, ledger: Ledger) -> None:
    assert watch(handed_over, ledger, minutes=10) == []
    handed_over.klaviyo.faults.fail("metrics", Unavailable("Klaviyo", "read metrics", "answered 503"))
    [text] = watch(handed_over, ledger, seconds=UNSEEN_AFTER.total_seconds())
    assert text.startswith("2 invitations were handed over as events")
    handed_over.recorded["R"] = [mail(ledger.clock(), profile_of(handed_over, address)) for address in (ONE, TWO)]
    assert watch(handed_over, ledger, hours=2) == []


# -- a lost ledger ------------------------------------------------------------------------------------


def rebuild(*recorded: RecordedEvent, members: tuple[str, ...] = (ONE,)) -> Any:
    lists = [HolderList(PARTITION, "L1", {PSEUDONYMIZER.address(a): Profile("P", a) for a in members})]
    return rebuild_events(EDITION, recorded, lists, pseudonym=PSEUDONYMIZER.address, followed=[PARTITION.key])


def test_everybody_with_an_event_counts_as_invited_for_its_period() -> None:
    rebuilt = rebuild(invited(ONE), invited(ONE, 2), invited(TWO))
    [one], [two] = keys(ONE), keys(TWO)
    assert {(i.address_key, i.period, i.state) for i in rebuilt.invitations[KEY]} == {
        (one, 1, "accepted"),
        (one, 2, "accepted"),
        (two, 1, "accepted"),
    }
    assert {i.event_id for i in rebuilt.invitations[KEY]} >= {event_id(EDITION, one, 2), event_id(EDITION, two, 1)}
    [batch] = rebuilt.batches
    assert (batch.state, batch.way, batch.partition_key) == ("sent", "event", PARTITION.key)


def test_the_next_purchase_begins_a_period_without_an_event() -> None:
    """Klaviyo would drop an event that it knows, and the buyer would get no mail."""
    rebuilt = rebuild(invited(ONE, 2), invited(TWO))
    [one], [two] = keys(ONE), keys(TWO)
    present = Grant(EDITION, one, 1, PARTITION.key, "granted", added_by_us=True)
    grants = {grant.address_key: grant for grant in continued([present], rebuilt, EDITION, PARTITION.key)}
    assert (grants[one].period, grants[one].state) == (2, "granted")
    assert (grants[two].period, grants[two].state) == (1, "revoked")


def test_of_a_person_with_an_event_no_campaign_counts() -> None:
    rebuilt = rebuild(invited(ONE))
    [one] = keys(ONE)
    waiting = Batch("feed", EDITION, PARTITION.key, "rebuilt", "cancelled", "unknown", NOW)
    item = Invitation(one, 1, "unreachable", reason="no such campaign")
    both = merged(RebuiltInvitations(batches=[waiting], invitations={"feed": [item]}, unknown=("feed",)), rebuilt)
    assert [batch.batch_key for batch in both.batches] == [KEY]
    assert both.unknown == ()
    assert [i.state for items in both.invitations.values() for i in items] == ["accepted"]


def test_events_of_other_editions_and_tests_are_left_alone() -> None:
    recorder = Recorder()
    recorder.recorded["M1"] = [invited(ONE, edition="2030"), invited(ONE, edition="test"), invited(TWO)]
    assert [event.email for event in find_events(recorder, EDITION)] == [TWO]  # type: ignore[arg-type]


def test_events_of_no_batch_of_the_ledger_are_a_sign_that_it_was_lost(ledger: Ledger) -> None:
    recorder = Recorder()
    assert count_unknown_events(recorder, ledger, EDITION) == 0  # type: ignore[arg-type]
    recorder.recorded["M1"] = [invited(ONE)]
    assert count_unknown_events(recorder, ledger, EDITION) == 1  # type: ignore[arg-type]
    recorder.recorded["M1"] = []
    let_in(ledger, TWO)
    invite(recorder, ledger, TWO)
    [properties] = recorder.taken.values()
    recorder.recorded["M1"] = [invited(TWO, batch=properties["batch"])]
    assert count_unknown_events(recorder, ledger, EDITION) == 0  # type: ignore[arg-type]


def test_an_event_that_names_nobody_any_more_is_counted() -> None:
    nameless = RecordedEvent(at=NOW, profile_id="P", event=ProfileEvent("M1", frozenset()))
    assert rebuild(nameless, invited(ONE)).nameless == 1


# -- the set-up ---------------------------------------------------------------------------------------


class TestableRecorder(Recorder):
    __test__ = False

    def create_event(self, email: str, *, starts_flows: bool = True, **details: Any) -> None:
        self.backfilled = not starts_flows
        super().create_event(email, **details)


def check(recorder: Recorder, *, records_event: bool = False, **settings: Any) -> list[Finding]:
    return list(check_way(recorder, Settings(**settings), records_event=records_event))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("has_metric", "flows", "step"),
    [(False, (), 1), (True, (), 2), (True, (Flow(flow_id="F1", status="draft"),), 3)],
)
def test_the_doctor_names_the_first_step_that_is_missing(has_metric: bool, flows: tuple[Flow, ...], step: int) -> None:
    recorder = Recorder()
    recorder.has_metric, recorder.flows = has_metric, flows
    findings = check(recorder, invite_via="event")
    failed = [finding for finding in findings if finding.level == "FAIL"]
    assert [finding.name for finding in failed] == [f"flow, step {step} of 4"]
    assert failed[0].fix


def test_the_doctor_is_content_with_a_live_flow_and_says_whom_it_reaches() -> None:
    findings = check(Recorder(), invite_via="event", invite_flow_is_transactional=True)
    assert {finding.level for finding in findings} == {"ok"}
    reach = [finding.what for finding in findings if finding.name == "reach"]
    assert [" get the mail" in text for text in reach] == [True, True, False, False]
    by_campaign = [finding.what for finding in check(Recorder()) if finding.name == "reach"]
    assert ["get no mail" in text for text in by_campaign] == [True] * 4
    assert "by event with a transactional mail they get it" in by_campaign[0]


def test_by_campaign_the_doctor_asks_nothing_about_flows() -> None:
    recorder = Recorder()
    check(recorder)
    assert not recorder.klaviyo.calls


def test_a_test_event_lets_the_metric_exist_and_starts_no_flow() -> None:
    recorder = TestableRecorder()
    findings = check(recorder, records_event=True)
    assert findings[0].name == "test event"
    assert recorder.backfilled
    [properties] = recorder.taken.values()
    assert properties["edition"] == "test"
    assert INVITATION_METRIC in findings[0].what
