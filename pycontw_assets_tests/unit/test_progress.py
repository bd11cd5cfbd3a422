"""The progress of everybody of an event, on both engines."""

from __future__ import annotations

import pytest

from pycontw_assets.ledger.batches import Batch, accept_batch, claim_batch, update_invitations
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.progress import Headcount, Reached, headcount, invited_by, let_in
from pycontw_assets.ledger.restoration import mark_invited
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.unit.conftest import PARTITION, holder, keys, record_holders

EDITION, KEY = PARTITION.edition, PARTITION.key
INVITED, UNREACHABLE, CLAIMED, NEW, LATE, OUTSIDE = (f"buyer-{number}@example.org" for number in range(1, 7))


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Ledger:
    return Ledger(ledger_url, clock=clock)


def claim(ledger: Ledger, batch_key: str, *addresses: str) -> Batch:
    now = ledger.clock()
    batch = Batch(batch_key, EDITION, KEY, "poll", "open", f"campaign {batch_key}", now, campaign_id=f"id {batch_key}")
    claim_batch(ledger, batch, dict.fromkeys(keys(*addresses), 1))
    return batch


def grant(ledger: Ledger, *addresses: str) -> None:
    intend_grants(ledger, EDITION, KEY, keys(*addresses), added_by_us=True)
    set_grants(ledger, EDITION, keys(*addresses), "granted")


def test_holders_are_counted_by_how_far_they_are(ledger: Ledger, clock: FakeClock) -> None:
    record_holders(ledger, [INVITED, UNREACHABLE, CLAIMED, NEW, LATE, OUTSIDE])
    assert headcount(ledger, KEY, EDITION, clock()) == Headcount(entitled=6)
    grant(ledger, INVITED, UNREACHABLE, CLAIMED, NEW)
    claim(ledger, "first", INVITED, UNREACHABLE)
    update_invitations(ledger, "first", keys(UNREACHABLE), state="unreachable")
    accept_batch(ledger, "first")
    claim(ledger, "second", CLAIMED)
    moment = clock.advance(minutes=5)
    grant(ledger, LATE)
    intend_grants(ledger, EDITION, KEY, keys(OUTSIDE), added_by_us=True)
    count = headcount(ledger, KEY, EDITION, moment)
    assert count == Headcount(entitled=6, let_in=5, invited=1, unreachable=1, claimed=1, late=1)
    assert count.unclaimed == 1


def test_assumed_access_counts_as_access(ledger: Ledger, clock: FakeClock) -> None:
    record_holders(ledger, [NEW])
    intend_grants(ledger, EDITION, KEY, keys(NEW), added_by_us=True, state="assumed")
    assert headcount(ledger, KEY, EDITION, clock.advance(minutes=5)).unclaimed == 1


def test_people_marked_as_invited_count_as_invited(ledger: Ledger, clock: FakeClock) -> None:
    record_holders(ledger, [INVITED])
    grant(ledger, INVITED)
    mark_invited(ledger, EDITION, keys(INVITED))
    count = headcount(ledger, KEY, EDITION, clock.advance(minutes=5))
    assert (count.invited, count.unclaimed) == (1, 0)


def test_an_earlier_period_of_a_person_counts_no_more(ledger: Ledger, clock: FakeClock) -> None:
    record_holders(ledger, [INVITED])
    grant(ledger, INVITED)
    claim(ledger, "first", INVITED)
    accept_batch(ledger, "first")
    set_grants(ledger, EDITION, keys(INVITED), "revoked")
    grant(ledger, INVITED)
    assert headcount(ledger, KEY, EDITION, clock.advance(minutes=5)) == Headcount(entitled=1, let_in=1)


def test_the_times_of_each_step_are_kept(ledger: Ledger, clock: FakeClock) -> None:
    known = clock()
    intend_grants(ledger, EDITION, KEY, keys(INVITED, OUTSIDE), added_by_us=True)
    intend_grants(ledger, EDITION, KEY, keys(NEW), added_by_us=False, state="granted")
    entered = clock.advance(seconds=20)
    set_grants(ledger, EDITION, keys(INVITED), "granted")
    everybody = keys(INVITED, OUTSIDE, NEW)
    assert let_in(ledger, EDITION, everybody) == [Reached(holder(INVITED).key, known, entered)]
    batch = claim(ledger, "first", INVITED)
    mailed = clock.advance(seconds=20)
    accept_batch(ledger, "first")
    assert invited_by(ledger, [batch.batch_key]) == [Reached(holder(INVITED).key, known, mailed)]
    assert invited_by(ledger, ["another"]) == []
