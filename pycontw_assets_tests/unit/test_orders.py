"""An attendee is new, unpaid, missing or gone. Only the second good poll in a row makes it gone."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.extract.orders import (
    BookReading,
    Fetched,
    MalformedAttendee,
    absorb,
    content_digest,
    count_missing,
    count_reread_every_poll,
    describe_kept,
    end_poll,
    is_reread_every_poll,
    next_refresh,
    parse_attendee,
    plan_fetch,
    refresh_due,
)
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot

NOW = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
FIVE_MINUTES = timedelta(minutes=5)
EMPTY = OrderSnapshot(EventPartition(90001, "2031", "individual"))
PAYLOAD: dict[str, Any] = {
    "id": 700101,
    "ticket_id": 55001,
    "ticket_name": "Regular 一般票",
    "reg_no": 12,
    "state": "activated",
    "checkin_code": "A1B2",
    "qrcode": "0123456789abcdef0123456789abcdef",
    "is_paid": True,
    "price": 0,
    "data": [["聯絡人 Email", "buyer-one@example.org"], ["Email", 7], ["Email", None]],
    "kyc": {},
    "order_no": 800200301,
    "updated_at": 1930000123.4567,
}


def attendee(attendee_id: int, **fields: Any) -> Attendee:
    address = f"buyer-{attendee_id}@example.org"
    values = {"is_paid": True, "state": "activated", "answers": (("聯絡人 Email", address),), **fields}
    return Attendee(attendee_id=attendee_id, **values)


def known(*ids: int, at: datetime = NOW, **fields: Any) -> OrderSnapshot:
    snapshot = absorb(EMPTY, [Fetched(i, attendee(i, **fields)) for i in ids], at)
    return replace(snapshot, rotated_at=at)


def book(*ids: int, problem: str | None = None) -> BookReading:
    return BookReading(frozenset(ids), problem)


def poll(
    snapshot: OrderSnapshot,
    reading: BookReading,
    now: datetime,
    *,
    vanished: frozenset[int] = frozenset(),
    failed_reads: frozenset[int] = frozenset(),
    trust_book: bool = False,
    still_paid: frozenset[int] = frozenset(),
) -> tuple[OrderSnapshot, str | None]:
    """Decide a whole poll as ``take_snapshot`` does. Of those missing for long, KKTIX knows only ``still_paid``."""
    plan = plan_fetch(snapshot, reading, now=now, refresh=HOUR, trust_book=trust_book)
    fetched = {
        i: Fetched(i, vanished=True) if i in vanished or (i in plan.asked and i not in still_paid | failed_reads)
        else Fetched(i, failure="answered 500") if i in failed_reads
        else Fetched(i, attendee(i))
        for i in plan.fetch
    }  # fmt: skip
    answers = {i: item for i, item in fetched.items() if i in plan.asked}
    snapshot = absorb(snapshot, [item for i, item in fetched.items() if i not in plan.asked], now)
    not_found = vanished & fetched.keys() - plan.asked
    return end_poll(snapshot, plan, book=reading, vanished=not_found, now=now, answers=answers)


def gone(snapshot: OrderSnapshot) -> set[int]:
    return {i for i, record in snapshot.records.items() if record.gone_at is not None}


# -- reading one attendee -----------------------------------------------------------------------------


def test_only_the_listed_fields_of_a_payload_survive() -> None:
    parsed, defect = parse_attendee(PAYLOAD)
    assert defect is None
    assert not {"checkin_code", "qrcode", "kyc", "search_string"} & set(Attendee.__dataclass_fields__)
    assert "A1B2" not in repr(parsed)
    assert parsed.price == 0
    assert parsed.answers[1:] == (("Email", 7), ("Email", None))


@pytest.mark.parametrize("is_paid", ["true", "True", 1, 0, None, [], "yes"])
def test_paid_is_never_read_out_of_anything_but_true_or_false(is_paid: Any) -> None:
    parsed, defect = parse_attendee({**PAYLOAD, "is_paid": is_paid})
    assert parsed.is_paid is None
    assert "is_paid" in str(defect)
    assert not AttendeeRecord(parsed, NOW).is_usable


@pytest.mark.parametrize("state", [None, "", 7, ["activated"]])
def test_a_state_that_is_no_text_is_never_a_valid_one(state: Any) -> None:
    parsed, defect = parse_attendee({**PAYLOAD, "state": state})
    assert "state" in str(defect)
    assert not AttendeeRecord(parsed, NOW).is_usable


@pytest.mark.parametrize("attendee_id", [None, "someone@example.org", True, {}, 2**63, 10**400, 1.5])
def test_a_payload_without_a_number_is_no_attendee(attendee_id: Any) -> None:
    with pytest.raises(MalformedAttendee) as caught:
        parse_attendee({**PAYLOAD, "id": attendee_id})
    assert str(caught.value) == "`id` is missing or not a number"


def test_a_defective_answer_never_changes_known_facts() -> None:
    unreadable = [Fetched(1, attendee(1, is_paid=None, state=None), "`is_paid` is missing")]
    snapshot = absorb(known(1), unreadable, NOW + HOUR)
    assert snapshot.records == known(1).records
    assert snapshot.quarantine[1].reason == "`is_paid` is missing"


def test_a_defective_newcomer_is_kept_unusable_and_read_again() -> None:
    snapshot = absorb(EMPTY, [Fetched(1, attendee(1, is_paid=None), "`is_paid` is missing")], NOW)
    assert not snapshot.records[1].is_usable
    assert count_reread_every_poll(snapshot) > 0
    assert plan_fetch(snapshot, book(1), now=NOW + FIVE_MINUTES, refresh=HOUR).fetch == (1,)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(10**400))
            for name in ("ticket_id", "reg_no", "price", "order_no", "updated_at", "currency", "ticket_name")
        },
    )
)
def test_a_field_without_a_say_in_access_fails_no_attendee(fields: dict[str, Any]) -> None:
    assert parse_attendee({**PAYLOAD, **fields})[0].attendee_id == 700101


def test_a_long_number_keeps_every_digit() -> None:
    assert parse_attendee({**PAYLOAD, "order_no": 9007199254740993})[0].order_no == 9007199254740993
    assert parse_attendee({**PAYLOAD, "order_no": "9007199254740993"})[0].order_no == 9007199254740993


def test_a_number_too_long_for_a_table_is_left_out() -> None:
    assert parse_attendee({**PAYLOAD, "order_no": 2**63})[0].order_no is None


def test_half_a_character_in_a_name_is_replaced() -> None:
    """JSON can spell a lone surrogate, and no encoding can. One such text would make the vault unwritable."""
    assert parse_attendee({**PAYLOAD, "ticket_name": "Regular\ud83d"})[0].ticket_name == "Regular\ufffd"
    assert parse_attendee({**PAYLOAD, "state": "activ\ud83dated"})[0].state != "activated"


def test_a_name_is_cut_before_it_is_too_long_for_any_store() -> None:
    assert parse_attendee({**PAYLOAD, "ticket_name": "T" * 100_000})[0].ticket_name == "T" * 200
    assert parse_attendee({**PAYLOAD, "ticket_name": "T\0T"})[0].ticket_name == "TT"


def test_a_form_has_at_most_so_many_answers() -> None:
    parsed, _ = parse_attendee({**PAYLOAD, "data": [["Nickname", str(number)] for number in range(1003)]})
    assert (len(parsed.answers), parsed.withheld) == (1000, 3)


# -- usable tickets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_paid", "state", "is_gone", "usable"),
    [
        (True, "activated", False, True),
        (False, "activated", False, False),
        (True, "cancelled", False, False),
        (True, "refunding", False, False),
        (True, "Activated", False, False),
        (True, "activated", True, False),
    ],
)
def test_usable_is_in_the_book_and_paid_and_activated(is_paid: bool, state: str, is_gone: bool, usable: bool) -> None:
    record = AttendeeRecord(attendee(1, is_paid=is_paid, state=state), NOW, gone_at=NOW if is_gone else None)
    assert record.is_usable is usable


# -- due reads ----------------------------------------------------------------------------------------


def test_an_unpaid_attendee_is_read_by_every_poll_until_it_is_paid() -> None:
    snapshot = known(1, 2, is_paid=False)
    assert plan_fetch(snapshot, book(1, 2), now=NOW + FIVE_MINUTES, refresh=HOUR).open == {1, 2}
    snapshot, _ = poll(snapshot, book(1, 2), NOW + FIVE_MINUTES)
    assert plan_fetch(snapshot, book(1, 2), now=NOW + 2 * FIVE_MINUTES, refresh=HOUR).fetch == ()


@pytest.mark.parametrize("state", ["registered", "", "pending", "ACTIVATED"])
def test_an_unknown_state_is_reread_every_poll_and_not_usable(state: str) -> None:
    record = AttendeeRecord(attendee(1, state=state), NOW)
    assert not record.is_usable
    assert is_reread_every_poll(record)


def test_a_usable_ticket_without_a_reachable_address_is_read_by_every_poll() -> None:
    plan = plan_fetch(known(1, 2, 3), book(1, 2), now=NOW + FIVE_MINUTES, refresh=HOUR, unreachable=[2, 3])
    assert plan.fetch == (2,), "one that is not listed is not asked for"


def test_many_unreachable_tickets_take_turns() -> None:
    everybody = range(1, 251)
    snapshot, seen = known(*everybody), set[int]()
    for number in range(1, 4):
        now = NOW + number * FIVE_MINUTES
        plan = plan_fetch(snapshot, book(*everybody), now=now, refresh=HOUR, unreachable=everybody)
        assert len(plan.fetch) == 100
        seen |= set(plan.fetch)
        snapshot = absorb(snapshot, [Fetched(i, attendee(i)) for i in plan.fetch], now)
    assert seen == set(everybody)


def test_attendees_asked_for_are_read_by_the_next_poll() -> None:
    plan = plan_fetch(known(1, 2), book(1, 2), now=NOW + FIVE_MINUTES, refresh=HOUR, requested={2, 9})
    assert plan.fetch == (2,)


def test_newcomers_are_read_before_everybody_else() -> None:
    snapshot = known(8, 9, is_paid=False)
    assert plan_fetch(snapshot, book(1, 8, 9, 2), now=NOW + FIVE_MINUTES, refresh=HOUR).fetch == (1, 2, 8, 9)


def test_between_two_rotations_nobody_known_is_read_again() -> None:
    snapshot = known(*range(1, 500))
    assert plan_fetch(snapshot, book(*range(1, 500)), now=NOW + timedelta(minutes=59), refresh=HOUR).fetch == ()
    assert len(plan_fetch(snapshot, book(*range(1, 500)), now=NOW + HOUR, refresh=HOUR).rotation) == 499


def test_a_refresh_of_zero_reads_everybody_in_every_poll() -> None:
    """``docs/settings.md`` promises it. Half of a long quiet time must not come on top."""
    snapshot = known(1, 2)
    quiet = absorb(snapshot, [Fetched(i, attendee(i)) for i in (1, 2)], NOW + timedelta(days=9))
    soon = NOW + timedelta(days=9, minutes=5)
    assert plan_fetch(quiet, book(1, 2), now=soon, refresh=timedelta(0)).rotation == {1, 2}
    due = next_refresh(quiet, timedelta(0))
    assert due is not None
    assert due <= soon


@given(quiet_hours=st.integers(0, 24 * 90))
def test_an_attendee_that_stays_the_same_is_read_less_often(quiet_hours: int) -> None:
    record = AttendeeRecord(attendee(1), NOW, read_at=NOW + quiet_hours * HOUR, changed_at=NOW)
    interval = refresh_due(record, HOUR) - (NOW + quiet_hours * HOUR)
    assert HOUR <= interval <= timedelta(days=1)
    assert interval == min(max(HOUR, quiet_hours * HOUR / 2), timedelta(days=1))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.booleans())
def test_nobody_is_read_twice_in_a_poll_nor_outside_the_book(
    listed: set[int], before: set[int], unpaid: set[int], is_partial: bool
) -> None:
    snapshot = absorb(known(*before - unpaid), [Fetched(i, attendee(i, is_paid=False)) for i in unpaid], NOW)
    plan = plan_fetch(snapshot, book(*listed, problem="partial" if is_partial else None), now=NOW + HOUR, refresh=HOUR)
    assert len(plan.fetch) == len(set(plan.fetch))
    assert set(plan.fetch) <= listed | plan.asked
    assert plan.new == listed - snapshot.records.keys()


# -- gone attendees -----------------------------------------------------------------------------------


def test_the_first_good_poll_only_counts_a_missing_attendee() -> None:
    snapshot, problem = poll(known(1, 2, 3), book(1, 2), NOW + FIVE_MINUTES)
    assert problem is None
    assert gone(snapshot) == set()
    assert snapshot.records[3].is_usable


def test_the_second_good_poll_in_a_row_makes_an_attendee_gone() -> None:
    snapshot, _ = poll(known(1, 2, 3), book(1, 2), NOW + FIVE_MINUTES)
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES)
    assert gone(snapshot) == {3}
    assert snapshot.records[3].gone_at == NOW + 2 * FIVE_MINUTES


def test_a_book_that_lacks_somebody_who_is_paid_withdraws_nobody() -> None:
    """Ten of a hundred are within the tolerance. When they are back, nothing has changed for them."""
    everybody, some = book(*range(1, 101)), frozenset(range(1, 11))
    snapshot = known(*range(1, 101))
    for polls in range(1, 6):
        snapshot, problem = poll(
            snapshot, book(*range(11, 101)), NOW + polls * FIVE_MINUTES, still_paid=some - frozenset({3})
        )
        assert problem is None
        assert gone(snapshot) == ({3} if polls > 1 else set()), "only KKTIX's own word takes somebody out"
        assert {
            i for i, record in snapshot.records.items() if record.missing_polls and record.is_usable
        } == some - gone(snapshot)
    snapshot, _ = poll(snapshot, everybody, NOW + 6 * FIVE_MINUTES)
    assert gone(snapshot) == set()
    assert not any(record.missing_polls for record in snapshot.records.values())


@pytest.mark.parametrize(
    ("answer", "goes"),
    [
        (Fetched(2, vanished=True), True),
        (Fetched(2, attendee(2, state="cancelled")), True),
        (Fetched(2, attendee(2, is_paid=False)), True),
        (Fetched(2, attendee(2, state="a state of tomorrow")), True),
        (Fetched(2, attendee(2)), False),
        (Fetched(2, failure="answered 503"), False),
        (Fetched(2, attendee(2, is_paid=None), failure="`is_paid` is missing"), False),
        (None, False),
    ],
)
def test_what_kktix_says_of_a_missing_attendee_decides(answer: Fetched | None, goes: bool) -> None:
    snapshot, _ = poll(known(1, 2), book(1), NOW + FIVE_MINUTES)
    answers = {2: answer} if answer else {}
    after = count_missing(snapshot, {2}, NOW + 2 * FIVE_MINUTES, answers=answers)
    assert (gone(after) == {2}) == goes
    assert after.records[2].is_usable == (not goes)
    [*texts] = describe_kept(answers)
    assert len(texts) == (answer is not None and not goes)
    assert all("attendee 2 is missing from the attendance book" in text for text in texts)


def test_only_those_who_vanished_are_asked_about_and_never_more_than_a_share() -> None:
    snapshot, everybody = known(*range(1, 101)), frozenset(range(1, 101))
    asked = []
    for polls in range(1, 6):
        listed = book(*range(min(8 * polls, 24) + 1, 101))
        now = NOW + polls * FIVE_MINUTES
        plan = plan_fetch(snapshot, listed, now=now, refresh=HOUR)
        assert plan.fetch == tuple(sorted(plan.asked))
        asked.append(plan.asked)
        snapshot, problem = poll(snapshot, listed, now, still_paid=everybody)
        assert problem is None
    assert [len(ids) for ids in asked] == [0, 8, 10, 10, 10]
    assert set().union(*asked) == set(range(1, 25)), "everybody has a turn"
    assert gone(snapshot) == set()


def test_a_person_who_says_that_the_book_is_right_is_believed_without_a_question() -> None:
    paid = frozenset(range(1, 31))
    snapshot, _ = poll(known(*paid), book(1, 2), NOW + FIVE_MINUTES, trust_book=True, still_paid=paid)
    assert plan_fetch(snapshot, book(1, 2), now=NOW + 2 * FIVE_MINUTES, refresh=HOUR).asked == frozenset()
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES, still_paid=paid)
    assert gone(snapshot) == set(range(3, 31))


def test_an_attendee_that_is_listed_and_not_found_counts_as_missing() -> None:
    snapshot, _ = poll(known(1, 2), book(1, 2), NOW + HOUR, vanished=frozenset({2}))
    assert gone(snapshot) == set()
    snapshot, _ = poll(snapshot, book(1, 2), NOW + HOUR + FIVE_MINUTES, vanished=frozenset({2}))
    assert gone(snapshot) == {2}


def test_somebody_seen_again_in_between_is_not_gone() -> None:
    snapshot, _ = poll(known(1, 2), book(1), NOW + FIVE_MINUTES)
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES)
    snapshot, _ = poll(snapshot, book(1), NOW + 3 * FIVE_MINUTES)
    assert gone(snapshot) == set()


def test_being_listed_ends_the_misses_also_if_unreadable() -> None:
    """Missing, listed but unreadable, missing is not missing twice in a row."""
    snapshot, _ = poll(known(1, 2), book(1), NOW + FIVE_MINUTES)
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES, failed_reads=frozenset({2}))
    snapshot, _ = poll(snapshot, book(1), NOW + 3 * FIVE_MINUTES)
    assert gone(snapshot) == set()


def test_an_attendee_that_comes_back_keeps_its_first_day() -> None:
    snapshot = count_missing(count_missing(known(1, 2), {2}, NOW), {2}, NOW)
    assert gone(snapshot) == {2}
    snapshot, _ = poll(snapshot, book(1, 2), NOW + HOUR)
    assert snapshot.records[2].is_usable
    assert snapshot.records[2].first_seen_at == NOW


@pytest.mark.parametrize(
    ("before", "listed", "problem"),
    [
        (range(1, 2), range(0), "empty"),
        (range(1, 101), range(0), "empty"),
        (range(1, 101), range(1, 90), "lacks 11 of 100"),
        (range(1, 11), range(1, 5), "lacks 6 of 10"),
        (range(1, 101), range(1, 91), None),
        (range(1, 11), range(1, 6), None),
    ],
)
def test_an_empty_or_much_smaller_book_is_a_problem(before: range, listed: range, problem: str | None) -> None:
    snapshot = known(*before)
    for polls in range(1, 4):
        snapshot, doubt = poll(snapshot, book(*listed), NOW + polls * FIVE_MINUTES)
        if problem:
            assert doubt is not None
            assert problem in doubt
            assert gone(snapshot) == set()
    if not problem:
        assert gone(snapshot) == set(before) - set(listed)


def test_many_listed_and_not_found_at_once_are_a_problem_too() -> None:
    snapshot, problem = poll(known(*range(1, 31)), book(*range(1, 31)), NOW + HOUR, vanished=frozenset(range(1, 11)))
    assert problem is not None
    assert gone(snapshot) == set()
    assert not any(record.missing_polls for record in snapshot.records.values())


def test_an_override_makes_a_shrunken_book_count() -> None:
    snapshot, problem = poll(known(*range(1, 31)), book(1, 2), NOW + FIVE_MINUTES, trust_book=True)
    assert problem is None
    snapshot, problem = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES, trust_book=True)
    assert problem is None
    assert gone(snapshot) == set(range(3, 31))


def test_the_override_covers_listed_attendees_not_found() -> None:
    """The alarm advises ``--allow book``. One 404 next to a shrunken book must not void it."""
    snapshot, problem = poll(known(*range(1, 31)), book(1, 2, 3), NOW + HOUR, vanished=frozenset({3}), trust_book=True)
    assert problem is None
    assert {i for i, record in snapshot.records.items() if record.missing_polls} == set(range(3, 31))


def test_the_override_is_needed_once_not_in_every_poll() -> None:
    """The next poll completes what the override began: these misses are no news."""
    snapshot, _ = poll(known(*range(1, 31)), book(1, 2), NOW + FIVE_MINUTES, trust_book=True)
    snapshot, problem = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES)
    assert problem is None
    assert gone(snapshot) == set(range(3, 31))


def test_a_partial_book_still_brings_its_newcomers() -> None:
    snapshot, problem = poll(known(1, 2), book(1, 3, problem="book 2 could not be read"), NOW + FIVE_MINUTES)
    assert problem == "book 2 could not be read"
    assert snapshot.records[3].is_usable
    assert not snapshot.records[2].missing_polls


polls_of_an_event = st.lists(
    st.tuples(
        st.frozensets(st.integers(1, 12)),  # listed in the book
        st.sampled_from([None, None, "a book could not be read"]),
        st.frozensets(st.integers(1, 12)),  # not found
        st.frozensets(st.integers(1, 12)),  # unreadable
    ),
    max_size=8,
)


@given(polls_of_an_event)
def test_nobody_goes_without_being_missing_in_two_good_polls_in_a_row(history: list[Any]) -> None:
    snapshot = known(*range(1, 13))
    missing_before: set[int] = set()
    for number, (listed, problem, vanished, failed_reads) in enumerate(history, 1):
        plan = plan_fetch(snapshot, book(*listed), now=NOW + number * HOUR, refresh=HOUR)
        not_found = vanished & set(plan.fetch)
        before = gone(snapshot)
        snapshot, doubt = poll(
            snapshot,
            book(*listed, problem=problem),
            NOW + number * HOUR,
            vanished=vanished,
            failed_reads=failed_reads - vanished,
        )
        missing = set(range(1, 13)) - listed | not_found
        assert gone(snapshot) - before <= (missing & missing_before if doubt is None else set())
        # A poll that was not good says nothing about missing attendees, but listed ones are there.
        missing_before = missing if doubt is None else missing_before & missing


@given(polls_of_an_event)
def test_a_bad_poll_withdraws_nobody(history: list[Any]) -> None:
    snapshot = known(*range(1, 13))
    for number, (listed, _problem, vanished, failed_reads) in enumerate(history, 1):
        snapshot, _ = poll(
            snapshot,
            book(*listed, problem="unreadable"),
            NOW + number * HOUR,
            vanished=vanished,
            failed_reads=failed_reads,
        )
        assert gone(snapshot) == set()
        assert all(record.is_usable for record in snapshot.records.values())


# -- failures -----------------------------------------------------------------------------------------


def test_an_unreadable_attendee_is_quarantined_and_tried_again() -> None:
    snapshot, _ = poll(known(1), book(1, 2), NOW + FIVE_MINUTES, failed_reads=frozenset({2}))
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 2 * FIVE_MINUTES, failed_reads=frozenset({2}))
    assert snapshot.quarantine[2].attempts == 2
    assert snapshot.quarantine[2].since == NOW + FIVE_MINUTES
    assert count_reread_every_poll(snapshot) == 1
    snapshot, _ = poll(snapshot, book(1, 2), NOW + 3 * FIVE_MINUTES)
    assert not snapshot.quarantine
    assert snapshot.records[2].is_usable


def test_a_known_attendee_that_cannot_be_read_stays_as_it_was() -> None:
    before = known(1, 2)
    snapshot, _ = poll(before, book(1, 2), NOW + HOUR, failed_reads=frozenset({2}))
    assert snapshot.records[2] == before.records[2]


def test_an_unreadable_attendee_outside_the_book_is_dropped() -> None:
    snapshot, _ = poll(known(1), book(1, 2), NOW + FIVE_MINUTES, failed_reads=frozenset({2}))
    snapshot, _ = poll(snapshot, book(1), NOW + 2 * FIVE_MINUTES)
    assert count_reread_every_poll(snapshot) == 0


# -- the state after a poll ---------------------------------------------------------------------------


def test_reading_the_same_again_changes_no_content() -> None:
    before = known(1, 2)
    after, _ = poll(before, book(1, 2), NOW + HOUR)
    assert content_digest(after, "rules") == content_digest(before, "rules")
    changed = absorb(before, [Fetched(2, attendee(2, state="cancelled"))], NOW + HOUR)
    assert content_digest(changed, "rules") != content_digest(before, "rules")
    assert content_digest(before, "other rules") != content_digest(before, "rules")


def test_the_content_of_the_same_orders_has_the_same_digest_in_every_release() -> None:
    """Another one would make every table due after an upgrade."""
    digest = content_digest(known(1, 2, ticket_name="Regular 一般票", price=2500.0), "rules")
    assert digest == "163dbec3f9629888aaf8b2fe9743d0855173231458aad187eeeaf084150b0fa3"


def test_what_is_kept_for_the_digest_belongs_to_its_record_alone() -> None:
    before = known(1, 2)
    content_digest(before, "rules")
    record = replace(before.records[1], gone_at=NOW)
    assert record.content_number is None
    assert before.records[1].content_number not in (None, before.records[2].content_number)
    assert replace(record, gone_at=None) == before.records[1]
    changed, fresh = ({1: item, 2: known(1, 2).records[2]} for item in (record, replace(record)))
    digests = [content_digest(replace(before, records=records), "rules") for records in (changed, fresh)]
    assert digests[0] == digests[1] != content_digest(before, "rules")


def test_the_next_rotation_is_neither_forgotten_nor_overdue_at_once() -> None:
    snapshot = known(1, 2)
    assert next_refresh(snapshot, HOUR) == NOW + HOUR
    snapshot, _ = poll(snapshot, book(1, 2), NOW + HOUR)
    assert next_refresh(snapshot, HOUR) == NOW + 2 * HOUR
    assert next_refresh(EMPTY, HOUR) is None


def test_a_cancelled_attendee_in_the_book_is_only_read_in_rotation() -> None:
    snapshot = known(1, state="cancelled")
    assert count_reread_every_poll(snapshot) == 0
    assert plan_fetch(snapshot, book(1), now=NOW + FIVE_MINUTES, refresh=HOUR).fetch == ()
    assert plan_fetch(snapshot, book(1), now=NOW + HOUR, refresh=HOUR).fetch == (1,)


# -- when it was ordered and paid ---------------------------------------------------------------------


def seen(snapshot: OrderSnapshot, now: datetime, last_good_poll: datetime | None, **fields: Any) -> OrderSnapshot:
    return absorb(snapshot, [Fetched(1, attendee(1, **fields))], now, last_good_poll=last_good_poll)


def paid(snapshot: OrderSnapshot) -> tuple[datetime | None, datetime | None]:
    return snapshot.records[1].paid_seen_at, snapshot.records[1].paid_seen_after


def test_a_ticket_that_is_new_since_the_last_good_poll_was_ordered_and_paid_in_between() -> None:
    snapshot = seen(EMPTY, NOW, NOW - HOUR)
    assert snapshot.records[1].listed_after == NOW - HOUR
    assert paid(snapshot) == (NOW, NOW - HOUR)


def test_of_a_first_poll_only_the_upper_bound_is_known() -> None:
    assert seen(EMPTY, NOW, None).records[1].listed_after is None
    assert paid(seen(EMPTY, NOW, None)) == (NOW, None)


def test_a_late_payment_was_made_since_the_read_that_found_it_unpaid() -> None:
    unpaid = seen(EMPTY, NOW, None, is_paid=False)
    assert paid(unpaid) == (None, None)
    later = seen(seen(unpaid, NOW + HOUR, NOW, is_paid=False), NOW + 3 * HOUR, NOW + 2 * HOUR)
    assert paid(later) == (NOW + 3 * HOUR, NOW + HOUR)


def test_the_first_sight_of_a_payment_stays_whatever_follows() -> None:
    first = seen(EMPTY, NOW, NOW - HOUR)
    for fields in ({"is_paid": False}, {}, {"state": "cancelled"}):
        first = seen(first, NOW + 9 * HOUR, NOW, **fields)
        assert paid(first) == (NOW, NOW - HOUR)


def test_a_ticket_that_an_older_version_saw_paid_has_no_time_of_payment() -> None:
    old = seen(EMPTY, NOW, None)
    old = replace(old, records={1: replace(old.records[1], paid_seen_at=None)})
    assert paid(seen(old, NOW + HOUR, NOW)) == (None, None)


def test_an_attendee_out_of_quarantine_or_of_a_lost_vault_has_no_lower_bound() -> None:
    unread = absorb(EMPTY, [Fetched(1, failure="answered 500")], NOW)
    assert paid(seen(unread, NOW + HOUR, NOW)) == (NOW + HOUR, None)
    assert paid(seen(replace(EMPTY, rebuilding=True), NOW, NOW - HOUR)) == (NOW, None)


def test_a_payment_that_is_seen_makes_the_tables_due() -> None:
    before = seen(EMPTY, NOW, None)
    after = replace(before, records={1: replace(before.records[1], paid_seen_after=NOW - HOUR)})
    assert content_digest(before, "rules") != content_digest(after, "rules")
