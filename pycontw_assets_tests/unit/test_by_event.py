"""Everybody is invited once by event, whatever is lost, killed or switched in between."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from pycontw_assets.api.client import Misconfigured, Refused, ServiceError, Unavailable
from pycontw_assets.ledger.batches import find_newcomers, unfinished_batches
from pycontw_assets.ledger.by_event.handing_over import find_resumable
from pycontw_assets.ledger.by_event.mails import count_unseen
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.send_email.by_event.events_client import Flow, Metric
from pycontw_assets.send_email.by_event.flow_state import flow_state
from pycontw_assets.send_email.by_event.invitation_event import event_id, period_of
from pycontw_assets.send_email.by_event.reach import Reach, is_reached_by_transactional_mail
from pycontw_assets.send_email.campaign_sending import CampaignOutcome
from pycontw_assets.send_email.klaviyo_records import Profile
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.events import FakeEvents
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import (
    OTHER_PARTITION,
    PARTITION,
    empty_ledger,
    holders,
    keys,
    memory_ledger,
    record_holders,
)
from pycontw_assets_tests.unit.test_campaign import EDITION, ONE, TWO, let_in, state_of, step

LOST = Unavailable("Klaviyo", "create event", "no answer", outcome_unknown=True)
REFUSED_CONNECTION = Unavailable("Klaviyo", "create event", "could not connect")


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


@pytest.fixture
def events(klaviyo: FakeKlaviyo) -> FakeEvents:
    return FakeEvents(klaviyo)


def invite(
    events: Any, ledger: Any, *addresses: str, way: str = "event", transactional: bool = False, **options: Any
) -> CampaignOutcome:
    ledger.clock.advance(minutes=5)
    reach = Reach(way, is_transactional=transactional)  # type: ignore[arg-type]
    return step(options.pop("client", events.klaviyo), ledger, events=events, reach=reach, **options).run(
        options.pop("partition", PARTITION), holders(*addresses)
    )


# -- the plain course of things -----------------------------------------------------------------------


def test_everybody_gets_one_event_and_the_next_poll_calls_nobody(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    outcome = invite(events, ledger, ONE, TWO)
    assert events.klaviyo.mailed == {ONE: 1, TWO: 1}
    assert (outcome.invited, outcome.problems, len(outcome.batch_keys)) == (2, [], 1)
    assert not events.klaviyo.campaigns
    assert not events.klaviyo.lists
    events.klaviyo.calls.clear()
    assert invite(events, ledger, ONE, TWO).batches == 0
    assert not events.klaviyo.calls


def test_an_event_carries_links_and_family_and_nobody(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    invite(events, ledger, ONE)
    [properties] = events.taken.values()
    assert properties.keys() == {"edition", "ticket_family", "access_period", "batch", "venue_url", "video_url"}
    assert period_of(properties, EDITION) == 1
    assert period_of(properties, "2032") is None


def test_the_id_of_an_event_follows_from_edition_pseudonym_and_period(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    invite(events, ledger, ONE)
    [(_, taken)] = events.taken
    [key] = keys(ONE)
    assert taken == event_id(EDITION, key, 1)
    assert len({event_id(e, k, p) for e in ("2031", "2032") for k in (key, "f" * 64) for p in (1, 2)}) == 8
    assert key not in taken


def test_who_buys_again_after_a_refund_gets_another_event(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    invite(events, ledger, ONE)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    let_in(ledger, ONE)
    invite(events, ledger, ONE)
    assert events.klaviyo.mailed == {ONE: 2}


def test_without_confirmed_access_there_is_no_event(events: FakeEvents, ledger: Ledger) -> None:
    record_holders(ledger, [ONE])
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE), added_by_us=True)
    invite(events, ledger, ONE)
    assert not events.taken


def test_access_lost_before_the_event_gets_none(events: FakeEvents, ledger: Ledger) -> None:
    events.flows = ()
    let_in(ledger, ONE, TWO)
    invite(events, ledger, ONE, TWO)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    record_holders(ledger, [TWO])
    events.flows = (Flow(flow_id="F1", status="live"),)
    invite(events, ledger, TWO)
    assert events.klaviyo.mailed == {TWO: 1}


def test_events_are_held_back_until_their_time_without_a_request(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    opening = ledger.clock() + timedelta(hours=1)
    for _ in range(3):
        outcome = invite(events, ledger, ONE, send_at=opening)
    assert (outcome.problems, events.klaviyo.calls["metrics"]) == ([], 0)
    ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    invite(events, ledger, ONE, send_at=opening)
    assert events.klaviyo.mailed == {ONE: 1}


def test_the_limit_of_invitations_holds_for_events_too(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    outcome = invite(events, ledger, ONE, TWO, invite_limit=1)
    assert (outcome.waiting, len(outcome.problems)) == (2, 1)
    assert not events.taken


# -- the flow -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flows", "has_metric", "words"),
    [
        ((), False, "doctor --test-event"),
        ((), True, "no flow starts"),
        ((Flow(flow_id="F1", status="draft"),), True, "is live"),
        ((Flow(flow_id="F1", status="manual"),), True, "is live"),
        ((Flow(flow_id="F1", status="live", is_archived=True),), True, "is live"),
        ((Flow(flow_id="F1", status="live"), Flow(flow_id="F2", status="live")), True, "each would send a mail"),
    ],
)
def test_without_exactly_one_live_flow_nobody_is_sent_or_marked(
    events: FakeEvents, ledger: Ledger, flows: tuple[Flow, ...], has_metric: bool, words: str
) -> None:
    events.flows, events.has_metric = flows, has_metric
    let_in(ledger, ONE)
    for _ in range(2):
        [problem] = invite(events, ledger, ONE).problems
        assert words in problem
    assert not events.taken
    assert state_of(ledger, ONE) == "claimed"
    events.flows, events.has_metric = (Flow(flow_id="F9", status="live"),), True
    assert invite(events, ledger, ONE).problems == []
    assert events.klaviyo.mailed == {ONE: 1}


def test_flows_of_other_metrics_are_none_of_ours() -> None:
    other = Metric(metric_id="X", name="Placed Order", flows=(Flow(flow_id="F1", status="live"),))
    ours = Metric(metric_id="Y", name=INVITATION_METRIC)
    assert "no flow starts" in (flow_state([other, ours]).problem or "")


# -- faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "acted"),
    [
        (LOST, True),
        (LOST, False),
        (REFUSED_CONNECTION, False),
        (Misconfigured("Klaviyo", "create event", "answered 401"), True),
        (Misconfigured("Klaviyo", "create event", "answered 401"), False),
    ],
)
def test_after_any_answer_the_same_event_is_handed_over_again(
    events: FakeEvents, ledger: Ledger, error: ServiceError, acted: bool
) -> None:
    events.klaviyo.faults.fail("create_event", error, acted=acted)
    let_in(ledger, ONE, TWO)
    with pytest.raises(type(error)):
        invite(events, ledger, ONE, TWO)
    for _ in range(2):
        invite(events, ledger, ONE, TWO)
    assert events.klaviyo.mailed == {ONE: 1, TWO: 1}
    assert events.klaviyo.calls["create_event"] == 3


def test_a_refused_address_fails_nobody_else(events: FakeEvents, ledger: Ledger) -> None:
    events.klaviyo.invalid = {ONE}
    let_in(ledger, ONE, TWO)
    outcome = invite(events, ledger, ONE, TWO)
    assert (outcome.invited, outcome.unreachable) == (1, 1)
    assert state_of(ledger, ONE) == "unreachable"
    assert not unfinished_batches(ledger, PARTITION.key)


def test_a_refusal_of_one_event_holds_up_nobody_else(events: FakeEvents, ledger: Ledger) -> None:
    many = [f"buyer-{n:02d}@example.org" for n in range(45)]
    events.klaviyo.faults.fail("create_event", Refused("Klaviyo", "create event", "answered 400", status=400))
    let_in(ledger, *many)
    with pytest.raises(Refused):
        invite(events, ledger, *many)
    assert len(events.taken) == 44
    invite(events, ledger, *many)
    assert set(events.klaviyo.mailed.values()) == {1}
    assert len(events.taken) == 45


# -- killed, and switched -----------------------------------------------------------------------------

WAYS = {
    "by event": ("event",),
    "event, then campaign": ("event", "campaign"),
    "campaign, then event": ("campaign", "event"),
    "to and fro": ("campaign", "event", "campaign", "event"),
}


SHORT = ("by event", "campaign, then event")


@pytest.mark.long
@pytest.mark.parametrize(
    "ways",
    [pytest.param(ways, id=name, marks=() if name in SHORT else pytest.mark.slow) for name, ways in WAYS.items()],
)
def test_killed_at_any_moment_and_switched_nobody_is_mailed_twice_or_forgotten(ways: tuple[str, ...]) -> None:
    """The step is killed before or after any call and transaction; the next polls take the other ways in turn."""
    ledger, kills = memory_ledger(FakeClock()), 0
    for moment in count():
        empty_ledger(ledger)
        klaviyo = FakeKlaviyo(ledger.clock)
        events = FakeEvents(klaviyo)
        let_in(ledger, ONE, TWO)
        fuse = Fuse(moment)
        fused = Fused(events, fuse)
        try:
            invite(fused, fused_ledger(ledger, fuse), ONE, TWO, way=ways[0], client=Fused(klaviyo, fuse))
        except Killed:
            kills += 1
        else:
            break
        for way in (*ways[1:], ways[-1], ways[-1]):
            with suppress(ServiceError):
                invite(events, ledger, ONE, TWO, way=way)
        assert klaviyo.mailed == {ONE: 1, TWO: 1}, (moment, klaviyo.mailed)
        assert not unfinished_batches(ledger, PARTITION.key)
    assert kills >= 20


@pytest.mark.parametrize("acted", [True, False])
def test_an_event_in_doubt_never_becomes_a_campaign(events: FakeEvents, ledger: Ledger, acted: bool) -> None:
    events.klaviyo.faults.fail("create_event", LOST, acted=acted)
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(events, ledger, ONE)
    invite(events, ledger, ONE, way="campaign")
    assert not events.klaviyo.campaigns
    assert events.klaviyo.mailed == {ONE: 1}


def test_an_event_that_certainly_was_not_taken_may_become_a_campaign(events: FakeEvents, ledger: Ledger) -> None:
    events.klaviyo.faults.fail("create_event", REFUSED_CONNECTION)
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(events, ledger, ONE)
    events.flows = ()
    invite(events, ledger, ONE, way="campaign")
    assert len(events.klaviyo.campaigns) == 1
    assert events.klaviyo.mailed == {ONE: 1}


def test_a_draft_is_deleted_before_its_people_get_events(events: FakeEvents, ledger: Ledger) -> None:
    events.klaviyo.faults.fail("request_estimate", Unavailable("Klaviyo", "request estimate", "answered 503"))
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(events, ledger, ONE, way="campaign")
    assert len(events.klaviyo.campaigns) == 1
    invite(events, ledger, ONE)
    assert not events.klaviyo.campaigns
    assert events.klaviyo.mailed == {ONE: 1}


def test_a_campaign_in_doubt_is_resolved_before_anybody_gets_an_event(events: FakeEvents, ledger: Ledger) -> None:
    events.klaviyo.faults.lose_reply("send", acted=True)
    let_in(ledger, ONE)
    invite(events, ledger, ONE, way="campaign")
    invite(events, ledger, ONE)
    assert events.klaviyo.mailed == {ONE: 1}


def test_a_scheduled_campaign_stays_one(events: FakeEvents, ledger: Ledger) -> None:
    opening = ledger.clock() + timedelta(hours=1)
    let_in(ledger, ONE)
    invite(events, ledger, ONE, way="campaign", send_at=opening)
    let_in(ledger, ONE, TWO)
    invite(events, ledger, ONE, TWO, send_at=opening)
    ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    for _ in range(2):
        invite(events, ledger, ONE, TWO, send_at=opening)
    assert events.klaviyo.mailed == {ONE: 1, TWO: 1}
    assert len(events.taken) == 1


def test_in_doubt_with_a_ticket_elsewhere_the_invitation_goes_on_there(events: FakeEvents, ledger: Ledger) -> None:
    record_holders(ledger, [ONE], OTHER_PARTITION)
    let_in(ledger, ONE)
    events.klaviyo.faults.fail("create_event", LOST, acted=True)
    with pytest.raises(Unavailable):
        invite(events, ledger, ONE)
    record_holders(ledger, [])  # the first ticket is given back
    invite(events, ledger, way="campaign")
    assert state_of(ledger, ONE) == "claimed"
    resumed = find_resumable(ledger, OTHER_PARTITION.key, EDITION, is_reachable=lambda _: False)
    assert resumed.keys() == keys(ONE)
    ledger.clock.advance(minutes=5)  # type: ignore[attr-defined]
    step(events.klaviyo, ledger, events=events).run(OTHER_PARTITION, holders(ONE))
    assert state_of(ledger, ONE) == "accepted"
    assert events.klaviyo.mailed == {ONE: 1}
    assert not events.klaviyo.campaigns


# -- who is reached -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "reached"),
    [
        ("UNSUBSCRIBE", True),
        ("UNSUBSCRIBED", True),
        ("USER_SUPPRESSED", True),
        ("UNSUBSCRIBE; USER_SUPPRESSED", True),
        ("HARD_BOUNCE", False),
        ("SPAM_COMPLAINT", False),
        ("INVALID_EMAIL", False),
        ("UNSUBSCRIBE; HARD_BOUNCE", False),
        ("another reason", False),
        ("suppressed", False),
    ],
)
def test_a_transactional_mail_reaches_those_who_only_left_the_newsletter(reason: str, reached: bool) -> None:
    assert is_reached_by_transactional_mail(reason) is reached
    profile = Profile("P", None, can_receive_email=False, suppressions=tuple(reason.split("; ")))
    assert (Reach("event", is_transactional=True).unreachable_because(profile) is None) is reached
    assert Reach("event").unreachable_because(profile) == reason
    assert Reach("campaign", is_transactional=True).unreachable_because(profile) == reason


def test_people_whom_campaigns_passed_over_are_reached_after_the_switch(events: FakeEvents, ledger: Ledger) -> None:
    klaviyo = events.klaviyo
    klaviyo.suppressed, klaviyo.why_suppressed = {ONE, TWO}, {ONE: "UNSUBSCRIBE"}
    let_in(ledger, ONE, TWO)
    invite(events, ledger, ONE, TWO, way="campaign")
    assert state_of(ledger, ONE) == state_of(ledger, TWO) == "unreachable"
    invite(events, ledger, ONE, TWO)
    assert not events.taken, "a marketing mail of a flow does not reach them either"
    invite(events, ledger, ONE, TWO, transactional=True)
    assert klaviyo.mailed == {ONE: 1}
    assert (state_of(ledger, ONE), state_of(ledger, TWO)) == ("accepted", "unreachable")
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


def test_an_event_counts_as_not_seen_until_its_mail_is(events: FakeEvents, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    invite(events, ledger, ONE)
    assert count_unseen(ledger, PARTITION.key, EDITION) == 1


def test_the_step_needs_no_events_where_no_batch_is_one_of_events(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    ledger.clock.advance(minutes=5)  # type: ignore[attr-defined]
    step(klaviyo, ledger).run(PARTITION, holders(ONE))
    assert klaviyo.mailed == {ONE: 1}
