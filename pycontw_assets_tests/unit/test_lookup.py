"""A number of KKTIX finds its person; one that is the order of one and the attendee of another finds nobody."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from pycontw_assets.commands.lookup import Person, describe_choice, find_people, is_number
from pycontw_assets.commands.trace import Trace, describe_trace, trace
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined

NOW = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
INDIVIDUAL = EventPartition(90001, "2031", "individual")
CORPORATE = EventPartition(90002, "2031", "corporate")
ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


def seat(number: int, address: str | None, order_no: int | None = None, reg_no: int | None = None) -> AttendeeRecord:
    answers: tuple[tuple[str, Any], ...] = (("聯絡人 Email", address),) if address else ()
    attendee = Attendee(
        attendee_id=number, is_paid=True, state="activated", answers=answers, order_no=order_no, reg_no=reg_no
    )
    return AttendeeRecord(attendee, NOW)


def snapshot(partition: EventPartition, *records: AttendeeRecord, broken: int | None = None) -> OrderSnapshot:
    quarantine = {broken: Quarantined("answered 500", NOW)} if broken else {}
    return OrderSnapshot(partition, {record.attendee.attendee_id: record for record in records}, quarantine)


SNAPSHOTS = {
    INDIVIDUAL: snapshot(
        INDIVIDUAL,
        seat(700101, "Anna@Example.org", 800200301, 12),
        seat(700102, ANNA, 800200301, 13),
        seat(700103, BEN, 800200302, 14),
        seat(700104, None, 800200303, 15),
        broken=700105,
    ),
    # Ben's other attendee has the number of Anna's order, Cara's registration the number of Anna's.
    CORPORATE: snapshot(CORPORATE, seat(800200301, BEN, 800200304, 1), seat(700201, CARA, 800200305, 12)),
}


def addresses(wanted: str) -> list[str | None]:
    return [person.address for person in find_people(wanted, SNAPSHOTS)]


@pytest.mark.parametrize(
    ("wanted", "address"),
    [
        ("800200302", BEN),
        ("#800200302", BEN),
        ("＃８００２００３０２", BEN),
        (" 800 200 302 ", BEN),
        ("No. 800200302", BEN),
        ("order 800200302", BEN),
        ("Order:#800200302", BEN),
        ("14", BEN),
        ("registration 13", ANNA),
        ("attendee:700103", BEN),
        ("attendee:800200301", BEN),
        ("order:800200301", ANNA),
        ("700201", CARA),
    ],
)
def test_a_number_in_any_spelling_finds_its_person(wanted: str, address: str) -> None:
    assert is_number(wanted)
    assert addresses(wanted) == [address]


def test_an_order_of_several_seats_is_one_person_with_all_of_them() -> None:
    [anna] = find_people("order:800200301", SNAPSHOTS)
    assert [each.attendee_id for each in anna.seats] == [700101, 700102]
    assert anna.fits == ("order",)


@pytest.mark.parametrize(("wanted", "both"), [("800200301", {ANNA, BEN}), ("12", {ANNA, CARA})])
def test_a_number_of_several_people_asks_which(wanted: str, both: set[str]) -> None:
    people = find_people(wanted, SNAPSHOTS)
    assert {person.address for person in people} == both
    text = "\n".join(describe_choice(wanted, people))
    assert "fits 2 people; which one is meant?" in text
    assert not any(address in text for address in both)
    for person in people:
        assert addresses(f"attendee:{person.seats[0].attendee_id}") == [person.address]


@pytest.mark.parametrize("wanted", ["700104", "800200303", "700105"])
def test_a_seat_without_an_address_is_found_by_its_numbers(wanted: str) -> None:
    [person] = find_people(wanted, SNAPSHOTS)
    assert person.address is None
    assert person.who in ("attendee 700104", "attendee 700105")


@pytest.mark.parametrize("wanted", ["1234", "9" * 40, "attendee:800200302", "order:700103"])
def test_a_number_that_nobody_has_finds_nobody(wanted: str) -> None:
    assert find_people(wanted, SNAPSHOTS) == []


@pytest.mark.parametrize("wanted", [ANNA, "ANNA@example.org ", "unknown@example.org"])
def test_an_address_is_one_person_with_or_without_seats(wanted: str) -> None:
    assert not is_number(wanted)
    [person] = find_people(wanted, SNAPSHOTS)
    assert bool(person.seats) == (person.address == ANNA)


def test_a_person_does_not_show_an_address() -> None:
    assert ANNA not in repr(Person(ANNA, ()))
    assert Person(ANNA, ()).who == "a…@example.org"


class StoredOrders:
    def read(self, key: str) -> OrderSnapshot | None:
        return {partition.key: snapshot for partition, snapshot in SNAPSHOTS.items()}[key]


def trace_of(ledger: Ledger, wanted: str) -> Trace:
    register_events(ledger, SNAPSHOTS)
    return trace(wanted, vault=StoredOrders(), ledger=ledger, pseudonymizer=Pseudonymizer())  # type: ignore[arg-type]


def test_trace_says_nothing_of_anybody_while_several_fit(ledger: Ledger) -> None:
    found = trace_of(ledger, "800200301")
    assert (found.passages, found.hints) == ((), ())
    text = "\n".join(describe_trace(found))
    assert "which one is meant" in text
    assert "ticket" not in text


def test_trace_takes_the_number_of_the_order_that_it_asks_for(ledger: Ledger) -> None:
    unknown = trace_of(ledger, "800200309")
    assert any("Ask for the number of the order" in hint for hint in unknown.hints)
    [passage] = trace_of(ledger, "# 800200302").passages
    assert [ticket.attendee_id for ticket in passage.tickets] == [800200301, 700103]
