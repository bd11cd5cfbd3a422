"""A clock that ran ahead for one poll leaves no time behind that anybody waits for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from pycontw_assets.extract.orders import Fetched, absorb, plan_fetch
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.database.future_times import correct_future_times
from pycontw_assets.ledger.database.tables import UtcDateTime, metadata
from pycontw_assets.ledger.grants import current_grants, intend_grants, postpone_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll, last_poll, record_poll
from pycontw_assets.ledger.reporting.channels import FailingChannel, record_channel
from pycontw_assets.ledger.reporting.problems import (
    SentAlert,
    open_problems,
    record_failure,
    record_sent,
    sent_alerts,
)
from pycontw_assets.pipeline.maintenance import correct_clock
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, keys
from pycontw_assets_tests.unit.test_campaign import EDITION, ONE, TWO, invite, let_in
from pycontw_assets_tests.unit.test_orders import HOUR, NOW, attendee, book, known

AHEAD = timedelta(days=3)


def test_every_stored_time_of_a_clock_three_days_ahead_counts_as_now(ledger: Ledger) -> None:
    ledger.clock.advance(days=3)  # type: ignore[attr-defined]
    later = ledger.clock()
    let_in(ledger, ONE, TWO)
    intend_grants(ledger, EDITION, PARTITION.key, keys("late@example.org"), added_by_us=True)
    postpone_grants(ledger, EDITION, keys("late@example.org"), timedelta(hours=1), timedelta(days=1))
    invite(FakeKlaviyo(ledger.clock), ledger, ONE, TWO)  # type: ignore[arg-type]
    record_poll(ledger, EDITION, Poll(PARTITION.key, later, "x", 2, 0, later + timedelta(hours=1), "c"), keys(ONE, TWO))
    record_failure(ledger, "", "maintenance", cause="maintenance", text="it failed")
    record_sent(ledger, "a channel", [SentAlert("maintenance", "maintenance fails", 1, later, later)], [])
    record_channel(ledger, "a channel", FailingChannel("a channel", 3, later, later + timedelta(hours=1)))
    ledger.clock.advance(days=-3)  # type: ignore[attr-defined]
    now = ledger.clock()
    [text] = correct_clock(ledger)
    assert "stored times lay in the future" in text
    assert all(grant.retry_at is None or grant.retry_at <= now for grant in current_grants(ledger, EDITION).values())
    poll = last_poll(ledger, PARTITION.key)
    assert poll
    assert (poll.polled_at, poll.refresh_at) == (now, now)
    assert open_problems(ledger)[0].since == sent_alerts(ledger, "a channel")["maintenance"].sent_at == now
    with ledger.engine.begin() as db:
        for table in metadata.sorted_tables:
            for column in table.columns:
                if isinstance(column.type, UtcDateTime) and column.name != "expires_at":
                    latest = db.scalar(sa.select(sa.func.max(column)))
                    assert latest is None or latest <= now, column
    assert list(correct_clock(ledger)) == []
    assert not find_newcomers(ledger, PARTITION.key, EDITION), "nobody is new because of it"


def test_times_that_are_meant_for_later_stay(ledger: Ledger) -> None:
    now = ledger.clock()
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE), added_by_us=True)
    postpone_grants(ledger, EDITION, keys(ONE), timedelta(hours=20), timedelta(days=1))
    record_channel(ledger, "a channel", FailingChannel("a channel", 9, now, now + timedelta(hours=1)))
    refresh_at = now + timedelta(days=1)
    record_poll(ledger, EDITION, Poll(PARTITION.key, now + timedelta(minutes=9), "x", 1, 0, refresh_at, "c"), set())
    assert correct_future_times(ledger) == 0
    [grant] = current_grants(ledger, EDITION).values()
    assert grant.retry_at == now + timedelta(hours=20)
    poll = last_poll(ledger, PARTITION.key)
    assert poll
    assert poll.refresh_at == refresh_at


def test_attendees_read_in_the_future_are_read_again_by_the_next_rotation() -> None:
    snapshot = absorb(known(1, 2), [Fetched(2, attendee(2))], NOW + AHEAD)
    soon = NOW + timedelta(minutes=5)
    assert plan_fetch(snapshot, book(1, 2), now=soon, refresh=HOUR).rotation == set()
    assert plan_fetch(snapshot, book(1, 2), now=NOW + HOUR, refresh=HOUR).rotation == {1, 2}
    ahead = replace(snapshot, rotated_at=NOW + AHEAD)
    assert plan_fetch(ahead, book(1, 2), now=soon, refresh=HOUR).rotation == {2}
