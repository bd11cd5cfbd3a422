"""What the shared types promise: contact details out of sight, one holder per address."""

from datetime import datetime, timezone
from typing import Any

import pytest

from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, Holder, OrderSnapshot

SEEN = datetime(2031, 6, 1, tzinfo=timezone.utc)
PARTITION = EventPartition(90001, "2031", "individual")


def record(attendee_id: int, *answers: tuple[str, Any], is_paid: bool = True) -> AttendeeRecord:
    return AttendeeRecord(Attendee(attendee_id, is_paid, "activated", answers), SEEN)


def snapshot(*records: AttendeeRecord) -> OrderSnapshot:
    return OrderSnapshot(PARTITION, {item.attendee.attendee_id: item for item in records})


def holders(*records: AttendeeRecord) -> dict[str, Holder]:
    return snapshot(*records).holders(Pseudonymizer())


def test_printing_a_person_by_accident_shows_ids_only() -> None:
    one = record(1, ("聯絡人 Email", "buyer-one@example.org"), ("聯絡人 姓名", "測試甲"))
    shown = repr(one) + repr(snapshot(one)) + repr(holders(one))
    assert "example.org" not in shown
    assert "測試甲" not in shown


@pytest.mark.parametrize("label", ["聯絡人 Email", "Contact Email", "contact email ", "聯絡人　Ｅｍａｉｌ"])
def test_the_contact_block_names_the_address_to_invite(label: str) -> None:
    assert record(1, (label, " Buyer-One@example.org ")).attendee.contact_address == "Buyer-One@example.org"


def test_a_form_question_called_email_is_not_the_contact_address() -> None:
    form = (("Email", "other@example.org"), ("Contact Email", "buyer-one@example.org"))
    assert record(1, *form).attendee.contact_address == "buyer-one@example.org"
    assert record(2, form[0]).attendee.contact_address is None


@pytest.mark.parametrize("value", ["", "   ", None, 7, ["a@example.org"], {"a": 1}, True])
def test_an_empty_or_odd_contact_address_is_none(value: Any) -> None:
    assert record(1, ("聯絡人 Email", value)).attendee.contact_address is None


def test_several_tickets_of_one_address_are_one_holder() -> None:
    spellings = ("Buyer@example.org", "buyer@example.org", "ｂｕｙｅｒ@example.org")
    found = holders(*(record(i, ("聯絡人 Email", spelled)) for i, spelled in enumerate(spellings, 1)))
    (only,) = found.values()
    assert only.address == "buyer@example.org"
    assert only.spelled == "Buyer@example.org"
    assert found == {only.key: only}


def test_who_is_unpaid_gone_or_without_address_holds_nothing() -> None:
    unpaid = record(1, ("聯絡人 Email", "unpaid@example.org"), is_paid=False)
    gone = AttendeeRecord(record(2, ("聯絡人 Email", "gone@example.org")).attendee, SEEN, gone_at=SEEN)
    assert holders(unpaid, gone, record(3), record(4, ("聯絡人 Email", "no address"))) == {}


def test_usable_tickets_that_mail_cannot_reach_are_counted() -> None:
    found = snapshot(
        record(1, ("聯絡人 Email", "buyer-one@example.org")),
        record(2, ("聯絡人 Email", "no address")),
        record(3),
        record(4, ("聯絡人 Email", "no address"), is_paid=False),
    )
    assert found.unreachable_tickets() == 2


def test_a_partition_key_is_edition_family_and_event() -> None:
    assert PARTITION.key == "2031-individual-90001"
