"""Nobody is mailed twice or forgotten, even if calls are lost, late, refused or killed in between."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from pycontw_assets.api.client import Malformed, Misconfigured, Refused, ServiceError, Unavailable
from pycontw_assets.ledger.batches import (
    Batch,
    cancelled_batches,
    claim_batch,
    find_newcomers,
    get_batch,
    invitations_in,
    release_invitations,
    unfinished_batches,
)
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import release_pool_list, reserve_pool_list
from pycontw_assets.send_email.campaign import CampaignStep
from pycontw_assets.send_email.campaign_sending import POOL_SIZE, CampaignOutcome, Sender
from pycontw_assets.send_email.find_or_create import ensure_template
from pycontw_assets.send_email.klaviyo_records import ChangedShape
from pycontw_assets.send_email.release import refusal
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.clock import FakeClock
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

EDITION = PARTITION.edition
ONE, TWO, THREE = "buyer-1@example.org", "buyer-2@example.org", "buyer-3@example.org"
SENDER = Sender("tickets@example.org", "PyCon TW", "help@example.org")


@dataclass(frozen=True)
class Mail:
    name: str = "pycontw-2031-invitation-1a2b3c4d"
    subject: str = "Your way in"
    preview_text: str = "It is open"
    version: str = "1a2b3c4d"
    html: str = "<p>1a2b3c4d</p>"
    text: str = "1a2b3c4d"


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def let_in(ledger: Any, *addresses: str) -> None:
    """Give them a ticket and confirmed access."""
    record_holders(ledger, addresses)
    intend_grants(ledger, EDITION, PARTITION.key, keys(*addresses), added_by_us=True, state="granted")


def step(klaviyo: Any, ledger: Any, **options: Any) -> CampaignStep:
    waits = WaitPolicy(sleep=ledger.clock.sleep)
    options.setdefault("poll_id", uuid4().hex)
    template_id = lambda: ensure_template(klaviyo, ledger, waits, rendered=Mail())  # noqa: E731
    return CampaignStep(
        client=klaviyo,
        ledger=ledger,
        waits=waits,
        exclusive=nullcontext,
        sender=SENDER,
        mail=Mail(),
        template_id=template_id,
        **options,
    )


def invite(klaviyo: Any, ledger: Any, *addresses: str, **options: Any) -> CampaignOutcome:
    """Run the step of one poll, five minutes after the last."""
    ledger.clock.advance(minutes=5)
    return step(klaviyo, ledger, **options).run(PARTITION, holders(*addresses))


def state_of(ledger: Ledger, address: str) -> str | None:
    batches = [b for p in (PARTITION, OTHER_PARTITION) for b in _all_batches(ledger, p.key)]
    found = [i.state for b in batches for i in invitations_in(ledger, b) if i.address_key in keys(address)]
    return found[0] if found else None


def _all_batches(ledger: Ledger, partition_key: str) -> list[str]:
    from pycontw_assets.ledger.database.tables import batches

    with ledger.engine.begin() as db:
        query = batches.select().where(batches.c.partition_key == partition_key)
        return [row.batch_key for row in db.execute(query)]


# -- the plain course of things -----------------------------------------------------------------------


def test_every_newcomer_gets_one_mail_and_the_next_poll_calls_nobody(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert (outcome.invited, outcome.batches, outcome.problems) == (2, 1, [])
    klaviyo.calls.clear()
    assert invite(klaviyo, ledger, ONE, TWO).batches == 0
    assert not klaviyo.calls


def test_without_a_confirmed_guest_there_is_no_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    record_holders(ledger, [ONE])
    for state in ("intended", "revoking"):
        intend_grants(ledger, EDITION, PARTITION.key, keys(ONE), added_by_us=True)
        set_grants(ledger, EDITION, keys(ONE), state)  # type: ignore[arg-type]
        invite(klaviyo, ledger, ONE)
    assert not klaviyo.mailed


def test_a_ticket_lost_after_the_claim_gets_no_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    klaviyo.faults.fail("create_campaign", Unavailable("Klaviyo", "create campaign", "answered 503"))
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE, TWO)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    record_holders(ledger, [TWO])
    invite(klaviyo, ledger, TWO)
    assert klaviyo.mailed == {TWO: 1}


def test_buying_again_while_the_batch_waits_brings_one_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """Claimed in one period, revoked, let in again: the invitation of the ended period must not leave, too."""
    let_in(ledger, ONE, TWO)
    klaviyo.faults.fail("create_campaign", Unavailable("Klaviyo", "create campaign", "answered 503"))
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE, TWO)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    let_in(ledger, ONE, TWO)
    for _ in range(3):
        invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


def test_buying_again_after_a_revocation_brings_another_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 2}


def test_one_address_in_two_events_gets_one_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    record_holders(ledger, [ONE, THREE], OTHER_PARTITION)
    intend_grants(ledger, EDITION, OTHER_PARTITION.key, keys(THREE), added_by_us=True, state="granted")
    invite(klaviyo, ledger, ONE, TWO)
    step(klaviyo, ledger).run(OTHER_PARTITION, holders(ONE, THREE))
    assert klaviyo.mailed == {ONE: 1, TWO: 1, THREE: 1}


def test_two_runs_cannot_claim_the_same_address(ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    periods = find_newcomers(ledger, PARTITION.key, EDITION)
    first, second = (Batch(k, EDITION, PARTITION.key, "p", "open", f"c-{k}", ledger.clock()) for k in ("a", "b"))
    claim_batch(ledger, first, {key: periods[key] for key in keys(ONE)})
    with pytest.raises(LedgerError):
        claim_batch(ledger, second, periods)
    assert find_newcomers(ledger, PARTITION.key, EDITION).keys() == keys(TWO)
    assert [batch.batch_key for batch in unfinished_batches(ledger, PARTITION.key)] == ["a"]


# -- unreachable people -------------------------------------------------------------------------------


def test_a_refused_or_suppressed_address_fails_nobody_else(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.invalid, klaviyo.suppressed = {ONE}, {TWO}
    let_in(ledger, ONE, TWO, THREE)
    outcome = invite(klaviyo, ledger, ONE, TWO, THREE)
    assert klaviyo.mailed == {THREE: 1}
    assert outcome.unreachable == 2
    assert state_of(ledger, ONE) == state_of(ledger, TWO) == "unreachable"
    assert klaviyo.members(klaviyo.lists[next(iter(klaviyo.lists))].name) == {THREE}


def test_a_batch_without_anybody_to_reach_ends_without_a_campaign(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.suppressed = {ONE}
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    assert not klaviyo.campaigns
    assert not unfinished_batches(ledger, PARTITION.key)


def test_a_profile_without_a_word_on_consent_is_asked_for_again(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.silent, klaviyo.suppressed = {ONE: 1, TWO: 1}, {TWO}
    let_in(ledger, ONE, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1}
    assert (outcome.unreachable, outcome.problems) == (1, [])
    assert klaviyo.calls["find_profiles"] == 1


def test_silence_is_no_consent_and_holds_up_nobody_else(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.silent = {ONE: 10**6}
    let_in(ledger, ONE, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {TWO: 1}
    assert (outcome.unreachable, outcome.waiting) == (0, 1)
    assert "does not say whether mail may reach 1 people" in outcome.problems[0]
    for _ in range(3):
        outcome = invite(klaviyo, ledger, ONE, TWO)
        assert (outcome.batches, outcome.waiting) == (1, 1), "one batch waits, and no others pile up"
        assert "does not say whether mail may reach 1 people" in outcome.problems[0]
    klaviyo.silent = {}
    assert invite(klaviyo, ledger, ONE, TWO).problems == []
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


# -- the day the interface changes ---------------------------------------------------------------------


CHANGED = ChangedShape("Klaviyo", "read campaign", "a campaign without a status")


@pytest.mark.parametrize("call", ["create_campaign", "get_campaign", "send"])
def test_in_a_changed_shape_nothing_is_sent_marked_or_begun_and_later_everything_goes_on(
    klaviyo: FakeKlaviyo, ledger: Ledger, call: str
) -> None:
    """A creation or a sending that happened has an unknown outcome, because its answer cannot be read."""

    def change() -> None:
        for read in ("get_campaign", "find_campaigns"):
            klaviyo.faults.fail(read, CHANGED, times=99)

    klaviyo.faults.before(call, change)
    if call != "get_campaign":
        unheard = Unavailable("Klaviyo", call, "its revision is another", outcome_unknown=True)
        klaviyo.faults.fail(call, unheard, acted=True)
    let_in(ledger, ONE, TWO)
    for _ in range(3):
        with pytest.raises(ChangedShape):
            invite(klaviyo, ledger, ONE, TWO)
    assert state_of(ledger, ONE) == "claimed"
    let_in(ledger, ONE, TWO, THREE)
    with pytest.raises(ChangedShape):
        invite(klaviyo, ledger, ONE, TWO, THREE)
    assert len(unfinished_batches(ledger, PARTITION.key)) == 1
    klaviyo.faults.mend()
    for _ in range(2):
        invite(klaviyo, ledger, ONE, TWO, THREE)
    assert klaviyo.mailed == {ONE: 1, TWO: 1, THREE: 1}
    assert len(klaviyo.campaigns) == klaviyo.calls["send"] == 2


def test_a_campaign_on_its_way_is_not_over_in_a_changed_shape(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.status_lag = 10**6
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    klaviyo.faults.fail("get_campaign", CHANGED)
    with pytest.raises(ChangedShape):
        invite(klaviyo, ledger, ONE)
    [batch] = unfinished_batches(ledger, PARTITION.key)
    assert batch.state == "accepted"


# -- lost replies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("acted", [True, False])
@pytest.mark.parametrize("call", ["create_campaign", "create_list", "create_template"])
@pytest.mark.parametrize("lag", [0, 1])
def test_after_a_lost_reply_things_are_looked_up_first(
    klaviyo: FakeKlaviyo, ledger: Ledger, call: str, acted: bool, lag: int
) -> None:
    klaviyo.campaign_lag = lag
    klaviyo.faults.lose_reply(call, acted=acted)
    let_in(ledger, ONE, TWO)
    invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert (len(klaviyo.lists), len(klaviyo.templates), len(klaviyo.campaigns)) == (1, 1, 1)


def test_a_campaign_that_is_found_very_late_costs_a_draft_and_no_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.campaign_lag = 5
    klaviyo.faults.lose_reply("create_campaign", acted=True, times=2)
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE)
    for _ in range(5):
        invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


@pytest.mark.parametrize("acted", [True, False])
def test_a_send_with_a_lost_reply_is_looked_up_first(klaviyo: FakeKlaviyo, ledger: Ledger, acted: bool) -> None:
    klaviyo.faults.lose_reply("send", acted=acted)
    let_in(ledger, ONE, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert klaviyo.calls["send"] == (1 if acted else 2)
    assert outcome.invited == 2


def test_a_doubtful_send_is_repeated_after_two_drafts_only(
    klaviyo: FakeKlaviyo, ledger: Ledger, clock: FakeClock
) -> None:
    klaviyo.faults.lose_reply("send", acted=False)
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    assert 60 in clock.slept
    first = klaviyo.faults.order.index("send")
    second = klaviyo.faults.order.index("send", first + 1)
    assert klaviyo.faults.order[first:second].count("get_campaign") >= 2


def test_a_send_that_starts_late_is_not_repeated(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """The answer was lost, and the first look says draft. Then the send takes effect after all."""
    klaviyo.faults.lose_reply("send", acted=False)

    def takes_effect_before_the_next_look() -> None:
        klaviyo.faults.before("get_campaign", lambda: klaviyo.send(next(iter(klaviyo.campaigns))))

    klaviyo.faults.before("send_job", takes_effect_before_the_next_look)
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_losing_every_reply_neither_mails_twice_nor_hangs(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.lose_reply("send", acted=False, times=5)
    let_in(ledger, ONE)
    for _ in range(4):
        invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}
    assert klaviyo.calls["send"] == 6


@pytest.mark.parametrize(
    "error",
    [
        Malformed("Klaviyo", "send campaign", "answered 200 with a body that is not JSON"),
        Misconfigured("Klaviyo", "send campaign", "answered 403", status=403),
        Unavailable("Klaviyo", "send campaign", "could not connect"),
        Refused("Klaviyo", "send campaign", "answered 400", status=400),
    ],
)
@pytest.mark.parametrize("acted", [True, False])
def test_everybody_is_mailed_once_for_any_answer_to_a_send(
    klaviyo: FakeKlaviyo, ledger: Ledger, error: ServiceError, acted: bool
) -> None:
    klaviyo.faults.fail("send", error, acted=acted)
    let_in(ledger, ONE, TWO)
    with suppress(ServiceError):
        invite(klaviyo, ledger, ONE, TWO)
    for _ in range(2):
        invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


def test_a_campaign_deleted_in_doubt_waits_for_a_person(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.fail("send", Malformed("Klaviyo", "send campaign", "answered nonsense"))
    let_in(ledger, ONE)
    with pytest.raises(Malformed):
        invite(klaviyo, ledger, ONE)
    [batch] = unfinished_batches(ledger, PARTITION.key)
    klaviyo.campaigns.clear()
    for _ in range(2):
        [problem] = invite(klaviyo, ledger, ONE).problems
        assert "perhaps after it was sent" in problem
        assert f"pycontw-assets release {batch.batch_key}" in problem
    assert not klaviyo.mailed
    assert refusal(get_batch(ledger, batch.batch_key), None) is None


def test_a_draft_deleted_by_hand_before_it_was_sent_is_made_again(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.fail("request_estimate", Unavailable("Klaviyo", "request estimate", "answered 500"))
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE)
    klaviyo.campaigns.clear()
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_a_campaign_that_somebody_else_sent_is_not_sent_again(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.fail("request_estimate", Unavailable("Klaviyo", "request estimate", "answered 500"))
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE)
    klaviyo.send(next(iter(klaviyo.campaigns)))
    [problem] = invite(klaviyo, ledger, ONE).problems
    assert "not by us" in problem
    assert klaviyo.mailed == {ONE: 1}
    assert not unfinished_batches(ledger, PARTITION.key)


def test_a_campaign_deleted_before_sending_waits_for_a_person(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE)
    klaviyo.faults.before("send", klaviyo.campaigns.clear)
    assert "pycontw-assets release" in invite(klaviyo, ledger, ONE).problems[0]
    assert not unfinished_batches(ledger, PARTITION.key)


def test_a_run_that_lost_its_lock_sends_nothing_again(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """A machine slept for minutes in the middle of a batch. Meanwhile another one finished it."""
    let_in(ledger, ONE, TWO)
    klaviyo.faults.before("estimate", lambda: invite(klaviyo, ledger, ONE, TWO))
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert any("another run" in problem for problem in outcome.problems)
    assert not unfinished_batches(ledger, PARTITION.key)


# -- the list of a batch ------------------------------------------------------------------------------


def test_members_that_show_late_are_waited_for(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.member_lag = 4
    let_in(ledger, ONE, TWO)
    assert invite(klaviyo, ledger, ONE, TWO).invited == 2


def test_members_that_show_much_later_wait_for_the_next_poll(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.member_lag = 30
    let_in(ledger, ONE, TWO)
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert (outcome.invited, outcome.waiting) == (0, 2)
    assert outcome.problems
    for _ in range(3):
        invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


def test_a_member_that_never_shows_is_given_up_in_time(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """For example, two profiles were merged in Klaviyo: the list shows another id than the added one."""
    let_in(ledger, ONE, TWO)

    def one_of_them_never_shows() -> None:
        (members,) = [found.members for found in klaviyo.lists.values()]
        members.update({p: 10**9 for p in members if klaviyo.addresses[p] == ONE})

    klaviyo.faults.before("list_member_ids", one_of_them_never_shows)
    assert invite(klaviyo, ledger, ONE, TWO).invited == 0
    ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    outcome = invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed[TWO] == 1
    assert outcome.unreachable == 1
    assert state_of(ledger, ONE) == "unreachable"


def test_strangers_left_on_a_list_of_the_pool_are_not_mailed(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    list_id = klaviyo.create_list(f"pycontw-{EDITION}-invitations-01").list_id
    stranger = klaviyo.upsert_profile("stranger@example.org", {}).profile_id
    klaviyo.add_to_list(list_id, [stranger])
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_an_estimate_above_the_batch_stops_the_sending(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    def stranger_joins() -> None:
        stranger = klaviyo.upsert_profile("stranger@example.org", {}).profile_id
        klaviyo.add_to_list(next(iter(klaviyo.lists)), [stranger])

    klaviyo.faults.before("request_estimate", stranger_joins)
    let_in(ledger, ONE)
    outcome = invite(klaviyo, ledger, ONE)
    assert not klaviyo.mailed
    assert any("estimates 2 recipients" in problem for problem in outcome.problems)
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_two_batches_never_share_a_list_and_a_used_one_rests(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.status_lag = 10**6
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    let_in(ledger, ONE, TWO)
    invite(klaviyo, ledger, ONE, TWO)
    used = [campaign.record.included_lists for campaign in klaviyo.campaigns.values()]
    assert len(set(used)) == 2
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


def test_a_rested_list_is_used_again_before_another_is_made(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    for number in range(5):
        let_in(ledger, *(f"buyer-{n}@example.org" for n in range(number + 1)))
        invite(klaviyo, ledger, *(f"buyer-{n}@example.org" for n in range(number + 1)))
        ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    assert len(klaviyo.lists) == 1
    assert set(klaviyo.mailed.values()) == {1}


def test_with_every_list_in_use_newcomers_wait_with_a_problem(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    names = [f"pycontw-{EDITION}-invitations-{number:02d}" for number in range(1, POOL_SIZE + 1)]
    for number in range(POOL_SIZE):
        reserve_pool_list(ledger, f"other-{number}", names, ledger.clock())
    let_in(ledger, ONE)
    outcome = invite(klaviyo, ledger, ONE)
    assert not klaviyo.mailed
    assert any("pool" in problem for problem in outcome.problems)
    release_pool_list(ledger, "other-7")
    ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_a_list_deleted_by_hand_is_replaced(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.fail("create_campaign", Unavailable("Klaviyo", "create campaign", "answered 500"))
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE)
    klaviyo.lists.clear()
    for _ in range(2):
        invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


def test_a_template_deleted_by_hand_is_replaced(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    ensure_template(klaviyo, ledger, WaitPolicy(sleep=lambda _: None), rendered=Mail())  # type: ignore[arg-type]
    klaviyo.templates.clear()
    let_in(ledger, ONE)
    for _ in range(2):
        invite(klaviyo, ledger, ONE)
    assert klaviyo.mailed == {ONE: 1}


# -- limits and isolation -----------------------------------------------------------------------------


def test_more_newcomers_than_the_limit_wait_for_a_person(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO, THREE)
    outcome = invite(klaviyo, ledger, ONE, TWO, THREE, invite_limit=2)
    assert not klaviyo.mailed
    assert outcome.waiting == 3
    assert any("--allow invite" in problem for problem in outcome.problems)
    invite(klaviyo, ledger, ONE, TWO, THREE, invite_limit=2, overrides=frozenset({"invite"}))
    assert len(klaviyo.mailed) == 3


def test_the_limit_counts_all_events_of_one_poll(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    let_in(ledger, ONE, TWO)
    invite(klaviyo, ledger, ONE, TWO, poll_id="one", invite_limit=2)
    let_in(ledger, ONE, TWO, THREE)
    assert invite(klaviyo, ledger, ONE, TWO, THREE, poll_id="one", invite_limit=2).waiting == 1
    assert invite(klaviyo, ledger, ONE, TWO, THREE, poll_id="two", invite_limit=2).invited == 1


def test_a_refused_batch_does_not_hold_up_later_newcomers(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.fail("create_campaign", Refused("Klaviyo", "create campaign", "answered 400", status=400))
    let_in(ledger, ONE)
    with pytest.raises(Refused):
        invite(klaviyo, ledger, ONE)
    let_in(ledger, ONE, TWO)
    klaviyo.faults.fail("create_campaign", Refused("Klaviyo", "create campaign", "answered 400", status=400))
    with pytest.raises(Refused):
        invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {TWO: 1}
    invite(klaviyo, ledger, ONE, TWO)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}


def test_while_the_service_is_down_no_new_batches_pile_up(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    down = Unavailable("Klaviyo", "upsert profile", "answered 503")
    klaviyo.faults.fail("upsert_profile", down, times=3)
    for number in range(3):
        let_in(ledger, *(f"buyer-{n}@example.org" for n in range(number + 1)))
        with pytest.raises(Unavailable):
            invite(klaviyo, ledger, *(f"buyer-{n}@example.org" for n in range(number + 1)))
    assert len(unfinished_batches(ledger, PARTITION.key)) == 1


# -- how campaigns end --------------------------------------------------------------------------------


@pytest.mark.parametrize("ends_as", ["Cancelled", "Cancelled: Billing Limit", "Cancelled: Misconfigured"])
def test_a_campaign_that_ends_cancelled_is_reported_not_repeated(
    klaviyo: FakeKlaviyo, ledger: Ledger, ends_as: str
) -> None:
    klaviyo.ends_as = ends_as
    let_in(ledger, ONE)
    outcome = invite(klaviyo, ledger, ONE)
    assert any(ends_as in problem for problem in outcome.problems)
    assert state_of(ledger, ONE) == "unreachable"
    klaviyo.ends_as = None
    later = invite(klaviyo, ledger, ONE)
    assert klaviyo.calls["send"] == 1
    assert later.problems == outcome.problems, "it is not over before somebody released them"
    (batch,) = cancelled_batches(ledger, PARTITION.key)
    release_invitations(ledger, batch.batch_key, [item.address_key for item in invitations_in(ledger, batch.batch_key)])
    assert invite(klaviyo, ledger, ONE).problems == []


def test_a_sent_campaign_is_followed_by_the_next_poll(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.faults.before(
        "send",
        lambda: klaviyo.faults.fail("get_campaign", Unavailable("Klaviyo", "read campaign", "answered 500"), 3),
    )
    let_in(ledger, ONE)
    outcome = invite(klaviyo, ledger, ONE)
    assert outcome.invited == 1
    klaviyo.faults.mend()
    invite(klaviyo, ledger, ONE)
    assert not unfinished_batches(ledger, PARTITION.key)
    assert klaviyo.mailed == {ONE: 1}


def test_an_unknown_status_is_neither_sent_nor_cancelled(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.ends_as = "Queued without Recipients"
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    (batch,) = unfinished_batches(ledger, PARTITION.key)
    assert (batch.state, batch.remote_status) == ("accepted", "Queued without Recipients")
    assert invite(klaviyo, ledger, ONE).problems == []
    ledger.clock.advance(days=1)  # type: ignore[attr-defined]
    assert "is Queued without Recipients long after" in invite(klaviyo, ledger, ONE).problems[0]
    assert klaviyo.calls["send"] == 1


def test_an_answer_that_fails_does_not_end_the_alarm_of_a_stuck_campaign(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.ends_as = "Queued without Recipients"
    let_in(ledger, ONE)
    invite(klaviyo, ledger, ONE)
    ledger.clock.advance(days=1)  # type: ignore[attr-defined]
    [stuck] = invite(klaviyo, ledger, ONE).problems
    klaviyo.faults.fail("get_campaign", Unavailable("Klaviyo", "read campaign", "answered 500"), 3)
    assert stuck in invite(klaviyo, ledger, ONE).problems


# -- scheduled ----------------------------------------------------------------------------------------


def morning(ledger: Ledger) -> datetime:
    return ledger.clock() + timedelta(hours=6)


def test_a_scheduled_mail_arrives_at_its_time_and_once(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send_at = morning(ledger)
    let_in(ledger, ONE, TWO)
    invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
    invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
    assert not klaviyo.mailed
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert not unfinished_batches(ledger, PARTITION.key)


@pytest.mark.parametrize("fixes_late", [True, False])
def test_a_buyer_refunded_before_the_time_gets_no_mail(klaviyo: FakeKlaviyo, ledger: Ledger, fixes_late: bool) -> None:
    klaviyo.fixes_late = fixes_late
    send_at = morning(ledger)
    schedule_and_lose_one(klaviyo, ledger, send_at)
    invite(klaviyo, ledger, TWO, send_at=send_at)
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    invite(klaviyo, ledger, TWO, send_at=send_at)
    assert klaviyo.mailed == {TWO: 1}


def test_a_deleted_profile_does_not_hold_up_a_withdrawal(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send_at = morning(ledger)
    let_in(ledger, ONE, TWO, THREE)
    invite(klaviyo, ledger, ONE, TWO, THREE, send_at=send_at)
    set_grants(ledger, EDITION, keys(ONE, TWO), "revoked")
    record_holders(ledger, [THREE])
    klaviyo.deleted_profiles = {profile_id for profile_id, email in klaviyo.addresses.items() if email == ONE}
    invite(klaviyo, ledger, THREE, send_at=send_at)
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    for _ in range(2):
        invite(klaviyo, ledger, THREE, send_at=send_at)
    assert TWO not in klaviyo.mailed
    assert klaviyo.mailed[THREE] == 1


def test_newcomers_before_the_time_do_not_use_up_the_pool(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send_at = morning(ledger)
    bought = [f"buyer-{number}@example.org" for number in range(8)]
    for number in range(1, 9):
        let_in(ledger, *bought[:number])
        invite(klaviyo, ledger, *bought[:number], send_at=send_at)
    assert len(klaviyo.campaigns) == 3
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    for _ in range(2):
        invite(klaviyo, ledger, *bought, send_at=send_at)
    assert klaviyo.mailed == dict.fromkeys(bought, 1)


def test_a_draft_whose_time_passed_unsent_is_sent_at_once(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """Klaviyo was down at that time, and it refuses a campaign that is scheduled for the past."""
    send_at = morning(ledger)
    klaviyo.faults.fail("assign_template", Unavailable("Klaviyo", "assign template", "answered 500"))
    let_in(ledger, ONE)
    with pytest.raises(Unavailable):
        invite(klaviyo, ledger, ONE, send_at=send_at)
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    invite(klaviyo, ledger, ONE, send_at=send_at)
    assert klaviyo.mailed == {ONE: 1}


# -- texts --------------------------------------------------------------------------------------------


def test_neither_problems_nor_ledger_rows_name_anybody(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.invalid, klaviyo.suppressed, klaviyo.member_lag = {ONE}, {TWO}, 30
    let_in(ledger, ONE, TWO, THREE)
    outcome = invite(klaviyo, ledger, ONE, TWO, THREE)
    assert outcome.problems
    assert "@" not in repr(outcome)
    with ledger.engine.begin() as db:
        for table in ("batches", "invitations", "grants", "entitlements", "remote_ids", "pool_lists"):
            assert "@" not in repr(db.exec_driver_sql(f"select * from {table}").all())


# -- killed between any two calls ---------------------------------------------------------------------


def killed_at_every_moment(prepare: Any, act: Any, afterwards: Any) -> int:
    """Kill ``act`` at each of its moments in turn, each time in a new world. Return their number."""
    ledger = memory_ledger(FakeClock())
    moment, is_over = 0, False
    while not is_over:
        empty_ledger(ledger)
        klaviyo = FakeKlaviyo(ledger.clock)
        prepare(klaviyo, ledger)
        fuse = Fuse(moment)
        try:
            act(Fused(klaviyo, fuse), fused_ledger(ledger, fuse))
            is_over = True
        except Killed:
            pass
        afterwards(klaviyo, ledger, moment)
        moment += 1
    return moment


def test_killed_at_any_moment_a_first_batch_reaches_everybody_once() -> None:
    def prepare(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
        klaviyo.suppressed = {THREE}
        let_in(ledger, ONE, TWO, THREE)

    def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
        for _ in range(2):
            invite(klaviyo, ledger, ONE, TWO, THREE)
        assert klaviyo.mailed == {ONE: 1, TWO: 1}, moment
        assert not unfinished_batches(ledger, PARTITION.key)
        assert state_of(ledger, ONE) == "accepted"
        assert state_of(ledger, THREE) == "unreachable"

    moments = killed_at_every_moment(prepare, lambda k, x: invite(k, x, ONE, TWO, THREE), afterwards)
    assert moments > 50


@pytest.mark.long
def test_killed_while_resolving_a_doubt_nobody_is_mailed_twice() -> None:
    for acted in (True, False):

        def prepare(klaviyo: FakeKlaviyo, ledger: Ledger, acted: bool = acted) -> None:
            let_in(ledger, ONE, TWO)
            klaviyo.faults.fail(
                "send", Misconfigured("Klaviyo", "send campaign", "answered 403", status=403), acted=acted
            )
            with pytest.raises(Misconfigured):
                invite(klaviyo, ledger, ONE, TWO)

        def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
            invite(klaviyo, ledger, ONE, TWO)
            assert klaviyo.mailed == {ONE: 1, TWO: 1}, moment

        killed_at_every_moment(prepare, lambda k, x: invite(k, x, ONE, TWO), afterwards)


@pytest.mark.long
def test_killed_at_any_moment_a_scheduled_batch_reaches_everybody_once() -> None:
    def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
        send_at = FakeClock().now + timedelta(hours=6)
        invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
        assert not klaviyo.mailed
        ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
        for _ in range(2):
            invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
        assert klaviyo.mailed == {ONE: 1, TWO: 1}, moment

    killed_at_every_moment(
        lambda _, ledger: let_in(ledger, ONE, TWO),
        lambda k, x: invite(k, x, ONE, TWO, send_at=FakeClock().now + timedelta(hours=6)),
        afterwards,
    )


def schedule_and_lose_one(klaviyo: FakeKlaviyo, ledger: Ledger, send_at: datetime) -> None:
    """Schedule a batch of two, then take the ticket of the first."""
    let_in(ledger, ONE, TWO)
    invite(klaviyo, ledger, ONE, TWO, send_at=send_at)
    set_grants(ledger, EDITION, keys(ONE), "revoked")
    record_holders(ledger, [TWO])


@pytest.mark.long
@pytest.mark.parametrize("fixes_late", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_during_a_withdrawal_the_others_get_one_mail(
    fixes_late: bool,
) -> None:
    send_at = FakeClock().now + timedelta(hours=6)

    def prepare(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
        klaviyo.fixes_late = fixes_late
        schedule_and_lose_one(klaviyo, ledger, send_at)

    def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
        for _ in range(2):
            invite(klaviyo, ledger, TWO, send_at=send_at)
        assert not klaviyo.mailed
        ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
        for _ in range(2):
            invite(klaviyo, ledger, TWO, send_at=send_at)
        assert klaviyo.mailed == {TWO: 1}, moment
        assert not unfinished_batches(ledger, PARTITION.key)

    killed_at_every_moment(prepare, lambda k, x: invite(k, x, TWO, send_at=send_at), afterwards)


@pytest.mark.long
def test_killed_while_taking_back_the_batch_still_leaves() -> None:
    """A draft that counts as sent would reach nobody."""
    send_at = FakeClock().now + timedelta(hours=6)

    def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
        ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
        for _ in range(2):
            problems = invite(klaviyo, ledger, TWO, send_at=send_at).problems
        assert (klaviyo.mailed[TWO], problems) == (1, []), moment

    killed_at_every_moment(
        lambda klaviyo, ledger: schedule_and_lose_one(klaviyo, ledger, send_at),
        lambda k, x: invite(k, x, TWO, send_at=send_at),
        afterwards,
    )


def test_a_deleted_scheduled_campaign_is_reported(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send_at = morning(ledger)
    schedule_and_lose_one(klaviyo, ledger, send_at)
    klaviyo.campaigns.clear()
    assert "not in Klaviyo" in invite(klaviyo, ledger, TWO, send_at=send_at).problems[0]
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    assert "pycontw-assets release" in invite(klaviyo, ledger, TWO, send_at=send_at).problems[0]


@pytest.mark.parametrize("lag", [4, 12])
def test_a_campaign_taken_back_may_show_it_late(klaviyo: FakeKlaviyo, ledger: Ledger, lag: int) -> None:
    send_at = morning(ledger)
    schedule_and_lose_one(klaviyo, ledger, send_at)
    klaviyo.draft_lag = lag
    for _ in range(4):
        invite(klaviyo, ledger, TWO, send_at=send_at)
    ledger.clock.advance(hours=7)  # type: ignore[attr-defined]
    for _ in range(4):
        problems = invite(klaviyo, ledger, TWO, send_at=send_at).problems
    assert problems == []
    assert klaviyo.mailed == {TWO: 1}


def test_a_campaign_that_leaves_while_taken_back_was_sent(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    send_at = morning(ledger)
    schedule_and_lose_one(klaviyo, ledger, send_at)
    klaviyo.faults.before("revert_send", lambda: ledger.clock.advance(hours=7))  # type: ignore[attr-defined]
    invite(klaviyo, ledger, TWO, send_at=send_at)
    invite(klaviyo, ledger, TWO, send_at=send_at)
    assert klaviyo.mailed[TWO] == 1
    assert not unfinished_batches(ledger, PARTITION.key)
