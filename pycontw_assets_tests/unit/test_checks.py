"""Checks compare book and vault, entitled people, access and invitations, listed and matched events, news and polls."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from pycontw_assets.extract.events import Discovery, Unmatched
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.progress import Headcount
from pycontw_assets.ledger.reporting.problems import Problem
from pycontw_assets.pipeline.checks import (
    access_gaps,
    access_sum,
    book_gaps,
    gone_venue,
    guest_list_gaps,
    late_events,
    list_gaps,
    order_problems,
    unmatched,
    unread_attendees,
    withheld_answers,
)
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined

NOW = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
RECORD = AttendeeRecord(Attendee(attendee_id=1, is_paid=True, state="activated", answers=()), first_seen_at=NOW)
SNAPSHOT = OrderSnapshot(EventPartition(90001, "2031", "individual"), {1: RECORD})


def book(*ids: int, problem: str | None = None) -> BookReading:
    return BookReading(frozenset(ids), problem)


def test_book_and_vault_list_the_same_attendees() -> None:
    assert book_gaps(SNAPSHOT, book(1)) == []
    assert book_gaps(SNAPSHOT, book(1, 2, 3)) == ["2 attendees of the attendance book are not in the vault"]
    assert book_gaps(SNAPSHOT, book()) == ["1 in the vault are not in the book"]


def test_quarantined_missing_and_gone_attendees_are_explained() -> None:
    quarantined = replace(SNAPSHOT, quarantine={2: Quarantined("unreadable", NOW)})
    assert book_gaps(quarantined, book(1, 2)) == []
    missing = replace(SNAPSHOT, records={1: replace(RECORD, missing_polls=1), 2: replace(RECORD, gone_at=NOW)})
    assert book_gaps(missing, book()) == []


def test_a_book_that_could_not_be_read_whole_is_compared_with_nothing() -> None:
    assert book_gaps(SNAPSHOT, book(problem="cut")) == []


def test_a_few_unreadable_attendees_concern_themselves_only() -> None:
    few = replace(SNAPSHOT, quarantine={number: Quarantined("unreadable", NOW) for number in range(2, 7)})
    assert order_problems(few, None) == []
    assert len(unread_attendees(few)) == 5
    assert order_problems(few, "the book is cut") == ["the book is cut"]


def test_many_unreadable_attendees_are_a_problem_of_everybody() -> None:
    many = replace(SNAPSHOT, quarantine={number: Quarantined("unreadable", NOW) for number in range(2, 8)})
    assert order_problems(many, None) == ["6 of 7 attendees cannot be read"]


def test_withheld_answers_are_counted_and_not_shown() -> None:
    odd = replace(RECORD, attendee=replace(RECORD.attendee, withheld=2))
    assert withheld_answers(SNAPSHOT) == []
    [text] = withheld_answers(replace(SNAPSHOT, records={1: odd, 2: replace(odd, gone_at=NOW)}))
    assert text.startswith("attendee 1: 2 answers or fields cannot be read")


COUNT = Headcount(entitled=12, let_in=10, invited=5, unreachable=1, claimed=1, late=1)


def test_everybody_let_in_is_invited_unreachable_or_waits_for_a_reason() -> None:
    assert access_gaps(COUNT, waiting=2) == []
    assert access_gaps(COUNT, waiting=0) == ["2 people were let in and are neither invited nor waiting"]


def test_the_sum_of_entitled_people_is_shown() -> None:
    assert access_sum(COUNT) == (
        "12 entitled = 10 let in + 2 waiting for access; 10 let in = 5 invited + 1 unreachable + 4 waiting for mail"
    )


def test_nothing_amiss_is_no_text() -> None:
    assert guest_list_gaps(0) == list_gaps(0) == []
    assert guest_list_gaps(2)[0].startswith("2 guests were not on the list")
    assert list_gaps(3)[0].startswith("3 changes of the list")


def test_an_event_is_unmatched_until_its_name_or_a_person_decides() -> None:
    undecided = Unmatched(
        event_id=90007, name="A party", reason="its name gives no edition", fix="map it in KKTIX_EVENTS"
    )
    decided = Unmatched(event_id=90008, name="Last year", reason="it belongs to edition 2030, not 2031")
    [text] = unmatched(Discovery("2031", (), (undecided, decided)))
    assert text == "event 90007 is listed and left alone: its name gives no edition; map it in KKTIX_EVENTS"


def test_an_event_is_late_only_after_patience_with_a_stable_text() -> None:
    since = {"2031-individual-90001": NOW}
    patience = timedelta(minutes=30)
    assert late_events(since, NOW + timedelta(minutes=29), patience) == []
    texts = [late_events(since, NOW + timedelta(minutes=minutes), patience) for minutes in (30, 35)]
    assert texts[0] == texts[1] == ["2031-individual-90001: not up to date since 2031-06-01 02:00 UTC"]


@pytest.mark.parametrize("answer", ["answered 404", "answered 410", "answered 301, a redirect", "HTML: a sign-in page"])
def test_a_venue_that_answers_like_one_that_is_gone_for_an_hour_names_the_switch(answer: str) -> None:
    text = f"Gather: read the guest list {answer}"
    problem = Problem("2031-individual-90001", "gather_guestlist", "Gather", text, True, NOW, 12)
    assert not gone_venue([problem], NOW + timedelta(minutes=59))
    assert "GATHER_API_URL=off" in gone_venue([problem], NOW + timedelta(minutes=61))[0]


@pytest.mark.parametrize("text", ["Gather: read the guest list answered 503", "Gather: no answer"])
def test_a_venue_that_is_only_down_is_not_called_gone(text: str) -> None:
    assert not gone_venue([Problem("", "gather_guestlist", "Gather", text, True, NOW, 99)], NOW + timedelta(days=3))
