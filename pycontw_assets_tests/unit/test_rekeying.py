"""Older pseudonyms of one mailbox become one of today: nobody is let in, removed or invited because of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.ledger.batches import (
    Batch,
    accept_batch,
    claim_batch,
    close_batch,
    find_newcomers,
    intend_send,
    invitations_in,
    invitations_without_access,
    update_invitations,
)
from pycontw_assets.ledger.database.tables import (
    REFUSED_ADDRESS,
    discord_invites,
    entitlements,
    erased_attendees,
    erasures,
    grants,
    invitations,
    members,
    metadata,
    repeats,
    unconfirmed_members,
)
from pycontw_assets.ledger.grants import current_grants, grants_without_ticket, intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import intend_members, list_members
from pycontw_assets.ledger.people import (
    entitlements_of,
    erased_attendees_of,
    erasure_requests,
    invitations_of,
    periods_of,
    recognise,
    renew_pseudonyms,
    request_erasure,
)
from pycontw_assets.ledger.polls import Poll, record_poll
from pycontw_assets.ledger.restoration import mark_invited
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION, PSEUDONYMIZER

EDITION = PARTITION.edition
PLAIN, TYPED = "mei@example.org", "mei\u200b@example.org"
NEW, OLD = PSEUDONYMIZER.address(PLAIN), PSEUDONYMIZER.digest(TYPED)
STRANGER = PSEUDONYMIZER.address("stranger@example.org")


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Iterator[Ledger]:
    opened = Ledger(ledger_url, clock=clock)
    opened.check_identity("plain")
    yield opened
    opened.engine.dispose()


def hold(ledger: Ledger, *keys: str, partition: Any = PARTITION) -> None:
    poll = Poll(partition.key, ledger.clock(), "digest", len(keys), 0, None, "content")
    record_poll(ledger, EDITION, poll, set(keys))


def let_in(ledger: Ledger, key: str, *, added_by_us: bool = True, state: Any = "granted") -> None:
    ledger.clock.advance(minutes=5)
    intend_grants(ledger, EDITION, PARTITION.key, [key], added_by_us=added_by_us)
    set_grants(ledger, EDITION, [key], state)


def batch(ledger: Ledger, name: str, *keys: str, period: int = 1, **changes: Any) -> str:
    made = Batch(
        batch_key=name, edition=EDITION, partition_key=PARTITION.key, poll_id="poll", state="open",
        campaign_name=f"campaign {name}", created_at=ledger.clock(), **changes,
    )  # fmt: skip
    claim_batch(ledger, made, dict.fromkeys(keys, period))
    return name


def sent(ledger: Ledger, name: str, *keys: str, period: int = 1) -> None:
    batch(ledger, name, *keys, period=period)
    accept_batch(ledger, name)
    close_batch(ledger, name, "sent", "Sent")


def periods(ledger: Ledger) -> list[tuple[int, str, bool]]:
    return [(p.period, p.state, p.added_by_us) for p in periods_of(ledger, NEW)]


def invited(ledger: Ledger) -> list[tuple[int, str, str]]:
    return [(i.period, i.state, i.batch_key) for i in invitations_of(ledger, NEW)]


def meet(ledger: Ledger) -> None:
    """Recognise the person, and check that nothing is left of the old pseudonym or changed of others."""
    tables = (entitlements, grants, invitations)
    before = [of(ledger, table, STRANGER) for table in tables]
    recognise(ledger, PSEUDONYMIZER, [TYPED])
    assert [of(ledger, table, STRANGER) for table in tables] == before
    assert not any(of(ledger, table, OLD) for table in tables)


def of(ledger: Ledger, table: sa.Table, key: str) -> list[Any]:
    with ledger.engine.begin() as db:
        return [tuple(row) for row in db.execute(sa.select(table).where(table.c.address_key == key))]


def test_every_table_with_people_is_moved_or_replaced_by_the_next_poll() -> None:
    with_people = {table.name for table in metadata.sorted_tables if "address_key" in table.c}
    left_to_the_next_poll = {members.name, unconfirmed_members.name}
    assert with_people - left_to_the_next_poll == {
        table.name
        for table in (entitlements, grants, invitations, erased_attendees, erasures, repeats, discord_invites)
    }


def test_erasures_that_are_not_finished_go_on_for_the_person(ledger: Ledger) -> None:
    request_erasure(ledger, OLD, ["the vault"], {PARTITION.key: [1]})
    request_erasure(ledger, NEW, ["the tables"], {PARTITION.key: [2]})
    meet(ledger)
    [request] = erasure_requests(ledger)
    assert (request.address_key, request.places) == (NEW, {"the vault", "the tables"})
    assert [item.address_key for item in erased_attendees_of(ledger, PARTITION.key)] == [NEW, NEW]


# -- one pseudonym ------------------------------------------------------------------------------------


def test_everything_about_a_person_moves(ledger: Ledger) -> None:
    for partition in (PARTITION, OTHER_PARTITION):
        hold(ledger, OLD, STRANGER, partition=partition)
    for key in (OLD, STRANGER):
        let_in(ledger, key)
    sent(ledger, "first", OLD, STRANGER)
    set_grants(ledger, EDITION, [OLD], "revoked", revoked_in="poll")
    let_in(ledger, OLD)
    before = [(p, i) for p in periods_of(ledger, OLD) for i in invitations_of(ledger, OLD)]
    meet(ledger)
    assert [(p, i) for p in periods_of(ledger, NEW) for i in invitations_of(ledger, NEW)] == before
    assert entitlements_of(ledger, NEW) == {PARTITION.key, OTHER_PARTITION.key}
    assert [item.address_key for item in invitations_in(ledger, "first")] == sorted([NEW, STRANGER])
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {NEW: 2}


def test_a_person_who_is_not_known_costs_nothing(ledger: Ledger) -> None:
    meet(ledger)
    recognise(ledger, PSEUDONYMIZER, [PLAIN, "lin@xn--r8jz45g.example.org", "not an address", ""])
    assert periods(ledger) == invited(ledger) == []


def test_somebody_marked_as_invited_is_not_mailed_when_the_first_ticket_is_bought(ledger: Ledger) -> None:
    mark_invited(ledger, EDITION, [OLD])
    meet(ledger)
    hold(ledger, NEW)
    let_in(ledger, NEW)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


def test_somebody_whose_spelling_was_refused_is_invited_in_the_deliverable_one(ledger: Ledger) -> None:
    """No mail can have been sent, and the ticket's owner could not correct it: the pseudonym is the same now."""
    hold(ledger, OLD)
    let_in(ledger, OLD)
    batch(ledger, "first", OLD)
    update_invitations(ledger, "first", [OLD], state="unreachable", reason=REFUSED_ADDRESS)
    meet(ledger)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {NEW: 1}


@pytest.mark.parametrize("reason", ["HARD_BOUNCE", "UNSUBSCRIBE"])
def test_somebody_who_is_suppressed_stays_so(ledger: Ledger, reason: str) -> None:
    hold(ledger, OLD)
    let_in(ledger, OLD)
    batch(ledger, "first", OLD)
    update_invitations(ledger, "first", [OLD], state="unreachable", reason=reason)
    meet(ledger)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


def test_a_membership_is_left_to_the_next_poll_which_replaces_its_profile(ledger: Ledger) -> None:
    intend_members(ledger, PARTITION.key, {OLD: "P1"})
    meet(ledger)
    assert list_members(ledger, PARTITION.key) == {OLD: "P1"}


# -- two pseudonyms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [OLD, NEW])
def test_two_guests_of_one_mailbox_are_one_who_counts_as_invited(ledger: Ledger, first: str) -> None:
    second = OLD if first == NEW else NEW
    hold(ledger, OLD, NEW)
    let_in(ledger, first)
    sent(ledger, "first", first)
    let_in(ledger, second)
    meet(ledger)
    assert periods(ledger) == [(1, "granted", True)]
    assert invited(ledger) == [(1, "accepted", "first")]
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}
    assert entitlements_of(ledger, NEW) == {PARTITION.key}


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ("granted", "intended", "granted"),
        ("intended", "granted", "granted"),
        ("assumed", "intended", "assumed"),
        ("revoking", "granted", "granted"),
        ("granted", "revoking", "granted"),
        ("revoking", "intended", "intended"),
    ],
)
def test_the_grant_that_keeps_access_is_kept(ledger: Ledger, old: str, new: str, merged: str) -> None:
    let_in(ledger, OLD, state=old)
    let_in(ledger, NEW, state=new)
    meet(ledger)
    assert periods(ledger) == [(1, merged, True)]


@pytest.mark.parametrize("ours", [(True, False), (False, True), (False, False), (True, True)])
def test_a_guest_is_ours_to_remove_only_if_both_entries_are(ledger: Ledger, ours: tuple[bool, bool]) -> None:
    for key, added_by_us in zip((OLD, NEW), ours, strict=True):
        let_in(ledger, key, added_by_us=added_by_us)
    meet(ledger)
    assert periods(ledger) == [(1, "granted", all(ours))]
    assert grants_without_ticket(ledger, EDITION).keys() == ({NEW} if all(ours) else set())


def test_past_periods_stay_in_order_and_keep_their_invitations(ledger: Ledger) -> None:
    for number, key in enumerate((NEW, OLD, NEW, OLD)):
        let_in(ledger, key)
        sent(ledger, f"batch {number}", key, period=number // 2 + 1)
        if number < 3:
            set_grants(ledger, EDITION, [key], "revoked")
    meet(ledger)
    assert periods(ledger) == [(n, "revoked", True) for n in (1, 2, 3)] + [(4, "granted", True)]
    assert invited(ledger) == [(n + 1, "accepted", f"batch {n}") for n in range(4)]
    assert current_grants(ledger, EDITION)[NEW].period == 4


def test_a_mark_for_the_next_ticket_stays_one(ledger: Ledger) -> None:
    let_in(ledger, OLD)
    sent(ledger, "first", OLD)
    set_grants(ledger, EDITION, [OLD], "revoked")
    mark_invited(ledger, EDITION, [NEW])
    meet(ledger)
    hold(ledger, NEW)
    let_in(ledger, NEW)
    assert [period for period, *_ in invited(ledger)] == [1, 2]
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


@pytest.mark.parametrize("doubted", [OLD, NEW])
def test_of_two_open_batches_the_one_that_was_perhaps_sent_keeps_the_person(ledger: Ledger, doubted: str) -> None:
    for key in (OLD, NEW):
        let_in(ledger, key)
        batch(ledger, f"of {key[:4]}", key)
    intend_send(ledger, f"of {doubted[:4]}")
    meet(ledger)
    assert invited(ledger) == [(1, "claimed", f"of {doubted[:4]}")]


def test_an_invitation_that_waits_wins_over_a_spelling_that_could_not_be_reached(ledger: Ledger) -> None:
    hold(ledger, OLD, NEW)
    for key in (OLD, NEW):
        let_in(ledger, key)
    batch(ledger, "first", OLD)
    update_invitations(ledger, "first", [OLD], state="unreachable", reason="HARD_BOUNCE")
    meet(ledger)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {NEW: 1}


def test_a_second_mail_on_its_way_counts_as_one_without_access(ledger: Ledger) -> None:
    """So the scheduled campaign is taken back and sent without the second profile of the mailbox."""
    scheduled = ledger.clock() + timedelta(days=1)
    let_in(ledger, NEW)
    sent(ledger, "first", NEW)
    let_in(ledger, OLD)
    second = Batch(
        batch_key="second", edition=EDITION, partition_key=PARTITION.key, poll_id="poll", state="open",
        campaign_name="campaign", created_at=ledger.clock(), send_at=scheduled,
    )  # fmt: skip
    claim_batch(ledger, second, {OLD: 1})
    accepted = accept_batch(ledger, "second")
    meet(ledger)
    assert invited(ledger) == [(1, "accepted", "second"), (2, "accepted", "first")]
    assert periods(ledger) == [(1, "revoked", True), (2, "granted", True)]
    assert invitations_without_access(ledger, accepted) == {NEW}


def test_other_editions_are_merged_apart(ledger: Ledger) -> None:
    let_in(ledger, NEW)
    intend_grants(ledger, "2030", "2030-individual-1", [OLD], added_by_us=True, state="granted")
    meet(ledger)
    assert [(p.edition, p.period, p.state) for p in periods_of(ledger, NEW)] == [
        ("2030", 1, "granted"),
        (EDITION, 1, "granted"),
    ]


def test_many_people_are_moved_at_once(ledger: Ledger) -> None:
    typed = [f"B{number}\u200b@example.org" for number in range(600)]
    new_keys = {old: new for each in typed for old, new in PSEUDONYMIZER.former_keys(each).items()}
    known = sorted(new_keys)[::40]
    hold(ledger, *known)
    intend_grants(ledger, EDITION, PARTITION.key, known, added_by_us=True, state="granted")
    renew_pseudonyms(ledger, new_keys, {})
    assert current_grants(ledger, EDITION).keys() == set(known), "this ledger is one of today"
    recognise(ledger, PSEUDONYMIZER, typed)
    assert current_grants(ledger, EDITION).keys() == {new_keys[key] for key in known}
