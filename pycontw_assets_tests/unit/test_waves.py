"""A wave only adds: nobody loses anything because of orders that were read in part."""

from contextlib import nullcontext
from uuid import uuid4

import pytest

from pycontw_assets.authorize.guest_list_step import GuestListStep
from pycontw_assets.ledger.grants import current_grants, grants_without_ticket
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import record_wave, recorded_holders, unread_after_wave
from pycontw_assets.records import EventPartition, ImportedPartition
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.gather import FakeGather
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, holders, keys, record_holders
from pycontw_assets_tests.unit.test_campaign import let_in, state_of, step
from pycontw_assets_tests.unit.test_guest_list import run
from pycontw_assets_tests.unit.test_ticket_holders import NAME, sync

EDITION = PARTITION.edition
ONE, TWO, THREE = "buyer-1@example.org", "buyer-2@example.org", "buyer-3@example.org"


def wave(ledger: Ledger, *addresses: str, unread: int = 7) -> None:
    record_wave(ledger, EDITION, PARTITION.key, keys(*addresses), unread=unread)


def test_a_wave_adds_holders_and_the_end_of_the_poll_says_who_they_all_are(ledger: Ledger) -> None:
    record_holders(ledger, [ONE])
    wave(ledger, TWO)
    assert recorded_holders(ledger, PARTITION.key) == keys(ONE, TWO)
    assert unread_after_wave(ledger, PARTITION.key) == 7
    record_holders(ledger, [TWO, THREE])
    assert recorded_holders(ledger, PARTITION.key) == keys(TWO, THREE)
    assert unread_after_wave(ledger, PARTITION.key) == 0


def test_a_guest_without_a_known_ticket_stays_while_orders_are_unread(ledger: Ledger) -> None:
    """The ticket was given back, as a whole poll found out. Among the unread orders there may be another one."""
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    record_holders(ledger, [TWO])
    assert grants_without_ticket(ledger, EDITION).keys() == keys(ONE)
    wave(ledger, THREE)
    assert grants_without_ticket(ledger, EDITION) == {}
    step = GuestListStep(gather, ledger, PSEUDONYMIZER, nullcontext, uuid4().hex, configured_limit=0)
    assert step.run(PARTITION, holders(THREE)).granted == 1
    assert gather.entries.keys() == {ONE, TWO, THREE}
    assert run(gather, ledger, TWO, THREE, configured_limit=5).revoked == 1
    assert current_grants(ledger, EDITION).keys() == keys(TWO, THREE)


def test_nobody_leaves_the_list_of_holders_by_a_wave(ledger: Ledger, clock: FakeClock) -> None:
    klaviyo = FakeKlaviyo(clock)
    sync(klaviyo, ledger, ONE, TWO)
    sync(klaviyo, ledger, THREE, is_wave=True)
    assert klaviyo.members(NAME) == {ONE, TWO, THREE}


def test_a_wave_invites_its_people_and_leaves_other_batches_alone(ledger: Ledger, clock: FakeClock) -> None:
    klaviyo = FakeKlaviyo(clock)
    let_in(ledger, ONE)
    klaviyo.faults.lose_reply("send", acted=False)
    klaviyo.faults.lose_reply("get_campaign", acted=False)
    first = step(klaviyo, ledger)
    with pytest.raises(Exception, match="Klaviyo"):
        first.invite(PARTITION, holders(ONE))
    let_in(ledger, TWO, THREE)
    outcome = step(klaviyo, ledger).invite(PARTITION, holders(TWO))
    assert outcome.invited == 1
    assert [state_of(ledger, address) for address in (ONE, TWO, THREE)] == ["claimed", "accepted", None]
    step(klaviyo, ledger).run(PARTITION, holders(ONE, TWO, THREE))
    assert sorted(klaviyo.mailed) == [ONE, TWO, THREE]


def test_an_import_has_no_waves(ledger: Ledger) -> None:
    imported = EventPartition.imported("2019", "corporate")
    with pytest.raises(ImportedPartition):
        record_wave(ledger, "2019", imported.key, keys(ONE), unread=1)
