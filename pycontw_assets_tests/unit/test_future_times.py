"""A clock that ran ahead for one poll leaves no time behind that anybody waits for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from pycontw_assets.extract.orders import Fetched, absorb, plan_fetch
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.database.future_times import correct_future_times
from pycontw_assets.ledger.database.tables import UtcDateTime, metadata
from pycontw_assets.ledger.events import is_purged, register_events
from pycontw_assets.ledger.grants import current_grants, intend_grants, postpone_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName, lock_owner, take_lock
from pycontw_assets.ledger.polls import Poll, last_poll, record_poll
from pycontw_assets.ledger.reporting.channels import FailingChannel, record_channel
from pycontw_assets.ledger.reporting.problems import (
    SentAlert,
    open_problems,
    record_failure,
    record_sent,
    sent_alerts,
)
from pycontw_assets.ledger.reporting.sales import (
    Counts,
    last_report_day,
    record_report,
    record_sales,
    sales_by_day,
)
from pycontw_assets.pipeline.maintenance import correct_clock
from pycontw_assets.pipeline.retention import purge_expired
from pycontw_assets.records import OrderSnapshot
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.fakes.store import MemoryStore
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


def test_a_lock_of_a_clock_ahead_holds_up_nobody_for_days(ledger: Ledger) -> None:
    elsewhere = "another-host~0~0/1/1/x"  # nobody knows whether that process lives
    ledger.clock.advance(days=3)  # type: ignore[attr-defined]
    assert take_lock(ledger, LockName.ACCESS_RUN, PARTITION.key, owner=elsewhere) is None
    ledger.clock.advance(days=-3)  # type: ignore[attr-defined]
    [text] = correct_clock(ledger)
    assert text.startswith("1 stored times lay in the future")
    assert lock_owner(ledger, LockName.ACCESS_RUN, PARTITION.key) == elsewhere, "it may live, and renews it then"
    ledger.clock.advance(minutes=4)  # type: ignore[attr-defined]
    assert take_lock(ledger, LockName.ACCESS_RUN, PARTITION.key, owner="this") is None


def test_a_lock_that_was_just_taken_is_left_alone(ledger: Ledger) -> None:
    take_lock(ledger, LockName.ACCESS_RUN, PARTITION.key, owner="this")
    assert list(correct_clock(ledger)) == []


@pytest.mark.parametrize("days", [1, 40])
def test_a_report_of_a_future_day_is_todays(ledger: Ledger, days: int) -> None:
    today = ledger.clock().date()
    record_report(ledger, "sales", "a channel", today + timedelta(days=days))
    record_report(ledger, "sales", "another channel", today - timedelta(days=1))
    [text] = correct_clock(ledger)
    assert text.startswith("1 stored times lay in the future")
    assert last_report_day(ledger, "sales", "a channel") == today, "today has its report, and tomorrow gets one"
    assert last_report_day(ledger, "sales", "another channel") == today - timedelta(days=1)
    assert list(correct_clock(ledger)) == []


def test_figures_of_a_future_day_are_todays_unless_today_has_some(ledger: Ledger) -> None:
    today, ticket = ledger.clock().date(), ("individual", "regular")
    other = ("individual", "student")
    record_sales(ledger, EDITION, today, {ticket: Counts(sold=5)})  # type: ignore[dict-item]
    for days in (2, 9):
        future = {ticket: Counts(sold=6), other: Counts(sold=days)}
        record_sales(ledger, EDITION, today + timedelta(days=days), future)  # type: ignore[arg-type]
    assert list(correct_clock(ledger)) != []
    assert sales_by_day(ledger, EDITION) == {today: {ticket: Counts(sold=5), other: Counts(sold=2)}}
    assert list(correct_clock(ledger)) == []


def test_a_clock_ahead_for_one_tick_empties_no_vault(ledger: Ledger) -> None:
    register_events(ledger, [PARTITION])
    record_poll(ledger, EDITION, Poll(PARTITION.key, ledger.clock(), "x", 1, 0, None, "c"), keys(ONE))
    vault = Vault(MemoryStore(), [Fernet.generate_key().decode()])
    vault.write(OrderSnapshot(PARTITION))

    def tick() -> bool:
        list(correct_clock(ledger))
        purge_expired((), ledger=ledger, vault=vault, waits=WaitPolicy(), retention_days=180)
        return is_purged(ledger, PARTITION.key)

    for _ in range(3):
        ledger.clock.advance(days=400)  # type: ignore[attr-defined]
        assert not tick()
        ledger.clock.advance(days=-400)  # type: ignore[attr-defined]
        assert not tick()
    ledger.clock.advance(days=181)  # type: ignore[attr-defined]
    assert not tick()
    ledger.clock.advance(days=1)  # type: ignore[attr-defined]
    assert tick()


def test_latest_times_that_another_release_kept_without_a_column_are_looked_for_in_it(ledger: Ledger) -> None:
    correct_future_times(ledger)
    without = "json_remove(answer, '$.\"grants.ceded_at\"')"
    with ledger.engine.begin() as db:
        db.execute(sa.text(f"UPDATE kept_counts SET answer = {without} WHERE question = 'latest times'"))
    assert correct_future_times(ledger) == 0
