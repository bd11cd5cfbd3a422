"""The shared types keep contact details out of sight."""

from datetime import datetime, timezone

from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, Holder, OrderSnapshot

SEEN = datetime(2031, 6, 1, tzinfo=timezone.utc)
PARTITION = EventPartition(90001, "2031", "individual")


def test_printing_a_person_by_accident_shows_ids_only() -> None:
    answers = (("聯絡人 Email", "buyer-one@example.org"), ("聯絡人 姓名", "測試甲"))
    record = AttendeeRecord(Attendee(attendee_id=1, is_paid=True, state="activated", answers=answers), SEEN)
    holder = Holder("0" * 64, "buyer-one@example.org", "buyer-one@example.org")
    shown = repr(record) + repr(OrderSnapshot(PARTITION, {1: record})) + repr(holder)
    assert "example.org" not in shown
    assert "測試甲" not in shown


def test_a_partition_key_is_edition_family_and_event() -> None:
    assert PARTITION.key == "2031-individual-90001"
