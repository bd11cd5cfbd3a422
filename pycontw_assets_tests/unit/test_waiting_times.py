"""A wait counts from the payment, which KKTIX does not date. No later edit may make a wait look shorter."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from pycontw_assets.extract.orders import paid_at
from pycontw_assets.ledger.progress import Reached
from pycontw_assets.pipeline.waiting_times import Spread, figures, percentile, seconds_from_payment, spread
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot

SEEN = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
LATER = SEEN + timedelta(minutes=10)
PSEUDONYMIZER = Pseudonymizer()
ADDRESS = "buyer-one@example.org"
KEY = PSEUDONYMIZER.digest(ADDRESS)


def record(stamp: datetime | None, *, changed_at: datetime = SEEN, attendee_id: int = 1) -> AttendeeRecord:
    """First seen at ``SEEN``, found changed at ``changed_at``; ``stamp`` is what KKTIX calls its last update."""
    updated_at = stamp.timestamp() if stamp else None
    answers = (("聯絡人 Email", ADDRESS),)
    attendee = Attendee(
        attendee_id=attendee_id, is_paid=True, state="activated", answers=answers, updated_at=updated_at
    )
    return AttendeeRecord(attendee, first_seen_at=SEEN, changed_at=changed_at)


def snapshot(*records: AttendeeRecord) -> OrderSnapshot:
    return OrderSnapshot(
        EventPartition(90001, "2031", "individual"), {record.attendee.attendee_id: record for record in records}
    )


@pytest.mark.parametrize(
    ("stamp", "changed_at", "paid"),
    [
        (SEEN - timedelta(minutes=3), SEEN, SEEN - timedelta(minutes=3)),  # paid before we first looked
        (SEEN + timedelta(minutes=8), LATER, SEEN + timedelta(minutes=8)),  # paid while the pipeline watched
        (SEEN - timedelta(minutes=3), LATER, LATER),  # paid while the pipeline watched, and the stamp did not move
        (LATER + timedelta(minutes=1), LATER, LATER),  # KKTIX's clock is ahead
        (None, LATER, LATER),
    ],
)
def test_a_ticket_is_paid_at_the_last_update_or_when_a_poll_saw_it(
    stamp: datetime | None, changed_at: datetime, paid: datetime
) -> None:
    assert paid_at(record(stamp, changed_at=changed_at)) == paid


@pytest.mark.parametrize("stamp", [-1.0, 1e300])
def test_a_stamp_that_is_no_time_is_not_believed(stamp: float) -> None:
    spoilt = record(None)
    assert paid_at(replace(spoilt, attendee=replace(spoilt.attendee, updated_at=stamp))) == SEEN


def test_a_wait_begins_with_the_first_ticket_of_several() -> None:
    first, second = record(SEEN - timedelta(seconds=30)), record(SEEN - timedelta(seconds=10), attendee_id=2)
    reached = [Reached(KEY, known_at=SEEN, reached_at=SEEN + timedelta(seconds=5))]
    assert seconds_from_payment(reached, snapshot(second, first), PSEUDONYMIZER) == [35.0]


def test_an_edit_after_we_knew_of_the_ticket_shortens_no_wait() -> None:
    edited = record(LATER, changed_at=LATER)
    reached = [Reached(KEY, known_at=SEEN, reached_at=LATER + timedelta(seconds=1))]
    assert seconds_from_payment(reached, snapshot(edited), PSEUDONYMIZER) == [601.0]


def test_the_wait_of_a_former_holder_begins_when_known() -> None:
    reached = [Reached("0" * 64, known_at=SEEN, reached_at=LATER)]
    assert seconds_from_payment(reached, snapshot(), PSEUDONYMIZER) == [600.0]


def test_figures_are_plain_numbers_and_none_when_nobody_waited() -> None:
    assert figures("seconds", []) == {}
    assert figures("seconds", [1.04, 3.0]) == {"seconds_p50": 1.0, "seconds_p95": 3.0, "seconds_max": 3.0}


# -- percentiles: always a value that somebody waited, never one between two --------------------------


def test_nobody_waited_is_no_number() -> None:
    assert spread([]) is None
    assert spread([None]) is None


def test_one_wait_is_all_of_them() -> None:
    assert spread([7.0, None]) == Spread(count=1, median=7.0, p95=7.0, slowest=7.0)


def test_of_a_hundred_waits_five_are_longer_than_the_p95() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert spread(reversed(ordered)) == Spread(count=100, median=50.0, p95=95.0, slowest=100.0)
    assert percentile(ordered, 100) == 100
