"""One poll of one event: a partial book is never whole, and a defective attendee fails nobody else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.api.client import Malformed, NotFound, ServiceError, Unavailable
from pycontw_assets.deidentify.holders import Contacts, contact_address
from pycontw_assets.extract.kktix_client import BookPage
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.extract.snapshot import SnapshotOutcome, UntrustedBook, read_books, take_snapshot
from pycontw_assets.extract.waves import Wave, WaveSize
from pycontw_assets.pipeline.consistency.orders import started_over
from pycontw_assets.records import OrderSnapshot
from pycontw_assets.send_email.campaign_sending import POOL_SIZE
from pycontw_assets.vault.object_store import VaultError
from pycontw_assets.vault.vault import Vault
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER

NOW = datetime(2031, 6, 1, 2, tzinfo=timezone.utc)
DOWN = Unavailable("KKTIX", "read attendee", "answered 503", status=503)


@dataclass
class FakeKktix:
    """Books and attendees. ``answers`` replaces the answer of one attendee, of one book or of the list of books."""

    books: dict[int, set[int]] = field(default_factory=lambda: {1: set()})
    answers: dict[Any, Any] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def read_book_ids(self, event_id: int) -> tuple[int | None, ...]:
        return self._or_raise("books", tuple(self.books))

    def read_book(self, event_id: int, book_id: int) -> BookPage:
        return self._or_raise(("book", book_id), BookPage(frozenset(self.books[book_id])))

    def fetch_attendees(self, event_id: int, ids: Iterable[int]) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        for attendee_id in ids:
            self.asked.append(attendee_id)
            yield attendee_id, self.answers.get(attendee_id, payload(attendee_id))

    def _or_raise(self, question: Any, usual: Any) -> Any:
        answer = self.answers.get(question, usual)
        if isinstance(answer, ServiceError):
            raise answer
        return answer


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def vault(store: MemoryStore) -> Vault:
    return Vault(store, [Fernet.generate_key().decode()])


def payload(attendee_id: int, **fields: Any) -> dict[str, Any]:
    form = [["聯絡人 Email", f"buyer-{attendee_id}@example.org"]]
    return {"id": attendee_id, "is_paid": True, "state": "activated", "data": form, **fields}


def poll(kktix: FakeKktix, vault: Vault, minutes: int = 0, **options: Any) -> SnapshotOutcome:
    options = {"known_before": 0, "contacts": Contacts(PSEUDONYMIZER), **options}
    book = read_books(kktix, PARTITION.event_id)
    now = NOW + timedelta(minutes=minutes)
    return take_snapshot(kktix, vault, PARTITION, book=book, now=now, refresh=timedelta(hours=1), **options)


def usable(snapshot: OrderSnapshot) -> set[int]:
    return {i for i, record in snapshot.records.items() if record.is_usable}


# -- books --------------------------------------------------------------------------------------------


def test_the_book_of_an_event_is_the_union_of_all_its_books() -> None:
    assert read_books(FakeKktix({1: {1, 2}, 2: {2, 3}}), 90001) == BookReading(frozenset({1, 2, 3}))


def test_a_book_without_an_id_leaves_the_others() -> None:
    kktix = FakeKktix({1: {1, 2}})
    kktix.answers["books"] = (None, 1)
    reading = read_books(kktix, 90001)
    assert reading.ids == {1, 2}
    assert reading.problem == "an attendance book has no id that can be read"


def test_an_event_without_a_book_has_unknown_attendees() -> None:
    assert read_books(FakeKktix({}), 90001).problem is not None


@pytest.mark.parametrize("question", ["books", ("book", 1), ("book", 2)])
@pytest.mark.parametrize(
    "error", [DOWN, NotFound("KKTIX", "read", "answered 404", status=404), Malformed("KKTIX", "read", "x")]
)
def test_an_unreadable_book_is_a_problem_and_withdraws_nobody(vault: Vault, question: Any, error: ServiceError) -> None:
    kktix = FakeKktix({1: {1, 2}, 2: {3}})
    poll(kktix, vault)
    kktix.answers[question] = error
    for minutes in (5, 10, 15):
        outcome = poll(kktix, vault, minutes)
        assert outcome.problem is not None
        assert usable(outcome.snapshot) == {1, 2, 3}


def test_warnings_of_all_books_are_passed_on() -> None:
    kktix = FakeKktix({1: {1}, 2: {2}})
    kktix.answers = {("book", n): BookPage(frozenset({n}), (f"warning {n}",)) for n in (1, 2)}
    assert read_books(kktix, 90001).warnings == ("warning 1", "warning 2")


# -- attendees ----------------------------------------------------------------------------------------


def test_a_first_poll_reads_everybody_and_a_second_nobody(vault: Vault, store: MemoryStore) -> None:
    kktix = FakeKktix({1: set(range(1, 51))})
    assert usable(poll(kktix, vault).snapshot) == set(range(1, 51))
    kktix.asked.clear()
    writes = store.writes
    outcome = poll(kktix, vault, 5)
    assert kktix.asked == []
    assert (outcome.new, outcome.reread) == (0, 0)
    assert store.writes == writes


def test_one_bad_attendee_costs_itself(vault: Vault) -> None:
    kktix = FakeKktix({1: {1, 2, 3, 4}})
    kktix.answers = {2: DOWN, 3: {"id": 3}, 4: Malformed("KKTIX", "read attendee", "answered 200 with nonsense")}
    outcome = poll(kktix, vault)
    assert usable(outcome.snapshot) == {1}
    assert outcome.snapshot.quarantine.keys() == {2, 3, 4}
    assert "@" not in repr(outcome.snapshot.quarantine)
    kktix.answers.clear()
    assert usable(poll(kktix, vault, 5).snapshot) == {1, 2, 3, 4}


CONTACT = ["聯絡人 Email", "mei@example.org"]
ODD_ANSWERS: dict[str, Any] = {
    "half a character": ["Nickname / 暱稱", "Mei \ud83d"],
    "half a character in a name": ["聯絡人 姓名", "\udf1f Chen"],
    "half a character in a list": ["Area of Interest / 興趣領域", ["Web", "\ud83d"]],
    "one member": ["only a label"],
    "three members": ["Company / 服務單位", "Example", None],
    "no member": [],
    "no label": [None, "Mei"],
    "a label that is an object": [{"text": "Nickname"}, "Mei"],
    "an object": {"label": "Nickname", "value": "Mei"},
    "a number": 7,
    "nothing": None,
    "too deep": ["Nickname / 暱稱", [[[[[[[[["Mei"]]]]]]]]]],
    "too long": ["Nickname / 暱稱", "M" * 10_001],
}


@pytest.mark.parametrize("odd", ODD_ANSWERS)
def test_one_odd_answer_keeps_nobody_out(vault: Vault, odd: str) -> None:
    kktix = FakeKktix({1: {1}})
    kktix.answers[1] = payload(1, data=[["Gender / 性別", "Female"], ODD_ANSWERS[odd], CONTACT])
    snapshot = poll(kktix, vault).snapshot
    person = snapshot.records[1].attendee
    assert usable(snapshot) == {1}
    assert not snapshot.quarantine
    assert contact_address(person) == "mei@example.org"
    assert (len(person.answers), person.withheld) == (2, 1)
    assert vault.read(PARTITION.key) == snapshot


@pytest.mark.parametrize(
    "field",
    [{"ticket_name": {"holder": "Mei"}}, {"payment_method": ["Mei"]}, {"currency": 886912345678}, {"order_no": "Mei"}],
)
def test_a_field_of_another_type_is_withheld(vault: Vault, field: dict[str, Any]) -> None:
    kktix = FakeKktix({1: {1}}, {1: payload(1, **field)})
    snapshot = poll(kktix, vault).snapshot
    assert usable(snapshot) == {1}
    assert snapshot.records[1].attendee.withheld == 1
    assert getattr(snapshot.records[1].attendee, next(iter(field))) is None


def test_a_form_that_comes_as_an_object_is_read(vault: Vault) -> None:
    kktix = FakeKktix({1: {1}}, {1: payload(1, data={"Gender / 性別": "Female", "聯絡人 Email": "mei@example.org"})})
    snapshot = poll(kktix, vault).snapshot
    assert contact_address(snapshot.records[1].attendee) == "mei@example.org"
    assert not snapshot.quarantine


UNREADABLE_CONTACTS: dict[str, Any] = {
    "no form": None,
    "a text for a form": "聯絡人 Email",
    "a number for a form": 7,
    "an empty form": [],
    "half a character": [["聯絡人 Email", "\ud83dmei@example.org"]],
    "an object": [["聯絡人 Email", {"address": "mei@example.org"}]],
    "a list": [["聯絡人 Email", ["mei@example.org"]]],
    "a row of three": [[*CONTACT, None]],
}


@pytest.mark.parametrize("form", UNREADABLE_CONTACTS)
def test_a_contact_that_cannot_be_read_takes_nobody_out(vault: Vault, form: str) -> None:
    kktix = FakeKktix({1: {1}})
    before = poll(kktix, vault).snapshot.records[1].attendee
    kktix.answers[1] = payload(1, data=UNREADABLE_CONTACTS[form])
    snapshot = poll(kktix, vault, 60).snapshot
    assert snapshot.records[1].attendee.answers == before.answers
    assert snapshot.quarantine.keys() == {1}
    kktix.answers[1]["is_paid"] = False
    assert usable(poll(kktix, vault, 65).snapshot) == set(), "payment counts, whatever the form looks like"


@pytest.mark.parametrize("form", UNREADABLE_CONTACTS)
def test_a_newcomer_without_a_readable_contact_has_a_row_and_is_read_again(vault: Vault, form: str) -> None:
    kktix = FakeKktix({1: {1}}, {1: payload(1, data=UNREADABLE_CONTACTS[form])})
    snapshot = poll(kktix, vault).snapshot
    assert usable(snapshot) == {1}
    assert contact_address(snapshot.records[1].attendee) is None
    assert "@" not in snapshot.quarantine[1].reason
    kktix.answers.clear()
    snapshot = poll(kktix, vault, 5).snapshot
    assert contact_address(snapshot.records[1].attendee) == "buyer-1@example.org"
    assert not snapshot.quarantine


@pytest.mark.parametrize("value", ["", " ", None])
def test_an_address_that_the_organiser_deleted_is_none(vault: Vault, value: str | None) -> None:
    kktix = FakeKktix({1: {1}})
    poll(kktix, vault)
    kktix.answers[1] = payload(1, data=[["聯絡人 Email", value]])
    snapshot = poll(kktix, vault, 60).snapshot
    assert contact_address(snapshot.records[1].attendee) is None
    assert not snapshot.quarantine


def test_a_label_cut_within_a_character_keeps_its_answer(vault: Vault) -> None:
    kktix = FakeKktix({1: {1}}, {1: payload(1, data=[["Gender / 性別\ud83d", "Female"], CONTACT])})
    snapshot = poll(kktix, vault).snapshot
    assert [label for label, _ in snapshot.records[1].attendee.answers] == ["Gender / 性別\ufffd", CONTACT[0]]


def test_an_attendee_gone_since_the_book_is_no_failure(vault: Vault) -> None:
    kktix = FakeKktix({1: {1, 2}})
    poll(kktix, vault)
    kktix.answers[2] = NotFound("KKTIX", "read attendee", "answered 404", status=404)
    outcome = poll(kktix, vault, 60)
    assert not outcome.snapshot.quarantine
    assert usable(outcome.snapshot) == {1, 2}
    assert usable(poll(kktix, vault, 65).snapshot) == {1}


def test_a_service_that_answers_nobody_fails_the_poll(vault: Vault) -> None:
    kktix = FakeKktix({1: {1, 2, 3}})
    kktix.answers = {1: DOWN, 2: DOWN, 3: DOWN}
    with pytest.raises(Unavailable):
        poll(kktix, vault)


def test_attendees_read_before_a_crash_are_not_read_again(vault: Vault) -> None:
    kktix = FakeKktix({1: set(range(1, 11))})
    ticks = iter(range(0, 1000, 9))

    class Killed(BaseException):
        pass

    def dies_at_eight(event_id: int, ids: Iterable[int]) -> Iterator[tuple[int, Any]]:
        for count, answer in enumerate(FakeKktix.fetch_attendees(kktix, event_id, ids)):
            if count == 8:
                raise Killed
            yield answer

    kktix.fetch_attendees = dies_at_eight  # type: ignore[method-assign]
    with pytest.raises(Killed):
        poll(kktix, vault, monotonic=lambda: float(next(ticks)))
    del kktix.fetch_attendees
    kktix.asked.clear()
    outcome = poll(kktix, vault, 5)
    assert len(kktix.asked) < 10
    assert usable(outcome.snapshot) == set(range(1, 11))


# -- waves --------------------------------------------------------------------------------------------


@dataclass
class Rush:
    """Remembers the waves of polls, and what the vault held at each."""

    vault: Vault
    waves: list[tuple[list[int], int]] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)

    def serve(self, wave: Wave) -> None:
        self.waves.append((sorted(wave.orders.records), wave.unread))
        stored = self.vault.read(PARTITION.key)
        self.stored.append(len(stored.records) if stored else 0)


def test_a_rush_is_served_in_waves_the_oldest_order_first_and_its_end_by_nobody(vault: Vault) -> None:
    rush = Rush(vault)
    outcome = poll(FakeKktix({1: set(range(1, 8))}), vault, serve=rush.serve, wave_size=WaveSize(3, pause=0))
    assert rush.waves == [([1, 2, 3], 4), ([4, 5, 6], 1)]
    assert rush.stored == [3, 6], "kept before anybody is let in"
    assert usable(outcome.snapshot) == set(range(1, 8))


def test_a_slow_rush_is_served_by_the_clock(vault: Vault) -> None:
    seconds = iter(range(0, 10_000, 10))
    rush = Rush(vault)
    poll(FakeKktix({1: {1, 2, 3, 4, 5}}), vault, serve=rush.serve, monotonic=lambda: float(next(seconds)),
         wave_size=WaveSize(500, 20))  # fmt: skip
    assert rush.waves == [([1, 2], 3), ([3, 4], 1)]


def test_after_a_crash_between_waves_only_the_unread_are_read(vault: Vault) -> None:
    kktix = FakeKktix({1: set(range(1, 8))})

    class Killed(BaseException):
        pass

    def die(wave: Wave) -> None:
        raise Killed

    with pytest.raises(Killed):
        poll(kktix, vault, serve=die, wave_size=WaveSize(3, pause=0))
    kktix.asked.clear()
    assert usable(poll(kktix, vault, 5).snapshot) == set(range(1, 8))
    assert kktix.asked == [4, 5, 6, 7]


def test_during_a_wave_nobody_is_gone(vault: Vault) -> None:
    """Whoever is missing from the book may have bought again, and that order is still unread."""
    kktix = FakeKktix({1: {1, 2}})
    poll(kktix, vault)
    kktix.books = {1: {2, 3, 4, 5, 6}}
    kktix.answers = {1: NotFound("KKTIX", "read attendee", "answered 404", status=404)}
    poll(kktix, vault, 5)
    kktix.books = {1: {2, *range(3, 12)}}
    held: list[set[int]] = []

    def serve(wave: Wave) -> None:
        stored = vault.read(PARTITION.key)
        assert stored is not None
        held.append(usable(stored))

    outcome = poll(kktix, vault, 10, serve=serve, wave_size=WaveSize(2, pause=0))
    assert held
    assert all(1 in people for people in held)
    assert 1 not in usable(outcome.snapshot)


def test_lost_orders_are_read_again_without_waves(vault: Vault) -> None:
    rush = Rush(vault)
    kktix = FakeKktix({1: set(range(1, 8))})
    poll(kktix, vault, known_before=7, serve=rush.serve, wave_size=WaveSize(2, pause=0))
    assert not rush.waves


SIZE = {"waiting": 499, "unread": 1, "seconds": 59.0}


@pytest.mark.parametrize(
    ("changed", "is_due"),
    [
        ({}, False),
        ({"waiting": 500}, True),
        ({"seconds": 60.0}, True),
        ({"waiting": 0, "seconds": 600.0}, False),
        ({"waiting": 500, "unread": 0}, False),
        ({"waiting": 500, "served": 4_000}, True),
        ({"waiting": 999, "served": 8_000}, False),
        ({"waiting": 500, "took": 59.0}, True),
        ({"waiting": 500, "took": 59.1}, False),
        ({"waiting": 500, "took": 90.0, "seconds": 60.0}, True),
    ],
)
def test_a_wave_is_due_after_500_newcomers_or_a_minute(changed: dict[str, Any], is_due: bool) -> None:
    assert WaveSize().is_due(**{**SIZE, **changed}) is is_due


@pytest.mark.parametrize("per_second", [20, 50, 150])
def test_fifty_thousand_newcomers_leave_lists_for_other_events(per_second: int) -> None:
    waves, served, waiting, seconds = 0, 0, 0, 0.0
    for unread in range(49_999, -1, -1):
        waiting, seconds = waiting + 1, seconds + 1 / per_second
        if WaveSize().is_due(waiting=waiting, unread=unread, seconds=seconds, served=served, took=5.0):
            waves, served, waiting, seconds = waves + 1, served + waiting, 0, 0.0
    assert waves < POOL_SIZE * 0.6


def test_an_attendee_that_the_book_lacks_is_asked_about_once_before_it_goes(vault: Vault) -> None:
    kktix = FakeKktix({1: set(range(1, 21))})
    poll(kktix, vault)
    kktix.books = {1: set(range(3, 21))}
    kktix.answers = {1: NotFound("KKTIX", "read attendee", "answered 404", status=404), 2: payload(2)}
    kktix.asked.clear()
    assert usable(poll(kktix, vault, 5).snapshot) == set(range(1, 21))
    assert kktix.asked == []
    outcome = poll(kktix, vault, 10)
    assert kktix.asked == [1, 2]
    assert usable(outcome.snapshot) == set(range(2, 21))
    [text] = outcome.kept
    assert "attendee 2 is missing from the attendance book, and KKTIX calls it paid" in text
    assert outcome.problem is None
    kktix.answers[2] = DOWN
    outcome = poll(kktix, vault, 15)
    assert usable(outcome.snapshot) == set(range(2, 21))
    assert "could not be asked about" in outcome.kept[0]
    assert not outcome.snapshot.quarantine
    kktix.answers[2] = payload(2, state="cancelled")
    outcome = poll(kktix, vault, 20)
    assert (usable(outcome.snapshot), outcome.kept) == (set(range(3, 21)), ())


# -- a lost vault -------------------------------------------------------------------------------------


def test_a_lost_vault_is_not_rebuilt_from_a_small_book(vault: Vault, store: MemoryStore) -> None:
    with pytest.raises(UntrustedBook, match="lists 2 of 100"):
        poll(FakeKktix({1: {1, 2}}), vault, known_before=100)
    assert store.writes == 0


def test_a_lost_vault_is_not_rebuilt_from_an_unreadable_book(vault: Vault) -> None:
    kktix = FakeKktix({1: {1}})
    kktix.answers["books"] = DOWN
    with pytest.raises(UntrustedBook):
        poll(kktix, vault, known_before=3)


def test_while_a_lost_vault_is_rebuilt_absence_means_nothing(vault: Vault) -> None:
    kktix = FakeKktix({1: {1, 2, 3}})
    kktix.answers[2] = DOWN
    assert poll(kktix, vault, known_before=3).snapshot.rebuilding
    kktix.answers.clear()
    assert not poll(kktix, vault, 5, known_before=3).snapshot.rebuilding


PAID, GONE = payload(3), NotFound("KKTIX", "read attendee", "answered 404", status=404)


@pytest.mark.parametrize(
    ("answer", "holders", "rebuilding"),
    [
        (PAID, {1, 2, 3}, False),
        (GONE, {1, 2}, False),
        (payload(3, state="cancelled"), {1, 2}, False),
        (DOWN, {1, 2}, True),
    ],
    ids=["paid", "gone", "cancelled", "unreadable"],
)
def test_orders_that_are_read_again_ask_for_whom_the_book_lacks(
    vault: Vault, answer: Any, holders: set[int], rebuilding: bool
) -> None:
    kktix = FakeKktix({1: {1, 2, 3}})
    older = poll(kktix, vault).snapshot
    vault.write(started_over(older))
    kktix.books, kktix.answers = {1: {1, 2}}, {3: answer}
    again = poll(kktix, vault, 5, known_before=3).snapshot
    assert (usable(again), again.rebuilding) == (holders, rebuilding)
    kktix.answers = {3: PAID} if rebuilding else kktix.answers
    for minutes in (10, 15, 20):
        again = poll(kktix, vault, minutes, known_before=3).snapshot
    assert usable(again) == (holders | {3} if rebuilding else holders), "and it stays so"
    assert not again.rebuilding


def test_a_new_event_is_not_rebuilding(vault: Vault) -> None:
    assert not poll(FakeKktix({1: {1}}), vault).snapshot.rebuilding


def test_an_unreadable_vault_is_no_empty_one(vault: Vault, store: MemoryStore) -> None:
    kktix = FakeKktix({1: {1}})
    poll(kktix, vault)
    store.objects = dict.fromkeys(store.objects, b"damaged")
    with pytest.raises(VaultError):
        poll(kktix, vault, 5, known_before=1)
