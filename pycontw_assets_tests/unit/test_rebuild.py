"""Rebuilding a lost ledger: in doubt a person counts as invited, and a guest as somebody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.authorize.rebuild_from_gather import rebuild_grants
from pycontw_assets.ledger.batches import Batch, Invitation, claim_batch, find_newcomers, unfinished_batches
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import known_events, register_events
from pycontw_assets.ledger.grants import Grant, current_grants, grants_without_ticket, intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import list_members, reserve_pool_list
from pycontw_assets.ledger.polls import Poll, recorded_holders
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.ledger.restoration import Restoration, begin, find_batch, has_begun, mark_invited, restore
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.klaviyo_records import Campaign, Profile
from pycontw_assets.send_email.names import ticket_holder_list_partition
from pycontw_assets.send_email.rebuild_from_klaviyo import (
    HolderList,
    RebuiltInvitations,
    rebuild_invitations,
)
from pycontw_assets.send_email.release import campaign_status, refusal
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION, HoldTickets, keys

EDITION = PARTITION.edition
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
KEY = "0123456789ab"
NAME = f"pycontw-{EDITION}-invite-20310601T0200Z-{KEY}"
PROFILE = Profile("P1", "a@example.org", True, properties={f"pycontw_{EDITION}_invite_key": KEY})


def campaign(status: str, name: str = NAME, **fields: Any) -> Campaign:
    made: dict[str, Any] = {
        "created_at": FakeClock()(),
        "message_id": "M1",
        "included_lists": ("L1",),
        "excluded_lists": (),
    }
    made |= {"campaign_id": f"C-{status}", "name": name, "status": status, "uses_smart_sending": False}
    return Campaign(**{**made, **fields})


def holders_of(partition: EventPartition, **members: Profile) -> HolderList:
    return HolderList(partition, f"list of {partition.key}", members)


def rebuild(*campaigns: Campaign, lists: tuple[HolderList, ...] | None = None, **changes: Any) -> RebuiltInvitations:
    found = lists if lists is not None else (holders_of(PARTITION, **{A: PROFILE}),)
    given = {"followed": {PARTITION.key}, "list_names": {"L1": "pool-01"}, "now": FakeClock()(), **changes}
    return rebuild_invitations(EDITION, found, campaigns, **given)


# -- invitations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state", "invitation"),
    [
        ("Sent", "sent", "accepted"),
        ("Variations Sent", "sent", "accepted"),
        ("Sending", "accepted", "accepted"),
        ("Queued without Recipients", "accepted", "accepted"),
        ("a status of tomorrow", "accepted", "accepted"),
        ("Cancelled: Billing Limit", "cancelled", "unreachable"),
    ],
)
def test_people_of_a_campaign_past_draft_count_as_invited(status: str, state: str, invitation: str) -> None:
    rebuilt = rebuild(campaign(status))
    [batch] = rebuilt.batches
    assert (batch.batch_key, batch.state, batch.remote_status) == (KEY, state, status)
    assert (batch.ended_at is None) is (state == "accepted")
    [item] = rebuilt.invitations[KEY]
    assert (item.address_key, item.period, item.state, item.profile_id) == (A, 1, invitation, "P1")
    assert rebuilt.unsent == rebuilt.unknown == ()


def test_a_draft_invites_nobody_and_is_named() -> None:
    assert rebuild(campaign("Draft")) == RebuiltInvitations(unsent=(NAME,))


@pytest.mark.parametrize("statuses", [("Draft", "Sent"), ("Sent", "Draft")])
def test_among_campaigns_with_one_key_the_sent_one_counts(statuses: tuple[str, str]) -> None:
    rebuilt = rebuild(*map(campaign, statuses))
    assert [batch.campaign_id for batch in rebuilt.batches] == ["C-Sent"]
    assert rebuilt.unsent == ()


def test_people_with_a_key_without_a_campaign_wait_for_a_person_and_every_poll_says_so() -> None:
    rebuilt = rebuild()
    [batch] = rebuilt.batches
    assert rebuilt.unknown == (KEY,)
    # `cancelled_batches` finds the batches whose people have its end as their reason.
    assert (batch.state, batch.remote_status) == ("cancelled", "no such campaign")
    assert [(item.state, item.reason) for item in rebuilt.invitations[KEY]] == [("unreachable", batch.remote_status)]
    assert refusal(batch, None) is None


def test_a_batch_of_unreachable_people_has_no_campaign() -> None:
    barred = Profile("P1", None, False, suppressions=("HARD_BOUNCE",), properties=PROFILE.properties)
    rebuilt = rebuild(lists=(holders_of(PARTITION, **{A: barred}),))
    assert [batch.state for batch in rebuilt.batches] == ["empty"]
    assert rebuilt.unknown == ()
    assert rebuilt.invitations[KEY] == [Invitation(A, 1, "unreachable", "P1", "HARD_BOUNCE")]


@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_a_profile_without_a_readable_key_was_never_invited(value: Any) -> None:
    stranger = Profile("P2", None, properties={f"pycontw_{EDITION}_invite_key": value, "pycontw_2030_invite_key": KEY})
    rebuilt = rebuild(lists=(holders_of(PARTITION, **{A: stranger}),))
    assert rebuilt == RebuiltInvitations()


def test_tickets_of_two_events_make_one_invitation() -> None:
    lists = (
        holders_of(OTHER_PARTITION, **{A: PROFILE}),
        holders_of(PARTITION, **{A: PROFILE, B: PROFILE}),
    )
    rebuilt = rebuild(campaign("Sent"), lists=lists, followed={PARTITION.key, OTHER_PARTITION.key})
    assert [batch.partition_key for batch in rebuilt.batches] == [PARTITION.key]
    assert [item.address_key for item in rebuilt.invitations[KEY]] == [A, B]


def test_profiles_in_two_spellings_make_one_invitation_and_the_sent_one_counts() -> None:
    other_key = "ba9876543210"
    other = Profile("P2", "a@example.org", True, properties={f"pycontw_{EDITION}_invite_key": other_key})
    lists = (holders_of(OTHER_PARTITION, **{A: other}), holders_of(PARTITION, **{A: PROFILE}))
    cancelled = campaign("Cancelled: Billing Limit", NAME.replace(KEY, other_key))
    rebuilt = rebuild(campaign("Sent"), cancelled, lists=lists, followed={PARTITION.key, OTHER_PARTITION.key})
    invitations = [item for items in rebuilt.invitations.values() for item in items]
    assert [(item.profile_id, item.state) for item in invitations] == [("P1", "accepted")]


def test_a_campaign_on_its_way_belongs_to_a_polled_event() -> None:
    ended = (holders_of(OTHER_PARTITION, **{A: PROFILE}),)
    rebuilt = rebuild(campaign("Scheduled"), lists=ended)
    assert [batch.partition_key for batch in rebuilt.batches] == [PARTITION.key]


def test_a_campaign_keeps_the_ids_to_follow_it() -> None:
    later = FakeClock()() + timedelta(hours=3)
    [batch] = rebuild(campaign("Scheduled", send_at=later)).batches
    assert (batch.send_at, batch.list_id, batch.list_name, batch.campaign_id) == (later, "L1", "pool-01", "C-Scheduled")


@pytest.mark.parametrize(
    ("name", "partition"),
    [
        (f"pycontw-{PARTITION.key}-ticket-holders", PARTITION),
        ("pycontw-2031-friends-90001-ticket-holders", None),
        ("pycontw-2031-invitations-01", None),
        ("Newsletter", None),
        (f"pycontw-{PARTITION.key}-ticket-holders (copy)", None),
    ],
)
def test_the_name_of_a_list_gives_its_event(name: str, partition: EventPartition | None) -> None:
    assert ticket_holder_list_partition(name) == partition


# -- grants -----------------------------------------------------------------------------------------


def test_the_entry_shows_its_origin() -> None:
    present = {
        A: {"affiliation": "Attendee"},
        B: {"affiliation": "Speaker"},
        C: {"affiliation": ""},
        "d": "odd",
        "stranger": {"affiliation": "Attendee"},
    }
    holders = dict.fromkeys([A, B, C, "d", "e"], PARTITION.key)
    grants = {g.address_key: (g.state, g.added_by_us, g.period) for g in rebuild_grants(EDITION, holders, present)}
    assert grants == {
        A: ("granted", True, 1),
        B: ("granted", False, 1),
        C: ("granted", False, 1),
        "d": ("granted", False, 1),
        "e": ("intended", True, 1),
    }


def test_each_grant_is_rebuilt_in_the_space_whose_list_has_the_guest() -> None:
    holders = dict.fromkeys([A, B], PARTITION.key)
    grants = rebuild_grants(EDITION, holders, {A: {"affiliation": "Attendee"}}, {A: "north", C: "south"})
    assert [grant.space_digest for grant in grants] == ["north", None]


def test_with_the_guest_list_off_access_is_assumed() -> None:
    assert [grant.state for grant in rebuild_grants(EDITION, {A: PARTITION.key}, None)] == ["assumed"]


# -- the ledger -------------------------------------------------------------------------------------


def restoration(**fields: Any) -> Restoration:
    made: dict[str, Any] = {
        "partitions": [PARTITION],
        "polls": [Poll(PARTITION.key, FakeClock()(), None, 2, 0, None, "", "")],
        "holders": {PARTITION.key: {A, B}},
        "members": {PARTITION.key: {A: "P1"}},
        "grants": [Grant(EDITION, key, 1, PARTITION.key, "granted", added_by_us=True) for key in (A, B)],
        "batches": rebuild(campaign("Sending")).batches,
        "invitations": {KEY: [Invitation(A, 1, "accepted", "P1")]},
        "list_ids": {"holders": "L9"},
        "pool": {"pool-01": KEY, "pool-02": None},
    }
    return Restoration(EDITION, **{**made, **fields})


def test_a_restored_ledger_knows_the_facts_of_the_lost_one(ledger: Ledger, clock: FakeClock) -> None:
    restore(ledger, restoration())
    assert known_events(ledger) == {PARTITION.event_id: PARTITION}
    assert set(current_grants(ledger, EDITION)) == recorded_holders(ledger, PARTITION.key) == {A, B}
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {B: 1}
    assert list_members(ledger, PARTITION.key) == {A: "P1"}
    assert [batch.batch_key for batch in unfinished_batches(ledger, PARTITION.key)] == [KEY]
    assert remembered_id(ledger, "list", "holders") == "L9"
    assert grants_without_ticket(ledger, EDITION) == {}
    names = ["pool-01", "pool-02"]
    assert reserve_pool_list(ledger, "another", names, clock() - timedelta(hours=1)) is None, "one is in use, one rests"
    clock.advance(hours=1, seconds=1)
    assert reserve_pool_list(ledger, "another", names, clock() - timedelta(hours=1)) == "pool-02"


def test_a_ledger_at_work_is_never_written_over(ledger: Ledger, hold_tickets: HoldTickets) -> None:
    register_events(ledger, [PARTITION])
    hold_tickets(["anna@example.org"])
    begin(ledger, EDITION)
    with pytest.raises(LedgerError, match="not lost"):
        restore(ledger, restoration())
    assert recorded_holders(ledger, PARTITION.key) == keys("anna@example.org")


def test_restoring_is_all_or_nothing(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        restore(ledger, restoration(batches=[]))
    assert known_events(ledger) == {}
    assert not has_begun(ledger, EDITION)
    restore(ledger, restoration())
    with pytest.raises(LedgerError, match="not lost"):
        restore(ledger, restoration())


def test_a_restoration_replaces_the_rows_of_polls_meanwhile(ledger: Ledger, hold_tickets: HoldTickets) -> None:
    """Not knowing anybody, they took our guests for somebody else's, and a renamed event for a new one."""
    renamed = EventPartition(PARTITION.event_id, EDITION, "reserved")
    register_events(ledger, [renamed])
    hold_tickets(["anna@example.org"], renamed)
    intend_grants(ledger, EDITION, renamed.key, [A], added_by_us=False, state="granted")
    mark_invited(ledger, EDITION, [C])
    restore(ledger, restoration())
    assert known_events(ledger) == {PARTITION.event_id: PARTITION}
    assert current_grants(ledger, EDITION)[A].added_by_us
    assert recorded_holders(ledger, renamed.key) == set()
    assert mark_invited(ledger, EDITION, [C]) == 0, "a person's word stays"


def test_an_edition_begins_by_record_or_by_a_batch(ledger: Ledger) -> None:
    mark_invited(ledger, EDITION, [A])
    assert not has_begun(ledger, EDITION)
    claim_batch(ledger, batch_in("open"), {B: 1})
    assert has_begun(ledger, EDITION), "a ledger from before there was a word for it"
    assert not has_begun(ledger, "2032")
    begin(ledger, "2032")
    assert has_begun(ledger, "2032")


def test_marking_takes_the_open_period_or_the_next_one(ledger: Ledger) -> None:
    intend_grants(ledger, EDITION, PARTITION.key, [A, B], added_by_us=True, state="granted")
    set_grants(ledger, EDITION, [B], "revoked")
    assert mark_invited(ledger, EDITION, [A, B, C]) == 3
    assert mark_invited(ledger, EDITION, [A, B, C]) == 0
    with ledger.engine.begin() as db:
        rows = db.execute(sa.text("SELECT address_key, period, state FROM invitations ORDER BY address_key")).all()
        batches = db.scalar(sa.text("SELECT count(*) FROM batches"))
    assert [tuple(row) for row in rows] == [(A, 1, "marked"), (B, 2, "marked"), (C, 1, "marked")]
    assert batches == 1, "marking nobody leaves nothing behind"


# -- release ----------------------------------------------------------------------------------------


def batch_in(state: Any, campaign_id: str | None = "C1") -> Batch:
    return Batch(KEY, EDITION, PARTITION.key, "poll", state, NAME, FakeClock()(), campaign_id=campaign_id)


@pytest.mark.parametrize(
    ("state", "remote", "why"),
    [
        ("open", None, "not sent yet"),
        ("accepted", "Cancelled", "on its way"),
        ("sent", "Cancelled", "it was sent"),
        ("empty", None, "never had a campaign"),
        ("cancelled", "Sent", "is Sent"),
        ("cancelled", "Variations Sent", "is Variations Sent"),
        ("cancelled", "Draft", "may still be sent"),
        ("cancelled", "Sending", "may still be sent"),
        ("cancelled", "a status of tomorrow", "may still be sent"),
    ],
)
def test_only_a_batch_that_ended_unsent_is_released(state: str, remote: str | None, why: str) -> None:
    assert why in (refusal(batch_in(state), remote) or "")


@pytest.mark.parametrize("remote", ["Cancelled", "Cancelled: Billing Limit", None])
def test_a_cancelled_or_vanished_campaign_lets_its_people_go(remote: str | None) -> None:
    assert refusal(batch_in("cancelled"), remote) is None


class Campaigns(FakeKlaviyo):
    """An account that holds exactly these campaigns, some of them archived."""

    def __init__(self, *campaigns: Campaign, archived: tuple[Campaign, ...] = ()) -> None:
        super().__init__(FakeClock())
        self.shown, self.hidden = campaigns, archived

    def find_campaigns(self, name_contains: str, *, archived: bool = False) -> tuple[Campaign, ...]:
        return tuple(c for c in (self.hidden if archived else self.shown) if name_contains in c.name)


def test_without_an_id_campaigns_are_found_by_batch_key() -> None:
    nameless = batch_in("cancelled", None)
    assert campaign_status(Campaigns(), nameless) is None  # type: ignore[arg-type]
    assert campaign_status(Campaigns(campaign("Draft")), nameless) == "Draft"  # type: ignore[arg-type]
    hidden = Campaigns(campaign("Draft"), archived=(campaign("Sent"),))
    assert campaign_status(hidden, nameless) == "Sent"  # type: ignore[arg-type]


def test_a_batch_nobody_knows_is_named_as_such(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no batch has this key"):
        find_batch(ledger, KEY)
