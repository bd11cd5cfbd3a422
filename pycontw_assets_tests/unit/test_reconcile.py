"""Due work follows from present facts, never from earlier decisions; pauses grow and end."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.polls import Poll
from pycontw_assets.pipeline.reconcile import (
    ACCESS_CHAIN,
    Attempts,
    Decision,
    EventFacts,
    decide,
    is_stale,
    pause_after,
    summarize,
    table_asset,
)
from pycontw_assets.records import FAMILIES
from pycontw_assets_tests.unit.conftest import PARTITION

NOW = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
BASE = timedelta(minutes=1)
BOOK = BookReading(frozenset({1, 2}))
ALL = frozenset({*ACCESS_CHAIN, table_asset(PARTITION.family)})


def poll(**fields: Any) -> Poll:
    usual: dict[str, Any] = {
        "partition_key": PARTITION.key, "polled_at": NOW, "book_digest": BOOK.digest, "known": 2, "reread_count": 0,
        "refresh_at": NOW + timedelta(hours=1), "content_digest": "c", "loaded_digest": "c",
    }  # fmt: skip
    return Poll(**{**usual, **fields})


def decided(**fields: Any) -> Decision:
    usual: dict[str, Any] = {"book": BOOK, "poll": poll(), "materialized": ALL}
    return decide(EventFacts(PARTITION, **{**usual, **fields}), NOW, BASE)


def test_a_wave_says_how_many_are_still_to_be_read() -> None:
    assert "wave: 9500 more to be read" in decided(book=BookReading(frozenset({1, 2, 3})), unread=9500).reason
    assert "wave" not in decided().reason


def test_newcomers_are_those_of_the_book_whom_no_poll_has_read() -> None:
    assert EventFacts(PARTITION, BookReading(frozenset({1, 2, 3})), poll()).newcomers == 1
    assert EventFacts(PARTITION, BOOK, None).newcomers == 2
    assert EventFacts(PARTITION, None, poll()).newcomers == 0


def test_with_nothing_new_nothing_is_due() -> None:
    decision = decided()
    assert (decision.access, decision.load) == ((), False)
    assert "2 attendees known, nothing new" in decision.reason


@pytest.mark.parametrize(
    "facts",
    [
        {"poll": None, "materialized": frozenset()},
        {"book": BookReading(frozenset({1, 2, 3}))},
        {"book": BookReading(frozenset({1}))},
        {"book": BookReading(frozenset())},
        {"book": BookReading(frozenset({1, 2}), "book 7 could not be read")},
        {"poll": poll(reread_count=1)},
        {"poll": poll(book_digest=None)},
        {"poll": poll(refresh_at=NOW)},
        {"materialized": ALL - {"raw_kktix_orders"}},
        {"unreachable": 1},
        {"requested": 1},
    ],
)
def test_every_possible_change_in_kktix_asks_for_the_whole_chain(facts: dict[str, Any]) -> None:
    assert decided(**facts).access == ACCESS_CHAIN


def test_a_ticket_that_is_read_again_for_its_address_makes_no_event_stale() -> None:
    """Everybody of it is known, so a missing ticket proves as much as before."""
    facts = EventFacts(PARTITION, BOOK, poll(), materialized=ALL, unreachable=2, requested=1)
    assert not is_stale(facts, NOW)


@pytest.mark.parametrize(
    "book", [None, BookReading(frozenset(), "could not be read"), BookReading(frozenset(), "no attendance book")]
)
def test_open_work_of_an_ended_or_unreadable_event_goes_on(book: Any) -> None:
    assert decided(book=book, poll=poll(reread_count=3, refresh_at=NOW)).access == ()
    assert decided(book=book, unreachable=1, requested=1).access == ()
    assert decided(book=book, campaign_open=1).access == ("klaviyo_campaign",)
    assert decided(book=book, poll=None, materialized=frozenset()).access == ()


@pytest.mark.parametrize(
    ("open_work", "tail"),
    [
        ("guest_list_open", ACCESS_CHAIN[1:]),
        ("invites_open", ACCESS_CHAIN[2:]),
        ("list_open", ACCESS_CHAIN[3:]),
        ("campaign_open", ACCESS_CHAIN[4:]),
    ],
)
def test_open_work_asks_for_the_missing_steps_only(open_work: str, tail: tuple[str, ...]) -> None:
    assert decided(**{open_work: 2}).access == tail
    assert decided(materialized=ALL - {tail[0]}).access == tail


def test_a_table_is_behind_when_the_content_changed_or_it_was_never_filled() -> None:
    assert decided(poll=poll(loaded_digest="old")).load
    assert decided(poll=poll(loaded_digest=None)).load
    assert decided(materialized=frozenset(ACCESS_CHAIN)).load
    assert not decided(poll=None).load


def test_the_two_branches_do_not_wait_for_each_other() -> None:
    down = Attempts(failures=9, last_ended_at=NOW)
    behind = poll(reread_count=1, loaded_digest="old")
    decision = decided(poll=behind, access=down)
    assert (decision.access, decision.load) == ((), True)
    decision = decided(poll=behind, load=down)
    assert (decision.access, decision.load) == (ACCESS_CHAIN, False)


def test_while_a_run_is_at_work_no_second_one_is_asked_for() -> None:
    decision = decided(poll=poll(reread_count=1, loaded_digest="old"), access=Attempts(True), load=Attempts(True))
    assert (decision.access, decision.load) == ((), False)
    assert "1 run is still at work" in decision.reason


def test_after_a_failure_the_next_attempt_comes_when_the_pause_is_over() -> None:
    behind = {"poll": poll(reread_count=1)}
    for failures in range(2, 12):
        ended = NOW - pause_after(failures, BASE)
        waits = decided(**behind, access=Attempts(False, failures, ended + timedelta(seconds=1)))
        assert waits.access == ()
        assert waits.next_attempt_at == NOW + timedelta(seconds=1)
        assert decided(**behind, access=Attempts(False, failures, ended)).access == ACCESS_CHAIN


def test_past_failures_hold_nothing_back_when_nothing_is_due() -> None:
    decision = decided(access=Attempts(False, 5, NOW), load=Attempts(False, 5, NOW))
    assert decision.next_attempt_at is None


def test_after_the_clock_was_set_back_nobody_waits_for_the_time_it_showed() -> None:
    behind = {"poll": poll(reread_count=1)}
    for ahead in (timedelta(minutes=2), timedelta(days=1)):
        assert decided(**behind, access=Attempts(False, 5, NOW + ahead)).access == ACCESS_CHAIN


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 3600))
def test_pauses_never_shrink_and_end_at_an_hour(fewer: int, more: int, seconds: int) -> None:
    base = timedelta(seconds=seconds)
    fewer, more = sorted((fewer, more))
    assert timedelta(0) <= pause_after(fewer, base) <= pause_after(more, base) <= timedelta(hours=1)


attempts = st.builds(Attempts, st.booleans(), st.integers(0, 9), st.none() | st.just(NOW))
facts = st.builds(
    EventFacts,
    partition=st.just(PARTITION),
    book=st.none() | st.builds(BookReading, st.frozensets(st.integers(1, 3)), st.none() | st.just("unreadable")),
    poll=st.none()
    | st.builds(
        poll,
        reread_count=st.integers(0, 2),
        refresh_at=st.none() | st.just(NOW) | st.just(NOW + BASE),
        loaded_digest=st.sampled_from(["c", "old", None]),
    ),
    guest_list_open=st.integers(0, 2),
    list_open=st.integers(0, 2),
    campaign_open=st.integers(0, 2),
    materialized=st.frozensets(st.sampled_from(sorted(ALL))),
    access=attempts,
    load=attempts,
)


@given(facts)
def test_a_decision_is_a_tail_of_the_chain_and_its_reason_holds_a_number(fact: EventFacts) -> None:
    decision = decide(fact, NOW, BASE)
    assert decision.access == ACCESS_CHAIN[len(ACCESS_CHAIN) - len(decision.access) :]
    assert any(character.isdigit() for character in decision.reason)
    assert decision == decide(fact, NOW, BASE)
    if fact.access.running:
        assert not decision.access


@given(facts)
def test_a_waiting_decision_names_its_next_attempt(fact: EventFacts) -> None:
    decision = decide(fact, NOW, BASE)
    if decision.next_attempt_at is not None:
        assert decision.next_attempt_at > NOW
        assert f"{decision.next_attempt_at:%H:%M:%S}" in decision.reason


def test_every_family_has_its_table() -> None:
    assert len({table_asset(family) for family in FAMILIES}) == 3


def test_a_tick_without_events_says_so_with_a_number() -> None:
    assert summarize({}) == "0 events listed"
    assert summarize({"b": Decision((), False, "1 x"), "a": Decision((), False, "2 y")}) == "a: 2 y; b: 1 x"
