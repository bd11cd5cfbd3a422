"""A lost invitation is sent once more if a person asks, at most once an hour, and the ledger knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.batches import (
    cancelled_batches,
    invitations_in,
    unfinished_batches,
    update_invitations,
)
from pycontw_assets.ledger.database.rekeying import rekey
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.grants import set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import invitations_of
from pycontw_assets.ledger.polls import begin_pause
from pycontw_assets.ledger.resending.repeats import Repeat, note_handed_over, record_repeat, repeats_of
from pycontw_assets.pipeline.resending.by_campaign import send_by_campaign
from pycontw_assets.pipeline.resending.resend import NotResent, Resending, Resent, Ticket
from pycontw_assets.pipeline.steps import campaign_step
from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot
from pycontw_assets.send_email.campaign_sending import CampaignOutcome
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, empty_ledger, holders, memory_ledger
from pycontw_assets_tests.unit.test_campaign import let_in

ANNA, BEN = "anna@example.org", "ben@example.com"
ANNAS = PSEUDONYMIZER.address(ANNA)
EMAIL = "聯絡人 Email"
HOUR = timedelta(hours=1)


class Orders:
    """A vault with one paid ticket for each of some addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    def read(self, key: str) -> OrderSnapshot | None:
        seen = FakeClock().now
        records = {
            number: AttendeeRecord(
                Attendee(attendee_id=number, is_paid=True, state="activated", answers=((EMAIL, address),)), seen
            )
            for number, address in enumerate(self.addresses, start=1)
        }
        return OrderSnapshot(PARTITION, records) if key == PARTITION.key else None

    def stream(self, key: str) -> Any:
        raise NotImplementedError

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        raise NotImplementedError


@dataclass
class Sale:
    """Anna and Ben hold tickets and are let in. ``polls`` invite them."""

    ledger: Ledger
    klaviyo: FakeKlaviyo
    vault: Orders = field(default_factory=lambda: Orders(ANNA, BEN))
    settings: Settings = field(default_factory=lambda: Settings(_env_file=None, edition="2031"))

    @property
    def clock(self) -> FakeClock:
        clock: Any = self.ledger.clock
        return clock  # type: ignore[no-any-return]

    @property
    def waits(self) -> WaitPolicy:
        return WaitPolicy(sleep=self.clock.sleep, lock=0)

    def begin(self) -> Sale:
        register_events(self.ledger, [PARTITION])
        let_in(self.ledger, ANNA, BEN)
        return self

    def poll(self, klaviyo: Any = None, ledger: Any = None) -> CampaignOutcome:
        self.clock.advance(minutes=5)
        klaviyo, ledger = klaviyo or self.klaviyo, ledger or self.ledger
        step = campaign_step(
            PARTITION,
            klaviyo=klaviyo,
            ledger=ledger,
            waits=self.waits,
            settings=self.settings,
            poll_id=uuid4().hex,
        )
        return step.run(PARTITION, holders(*self.vault.addresses))

    def resend(self, address: str = ANNA, klaviyo: Any = None, ledger: Any = None, **options: Any) -> Resent:
        self.clock.advance(minutes=5)
        klaviyo, ledger = klaviyo or self.klaviyo, ledger or self.ledger
        send = partial(send_by_campaign, klaviyo=klaviyo, ledger=ledger, waits=self.waits, settings=self.settings)
        return Resending(
            **{"way": "campaign", "send": send, **options},
            vault=self.vault,
            ledger=ledger,
            pseudonymizer=PSEUDONYMIZER,
            waits=self.waits,
            settings=self.settings,
        ).run(address)

    def refused(self, address: str = ANNA) -> str:
        """Return why the invitation is not sent once more. Nothing may have changed by that."""
        before, mailed = repeats_of(self.ledger, PSEUDONYMIZER.address(address)), dict(self.klaviyo.mailed)
        writes = self.klaviyo.calls.copy()
        with pytest.raises(NotResent) as refusal:
            self.resend(address)
        assert repeats_of(self.ledger, PSEUDONYMIZER.address(address)) == before
        assert self.klaviyo.mailed == mailed
        assert set(self.klaviyo.calls - writes) <= {"find_profiles"}
        return str(refusal.value)


@pytest.fixture
def sale(ledger: Ledger, clock: FakeClock) -> Sale:
    return Sale(ledger, FakeKlaviyo(clock)).begin()


@pytest.fixture
def invited(sale: Sale) -> Sale:
    sale.poll()
    assert sale.klaviyo.mailed == {ANNA: 1, BEN: 1}
    return sale


def test_a_repeat_goes_to_one_person_and_is_recorded(invited: Sale) -> None:
    result = invited.resend()
    assert result.is_handed_over, result.text
    assert invited.klaviyo.mailed == {ANNA: 2, BEN: 1}
    [repeat] = repeats_of(invited.ledger, ANNAS)
    assert (repeat.way, repeat.partition_key, repeat.edition) == ("campaign", PARTITION.key, "2031")
    assert repeat.handed_over_at is not None
    assert "@" not in repr(repeat)
    for _ in range(3):
        invited.poll()
    assert invited.klaviyo.mailed == {ANNA: 2, BEN: 1}


def test_the_repeat_is_her_invitation_from_then_on(invited: Sale) -> None:
    [before] = invitations_of(invited.ledger, ANNAS)
    invited.resend()
    [after] = invitations_of(invited.ledger, ANNAS)
    assert (after.edition, after.period, after.state) == (before.edition, before.period, "accepted")
    assert after.batch_key != before.batch_key
    assert [item.state for item in invitations_in(invited.ledger, before.batch_key)] == ["accepted"]  # Ben's


def test_once_an_hour_is_the_most(invited: Sale) -> None:
    invited.resend()
    assert "once an hour is the most" in invited.refused()
    invited.clock.advance(minutes=56)
    assert invited.resend().is_handed_over
    assert len(repeats_of(invited.ledger, ANNAS)) == 2
    assert invited.klaviyo.mailed == {ANNA: 3, BEN: 1}


def test_without_a_usable_ticket_nothing_is_sent(invited: Sale) -> None:
    invited.vault.addresses = [BEN]
    assert "no usable ticket" in invited.refused()
    assert "no usable ticket" in invited.refused("stranger@example.org")


@pytest.mark.parametrize("state", ["intended", "revoking", "revoked"])
def test_without_access_nothing_is_sent(invited: Sale, state: Any) -> None:
    set_grants(invited.ledger, "2031", {ANNAS}, state)
    assert "not on the guest list yet" in invited.refused()


def test_whoever_was_never_invited_is_left_to_the_next_poll(sale: Sale) -> None:
    assert "never invited" in sale.refused()
    sale.poll()
    assert sale.klaviyo.mailed == {ANNA: 1, BEN: 1}


def test_an_open_batch_is_left_to_the_next_poll(sale: Sale) -> None:
    sale.klaviyo.faults.fail("create_campaign", Unavailable("Klaviyo", "create campaign", "answered 503"))
    with pytest.raises(Unavailable):
        sale.poll()
    assert "not sent yet; the next poll goes on" in sale.refused()


def test_a_mail_on_its_way_is_waited_for(sale: Sale) -> None:
    sale.klaviyo.status_lag = 10_000
    sale.poll()
    assert "on its way" in sale.refused()


def test_a_cancelled_campaign_is_released_first(sale: Sale) -> None:
    sale.klaviyo.ends_as = "Cancelled: Billing Limit"
    sale.poll()
    [batch] = cancelled_batches(sale.ledger, PARTITION.key)
    assert f"pycontw-assets release {batch.batch_key}" in sale.refused()


def test_whom_mail_cannot_reach_is_written_to_by_hand(sale: Sale) -> None:
    sale.klaviyo.suppressed = {ANNA}
    sale.poll()
    assert "by hand" in sale.refused()


def test_whoever_left_the_newsletter_since_is_written_to_by_hand(invited: Sale) -> None:
    invited.klaviyo.suppressed = {ANNA}
    assert "by hand" in invited.refused()


def test_while_klaviyo_does_not_answer_nothing_is_recorded(invited: Sale) -> None:
    invited.klaviyo.faults.fail("find_profiles", Unavailable("Klaviyo", "find profiles", "answered 503"))
    assert "Nothing was changed" in invited.refused()


def test_while_polls_are_paused_nothing_is_sent(invited: Sale) -> None:
    begin_pause(invited.ledger)
    assert "paused" in invited.refused()


def test_in_a_dry_run_nothing_is_sent(invited: Sale) -> None:
    invited.settings = Settings(_env_file=None, edition="2031", pycontw_dry_run=True)
    assert "PYCONTW_DRY_RUN" in invited.refused()


def test_a_repeat_that_klaviyo_stops_is_released_like_any_other(invited: Sale) -> None:
    invited.klaviyo.ends_as = "Cancelled: Billing Limit"
    assert invited.resend().is_handed_over
    assert "release" in invited.refused()


def test_a_repeat_cut_short_is_finished_by_the_next_poll(invited: Sale) -> None:
    invited.klaviyo.faults.fail("create_campaign", Unavailable("Klaviyo", "create campaign", "answered 503"))
    result = invited.resend()
    assert not result.is_handed_over
    assert "the next poll goes on" in result.text
    assert repeats_of(invited.ledger, ANNAS)[0].handed_over_at is None
    invited.poll()
    assert invited.klaviyo.mailed == {ANNA: 2, BEN: 1}
    assert repeats_of(invited.ledger, ANNAS)[0].handed_over_at is not None


@pytest.mark.parametrize("apart", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment_a_repeat_costs_one_mail_at_most_and_is_recorded(apart: int) -> None:
    ledger = memory_ledger(FakeClock())
    moment, is_over, repeated = 0, False, 0
    while not is_over:
        empty_ledger(ledger)
        sale = Sale(ledger, FakeKlaviyo(ledger.clock)).begin()
        sale.poll()
        fuse = Fuse(moment)
        try:
            sale.resend(klaviyo=Fused(sale.klaviyo, fuse), ledger=fused_ledger(ledger, fuse))
            is_over = True
        except Killed:
            pass
        sale.clock.advance(minutes=10)  # the lock of the killed process
        for _ in range(2):
            sale.poll()
        repeats = repeats_of(ledger, ANNAS)
        assert sale.klaviyo.mailed == {ANNA: 1 + len(repeats), BEN: 1}, moment
        assert len(repeats) <= 1
        assert not unfinished_batches(ledger, PARTITION.key), moment
        repeated += len(repeats)
        moment += apart
    assert moment > 50
    assert 0 < repeated * apart < moment


def test_another_way_gets_a_fresh_id_and_is_recorded_before_its_call(invited: Sale) -> None:
    sent: list[str] = []

    def by_event(repeat: Repeat, ticket: Ticket) -> Resent:
        record_repeat(invited.ledger, repeat)
        assert [item.handed_over_at for item in repeats_of(invited.ledger, ANNAS)][-1] is None
        sent.append(f"{ticket.holder.address} {repeat.repeat_id}")
        note_handed_over(invited.ledger, repeat.repeat_id)
        return Resent(True, "accepted")

    assert invited.resend(way="event", send=by_event).is_handed_over
    invited.clock.advance(hours=1)
    assert invited.resend(way="event", send=by_event).is_handed_over
    assert len(set(sent)) == 2
    repeats = repeats_of(invited.ledger, ANNAS)
    assert [(item.way, item.handed_over_at is None) for item in repeats] == [("event", False)] * 2


def test_a_repeat_by_event_that_was_cut_short_goes_on_with_the_same_event(invited: Sale) -> None:
    """The service counts an event of one id once, so in doubt the same event is handed over again."""
    sent: list[tuple[str, int]] = []

    def by_event(repeat: Repeat, ticket: Ticket) -> Resent:
        record_repeat(invited.ledger, repeat)
        sent.append((repeat.repeat_id, ticket.period))
        if len(sent) < 3:
            raise Killed
        note_handed_over(invited.ledger, repeat.repeat_id)
        return Resent(True, "accepted")

    for _ in range(2):
        with pytest.raises(Killed):
            invited.resend(way="event", send=by_event)
    assert "once an hour" in invited.refused(), "by campaign it would be another mail"
    assert invited.resend(way="event", send=by_event).is_handed_over
    assert len(set(sent)) == 1
    assert sent[0][1] == 1
    assert len(repeats_of(invited.ledger, ANNAS)) == 1
    with pytest.raises(NotResent, match="once an hour"):
        invited.resend(way="event", send=by_event)


def test_repeats_follow_their_person_to_a_newer_pseudonym(invited: Sale) -> None:
    invited.resend()
    new = "f" * 64
    with invited.ledger.engine.begin() as db:
        rekey(db, {ANNAS: new}, invited.clock.now)
    assert len(repeats_of(invited.ledger, new)) == 1
    assert not repeats_of(invited.ledger, ANNAS)


def test_somebody_invited_by_event_may_get_the_repeat_by_campaign(invited: Sale) -> None:
    [item] = invitations_of(invited.ledger, ANNAS)
    facts = {"event_id": "pycontw-2031-invite-1", "handed_at": invited.clock.now, "seen_at": invited.clock.now}
    update_invitations(invited.ledger, item.batch_key, [ANNAS], **facts)
    assert invited.resend().is_handed_over
    assert invited.klaviyo.mailed == {ANNA: 2, BEN: 1}
    [item] = invitations_of(invited.ledger, ANNAS)
    assert (item.event_id, item.handed_at, item.seen_at) == (None, None, None)


def test_whoever_was_invited_by_other_means_may_get_the_mail(invited: Sale) -> None:
    """Marked people were never mailed by the program, so a person may ask for it."""
    [item] = invitations_of(invited.ledger, ANNAS)
    update_invitations(invited.ledger, item.batch_key, [ANNAS], state="marked")
    assert invited.resend().is_handed_over
