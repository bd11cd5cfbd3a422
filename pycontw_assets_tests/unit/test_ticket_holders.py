"""The list for announcements equals the holders, without a call when nothing changed."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from pycontw_assets.api.client import NotFound, Unavailable
from pycontw_assets.ledger.batches import Batch, claim_batch, reserve_batch_key
from pycontw_assets.ledger.grants import intend_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import count_members, intend_members, list_members, unconfirmed_members
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.ticket_holders import TicketHolderOutcome, sync_ticket_holders
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, empty_ledger, holders, keys, memory_ledger, record_holders
from pycontw_assets_tests.unit.test_campaign import step

ONE, TWO, THREE = "buyer-1@example.org", "buyer-2@example.org", "buyer-3@example.org"
NAME = ticket_holder_list(PARTITION)


@pytest.fixture
def klaviyo(clock: FakeClock) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def sync(
    klaviyo: Any, ledger: Any, *addresses: str, marks_newcomers: bool = False, is_wave: bool = False
) -> TicketHolderOutcome:
    waits = WaitPolicy(sleep=ledger.clock.sleep)
    return sync_ticket_holders(
        client=klaviyo,
        ledger=ledger,
        waits=waits,
        exclusive=nullcontext,
        partition=PARTITION,
        holders=holders(*addresses),
        may_mark=lambda: marks_newcomers,
        is_wave=is_wave,
    )


def test_the_list_follows_the_holders(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    for addresses in ((ONE, TWO), (TWO, THREE), (), (ONE,)):
        sync(klaviyo, ledger, *addresses)
        assert klaviyo.members(NAME) == set(addresses)
    assert len(klaviyo.lists) == 1


def test_a_profile_that_klaviyo_knows_by_two_spellings_stays(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """An older ledger knows the member by another pseudonym, which leaves while today's joins."""
    profile_id = klaviyo.upsert_profile(ONE, {}).profile_id
    intend_members(ledger, PARTITION.key, {"f" * 64: profile_id})
    for _ in range(2):
        sync(klaviyo, ledger, ONE, TWO)
        assert klaviyo.members(NAME) == {ONE, TWO}
        assert list_members(ledger, PARTITION.key).keys() == keys(ONE, TWO)
        assert count_members(ledger, PARTITION.key) == 2


def test_without_a_difference_klaviyo_is_not_called(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    sync(klaviyo, ledger, ONE, TWO)
    klaviyo.calls.clear()
    assert sync(klaviyo, ledger, ONE, TWO) == TicketHolderOutcome()
    assert not klaviyo.calls


def test_a_refused_address_is_counted_once_and_not_tried_for_ever(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.invalid = {ONE}
    outcome = sync(klaviyo, ledger, ONE, TWO)
    assert (outcome.added, outcome.refused) == (1, 1)
    klaviyo.calls.clear()
    sync(klaviyo, ledger, ONE, TWO)
    assert not klaviyo.calls
    assert sync(klaviyo, ledger, TWO).removed == 1


@pytest.mark.parametrize("acted", [True, False])
def test_a_list_with_a_lost_reply_is_found_at_once(klaviyo: FakeKlaviyo, ledger: Ledger, acted: bool) -> None:
    klaviyo.faults.lose_reply("create_list", acted=acted)
    sync(klaviyo, ledger, TWO)
    assert klaviyo.members(NAME) == {TWO}
    assert len(klaviyo.lists) == 1


@pytest.mark.parametrize("call", ["upsert_profile", "add_to_list", "remove_from_list"])
@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_is_made_good_by_the_next_poll(
    klaviyo: FakeKlaviyo, ledger: Ledger, call: str, acted: bool
) -> None:
    sync(klaviyo, ledger, ONE)
    klaviyo.faults.lose_reply(call, acted=acted)
    with pytest.raises(Unavailable):
        sync(klaviyo, ledger, TWO)
    sync(klaviyo, ledger, TWO)
    assert klaviyo.members(NAME) == {TWO}
    assert len(klaviyo.lists) == 1


def test_a_list_deleted_by_hand_is_made_again_with_everybody_on_it(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    sync(klaviyo, ledger, ONE, TWO)
    klaviyo.lists.clear()
    with pytest.raises(NotFound):
        sync(klaviyo, ledger, ONE, TWO, THREE)
    sync(klaviyo, ledger, ONE, TWO, THREE)
    assert klaviyo.members(NAME) == {ONE, TWO, THREE}


def test_a_deleted_profile_does_not_hold_up_the_others(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    """Somebody asked to be forgotten, then the ticket was refunded. An unknown id fails the whole call."""
    sync(klaviyo, ledger, ONE, TWO)
    klaviyo.deleted_profiles = {profile_id for profile_id, email in klaviyo.addresses.items() if email == ONE}
    sync(klaviyo, ledger, THREE)
    assert THREE in klaviyo.members(NAME)
    assert TWO not in klaviyo.members(NAME)
    klaviyo.calls.clear()
    sync(klaviyo, ledger, THREE)
    assert not klaviyo.calls


@pytest.mark.parametrize("later", [(TWO, THREE), (TWO,), (THREE,), ()])
def test_killed_at_any_moment_the_next_poll_mends_the_list(
    later: tuple[str, ...],
) -> None:
    ledger = memory_ledger(FakeClock())
    moment, is_over = 0, False
    while not is_over:
        empty_ledger(ledger)
        klaviyo, fuse = FakeKlaviyo(ledger.clock), Fuse(moment)
        sync(klaviyo, ledger, ONE, TWO)
        try:
            sync(Fused(klaviyo, fuse), fused_ledger(ledger, fuse), TWO, THREE)
            is_over = True
        except Killed:
            pass
        sync(klaviyo, ledger, *later)
        assert klaviyo.members(NAME) == set(later)
        assert list_members(ledger, PARTITION.key).keys() == keys(*later)
        assert not unconfirmed_members(ledger, PARTITION.key)
        moment += 1


# -- newcomers are marked with the key of their batch ---------------------------------------------------


def test_newcomers_cost_one_profile_call_each_for_list_and_batch(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    klaviyo.suppressed = {THREE}
    record_holders(ledger, [ONE, TWO, THREE])
    intend_grants(ledger, PARTITION.edition, PARTITION.key, keys(ONE, THREE), added_by_us=True, state="granted")
    sync(klaviyo, ledger, ONE, TWO, THREE, marks_newcomers=True)
    marked = {address for address, given in klaviyo.properties.items() if any("invite_key" in name for name in given)}
    assert marked == {ONE, THREE}, "TWO is not let in yet, and may belong to a later batch"
    outcome = step(klaviyo, ledger).run(PARTITION, holders(ONE, TWO, THREE))
    assert klaviyo.calls["upsert_profile"] == 3
    assert klaviyo.calls["find_profiles"] == 0
    assert (klaviyo.mailed, outcome.unreachable) == ({ONE: 1}, 1)
    [campaign] = klaviyo.campaigns.values()
    batch_key = campaign.record.name.rpartition("-")[2]
    assert klaviyo.properties[ONE][f"pycontw_{PARTITION.edition}_invite_key"] == batch_key
    intend_grants(ledger, PARTITION.edition, PARTITION.key, keys(TWO), added_by_us=True, state="granted")
    step(klaviyo, ledger).run(PARTITION, holders(ONE, TWO, THREE))
    assert klaviyo.mailed == {ONE: 1, TWO: 1}
    assert klaviyo.properties[TWO][f"pycontw_{PARTITION.edition}_invite_key"] != batch_key


def test_an_answer_of_an_earlier_poll_is_asked_for_again(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    record_holders(ledger, [ONE])
    intend_grants(ledger, PARTITION.edition, PARTITION.key, keys(ONE), added_by_us=True, state="granted")
    sync(klaviyo, ledger, ONE, marks_newcomers=True)
    klaviyo.suppressed = {ONE}
    ledger.clock.advance(minutes=11)  # type: ignore[attr-defined]
    assert step(klaviyo, ledger).run(PARTITION, holders(ONE)).unreachable == 1
    assert not klaviyo.mailed


def test_the_next_batch_has_a_key_that_no_batch_had(ledger: Ledger) -> None:
    assert reserve_batch_key(ledger, PARTITION.key, "one") == "one"
    assert reserve_batch_key(ledger, PARTITION.key, "two") == "one"
    batch = Batch("one", PARTITION.edition, PARTITION.key, "poll", "open", "name", ledger.clock())
    claim_batch(ledger, batch, {})
    assert reserve_batch_key(ledger, PARTITION.key, "three") == "three"
    claim_batch(ledger, replace(batch, batch_key="three", partition_key="another"), {})
    assert reserve_batch_key(ledger, PARTITION.key, "five") == "five", "a rebuilt ledger may know the key as used"
