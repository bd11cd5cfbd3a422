"""From the attendance book and the payloads of attendees to the next snapshot of an event. Pure.

The rules for "paid" and "refunded" are here and in ``AttendeeRecord.is_usable``.
What could not be read keeps what was known. An attendee goes only with the second good poll that misses it, and only
if KKTIX, asked for it by its number, does not call it paid: a book may lack somebody by mistake.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

from pycontw_assets.api.bounds import LARGEST_INTEGER, is_within, plain_text
from pycontw_assets.completeness import ATTENDANCE_BOOK
from pycontw_assets.ledger.database.future_times import is_ahead
from pycontw_assets.records import TICKET_STATES, Attendee, AttendeeRecord, OrderSnapshot, Quarantined

_BOOK_IS_RIGHT = 2  # missed polls of an attendee that needs no question: a person said so
_LONG_AGO = datetime.fromtimestamp(0, timezone.utc)
_LONGEST_INTERVAL = timedelta(days=1)  # between two reads of an attendee
_MOST_UNREACHABLE = 100  # of one event that a poll reads again; more of them take turns
_WAY_OUT = "nobody is withdrawn. If they really left, run `pycontw-assets poll --allow book`"
_LONGEST_INTEGER = 19  # digits that fit a column of 64 bits
# Bounds of a form. The longest answers seen are a paragraph; an answer of several choices is a list of them.
_MOST_ANSWERS = 1000
_LONGEST_LABEL = 2000  # characters
_LONGEST_ANSWER = 10_000  # characters and members
_DEEPEST_ANSWER = 8  # levels


class MalformedAttendee(Exception):
    """A payload that is no attendee. The text names the field, never a value."""


@dataclass(frozen=True, slots=True)
class BookReading:
    """The union of an event's attendance books. ``problem`` says why it may not be whole.

    ``erased`` are listed, too, and count as not listed: these people asked to be forgotten.
    """

    ids: frozenset[int]
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    erased: frozenset[int] = frozenset()

    @property
    def digest(self) -> str:
        """The digest of the ids, as the ledger remembers it."""
        return book_digest(self.ids)


@functools.lru_cache(maxsize=4)  # events of an edition, usually. The same ids come with every tick
def book_digest(ids: frozenset[int]) -> str:
    return hashlib.sha256(",".join(map(str, sorted(ids))).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Which attendees this poll reads, and which known ones the book does not show any more.

    ``new``: not in the snapshot. ``open``: read by every poll, quarantined, back in the book, without a reachable
    address, or asked for. ``rotation``: due by age. ``asked``: missing for the second time, so KKTIX is asked before
    they go. ``problem``: why the book is not believed.
    """

    new: frozenset[int]
    open: frozenset[int]
    rotation: frozenset[int]
    missing: frozenset[int]
    problem: str | None
    trust_book: bool = False
    asked: frozenset[int] = frozenset()

    @property
    def fetch(self) -> tuple[int, ...]:
        """The ids in the order that matters to buyers: newcomers, then late payments, then the rest."""
        return (*sorted(self.new), *sorted(self.open), *sorted(self.asked), *sorted(self.rotation))


def parse_attendee(payload: Mapping[str, Any]) -> tuple[Attendee, str | None]:
    """Return the attendee of a payload, and what is wrong with the fields that decide about access.

    A missing or mistyped field is never guessed: it becomes ``None``. A field or an answer that is there and cannot be
    read is withheld and counted. Raise ``MalformedAttendee`` without an id.
    """
    attendee_id, is_paid, state = _integer(payload.get("id")), payload.get("is_paid"), payload.get("state")
    if attendee_id is None:
        raise MalformedAttendee("`id` is missing or not a number")
    defects = [] if isinstance(is_paid, bool) else ["`is_paid` is missing or not true or false"]
    defects += [] if isinstance(state, str) and state else ["`state` is missing or not a text"]
    answers, withheld = _answers(payload.get("data"))
    values = {name: read(payload.get(name)) for name, read in _OPTIONAL.items()}
    withheld += sum(payload.get(name) is not None and value is None for name, value in values.items())
    attendee = Attendee(
        attendee_id=attendee_id,
        is_paid=is_paid if isinstance(is_paid, bool) else None,
        state=plain_text(state) if isinstance(state, str) and state else None,
        answers=answers,
        withheld=withheld,
        **values,
    )
    return attendee, "; ".join(defects) or None


def _answers(data: Any) -> tuple[tuple[tuple[str, Any], ...], int]:
    """Return the answers that can be read, in form order, and the number of those that cannot."""
    if isinstance(data, dict):
        data = [list(pair) for pair in data.items()]  # label -> value says the same, in another shape
    if not isinstance(data, list):
        return (), 1
    answers = [answer for row in data[:_MOST_ANSWERS] if (answer := _answer(row)) is not None]
    return tuple(answers), len(data) - len(answers)


def _answer(row: Any) -> tuple[str, Any] | None:
    pair_length = 2
    if not (isinstance(row, list) and len(row) == pair_length and isinstance(row[0], str)):
        return None
    label, value = row
    if len(label) > _LONGEST_LABEL or not is_within(value, levels=_DEEPEST_ANSWER, size=_LONGEST_ANSWER):
        return None
    # KKTIX cuts labels, perhaps within a character. Thousands answer the same questions, so they share one text.
    return sys.intern(plain_text(label, _LONGEST_LABEL)), value


def _integer(value: Any) -> int | None:
    """Return a whole number with all its digits, if it fits a column of the tables."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_INTEGER:
        value = int(value)
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(value)
    return int(number) if number is not None and number == int(number) and abs(number) <= LARGEST_INTEGER else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _text(value: Any) -> str | None:
    return plain_text(value) if isinstance(value, str) else None


# Fields without a say in access -> how each is read.
_OPTIONAL: Mapping[str, Callable[[Any], Any]] = {
    "ticket_id": _integer,
    "ticket_name": _text,
    "reg_no": _integer,
    "price": _number,
    "currency": _text,
    "payment_method": _text,
    "ticket_type": _text,
    "order_no": _integer,
    "updated_at": _number,
}


def plan_fetch(
    snapshot: OrderSnapshot,
    book: BookReading,
    *,
    now: datetime,
    refresh: timedelta,
    requested: Collection[int] = (),
    unreachable: Collection[int] = (),
    trust_book: bool = False,
) -> FetchPlan:
    """Plan what to read.

    ``refresh`` is ``REFRESH_SECONDS``. ``requested``: somebody asked to read them again. ``unreachable``: usable
    tickets whose address no mail can reach. ``trust_book`` is the override for a shrunken book.
    """
    records = snapshot.records
    present = {attendee_id for attendee_id, record in records.items() if record.gone_at is None}
    missing = frozenset(present - book.ids)
    # An attendee that a good poll missed before is no news, so a shrunken book needs the override once only.
    expected = {attendee_id for attendee_id in present if not records[attendee_id].missing_polls}
    problem = book.problem or (None if trust_book else _shrinkage(expected, book.ids, missing & expected))
    back = {i for i in book.ids & records.keys() if records[i].gone_at is not None or records[i].missing_polls}
    reread_every_poll = {i for i in book.ids & records.keys() if is_reread_every_poll(records[i])}
    # Of lost orders, the numbers may be all that is known: a book that lacks one does not decide alone.
    quarantined = snapshot.quarantine.keys() - book.erased
    retried = quarantined if snapshot.rebuilding else quarantined & (book.ids | present)
    new = book.ids - records.keys()
    asked = (set(requested) | _next_unreachable(records, unreachable)) & book.ids
    opened = (back | reread_every_poll | retried | asked) - new
    rotation: set[int] = set()
    rotated_at = snapshot.rotated_at
    if rotated_at is None or is_ahead(rotated_at, now) or now >= rotated_at + refresh:
        listed = book.ids & present
        rotation = {i for i in listed if is_ahead(records[i].read_at, now) or now >= refresh_due(records[i], refresh)}
        rotation -= opened
    return FetchPlan(
        new=frozenset(new),
        open=frozenset(opened - missing),
        rotation=frozenset(rotation),
        missing=frozenset() if problem else missing,
        problem=problem,
        trust_book=trust_book,
        asked=frozenset() if problem or trust_book else _to_ask(missing, snapshot),
    )


def _to_ask(missing: Collection[int], snapshot: OrderSnapshot) -> frozenset[int]:
    """Return the attendees to ask about before they go. A book that stays broken must not cost more with every poll."""
    records = snapshot.records
    missed_before = [i for i in missing if 0 < records[i].missing_polls < _BOOK_IS_RIGHT]
    missed_before.sort(key=lambda i: (records[i].read_at or records[i].first_seen_at, i))
    return frozenset(missed_before[: ATTENDANCE_BOOK.most(len(snapshot.present))])


def _next_unreachable(records: Mapping[int, AttendeeRecord], unreachable: Collection[int]) -> set[int]:
    """Return the unreachable attendees of this poll: all of them, or by turns where they are many."""
    waiting = sorted(unreachable, key=lambda i: (records[i].read_at or records[i].first_seen_at, i))
    return set(waiting[:_MOST_UNREACHABLE])


def is_reread_every_poll(record: AttendeeRecord) -> bool:
    """Whether the ticket is not usable yet and may become so at any moment."""
    return record.gone_at is None and not record.is_usable and record.attendee.state != "cancelled"


def paid_at(record: AttendeeRecord) -> datetime:
    """Estimate when a usable ticket was paid. KKTIX gives no time of payment.

    The estimate is KKTIX's ``updated_at``, the last change of the attendee. It need not move with the payment, so the
    time of the poll that found the change stands in for it, at most a poll late, where ``updated_at``

    - is missing,
    - is later than that poll, or
    - is older than the first read of an attendee that has changed since.

    A later edit moves the estimate. A caller with an earlier bound uses that bound.
    """
    found_at = record.changed_at or record.first_seen_at
    first_seen, changed = record.first_seen_at.timestamp(), found_at.timestamp()
    updated = record.attendee.updated_at or 0
    is_plausible = 0 < updated <= changed and (changed == first_seen or updated > first_seen)
    return datetime.fromtimestamp(updated, timezone.utc) if is_plausible else found_at


def _shrinkage(present: Collection[int], ids: Collection[int], missing: Collection[int]) -> str | None:
    if present and not ids:
        return f"the attendance book is empty, {len(present)} attendees were known; {_WAY_OUT}"
    if ATTENDANCE_BOOK.is_exceeded(len(missing), len(present)):
        return f"the attendance book lacks {len(missing)} of {len(present)} known attendees; {_WAY_OUT}"
    return None


def refresh_due(record: AttendeeRecord, refresh: timedelta) -> datetime:
    """Return when to read an attendee again: after half the time that it has stayed the same, within bounds.

    A ``refresh`` of zero means every poll.
    """
    read_at = record.read_at or record.first_seen_at
    stable_for = read_at - (record.changed_at or record.first_seen_at)
    return read_at + reread_interval(stable_for, refresh)


def reread_interval(stable_for: timedelta, refresh: timedelta) -> timedelta:
    """Return how long to wait before the next read of a ticket that has stayed the same for so long."""
    return max(refresh, min(stable_for / 2, _LONGEST_INTERVAL)) if refresh else refresh


@dataclass(frozen=True, slots=True)
class Fetched:
    """The result of reading one attendee: an attendee, or why there is none (``vanished``: 404).

    An attendee with a ``failure`` was read in part: enough for a row, not enough to change what was known.
    ``has_contact``: the form says which address the buyer gave, be it none.
    """

    attendee_id: int
    attendee: Attendee | None = None
    failure: str | None = None
    vanished: bool = False
    has_contact: bool = True


_NO_CONTACT = "its form has no contact address that can be read"


def absorb(
    snapshot: OrderSnapshot, fetched: Iterable[Fetched], now: datetime, *, last_good_poll: datetime | None = None
) -> OrderSnapshot:
    """Return the snapshot with what was read. A failure is quarantined and leaves the known record as it was.

    ``last_good_poll``: when the event's book was last read whole; ``None``: never, or nobody knows.
    A form without a readable contact is a failure, too: the known answers stay, so that nobody loses access by it.
    Payment and state count all the same. A known attendee that vanished is no failure: ``count_missing`` deals with it.
    """
    records = dict(snapshot.records)
    quarantine = dict(snapshot.quarantine)
    for item in fetched:
        earlier = quarantine.pop(item.attendee_id, None)
        record = records.get(item.attendee_id)
        if item.attendee is not None and (item.failure is None or record is None or record.is_defective):
            # An attendee in quarantine was listed before, so the last poll is no bound for it.
            bound = None if earlier or snapshot.rebuilding else last_good_poll
            records[item.attendee_id] = _seen(record, _with_known_contact(item, record), now, bound)
        if (failure := _failure(item, record)) is not None:
            since, attempts = (earlier.since, earlier.attempts + 1) if earlier else (now, 1)
            quarantine[item.attendee_id] = Quarantined(failure, since, attempts)
    return replace(snapshot, records=records, quarantine=quarantine)


def _failure(item: Fetched, record: AttendeeRecord | None) -> str | None:
    if item.vanished and record is None:
        return "not found, though the book lists it"
    return item.failure if item.failure or item.has_contact else _NO_CONTACT


def _with_known_contact(item: Fetched, record: AttendeeRecord | None) -> Attendee:
    if item.attendee is None:
        raise ValueError("nothing was read")
    if item.has_contact or record is None:
        return item.attendee
    return replace(item.attendee, answers=record.attendee.answers)


def _seen(
    earlier: AttendeeRecord | None, attendee: Attendee, now: datetime, last_good_poll: datetime | None
) -> AttendeeRecord:
    is_paid = attendee.is_paid is True
    if earlier is None:
        return AttendeeRecord(
            attendee,
            first_seen_at=now,
            read_at=now,
            changed_at=now,
            listed_after=last_good_poll,
            paid_seen_at=now if is_paid else None,
            paid_seen_after=last_good_poll if is_paid else None,
        )
    unchanged = earlier.attendee == attendee and earlier.gone_at is None
    # A ticket that an older version read as paid stays without a time: it was paid before now.
    became_paid = is_paid and earlier.attendee.is_paid is not True and earlier.paid_seen_at is None
    was_unpaid = earlier.attendee.is_paid is False
    return AttendeeRecord(
        attendee,
        earlier.first_seen_at,
        read_at=now,
        changed_at=earlier.changed_at if unchanged else now,
        listed_after=earlier.listed_after,
        paid_seen_at=now if became_paid else earlier.paid_seen_at,
        paid_seen_after=(earlier.read_at if was_unpaid else None) if became_paid else earlier.paid_seen_after,
    )


def count_missing(
    snapshot: OrderSnapshot,
    missing: Collection[int],
    now: datetime,
    *,
    answers: Mapping[int, Fetched] | None = None,
    trust_book: bool = False,
) -> OrderSnapshot:
    """Count a good poll without these attendees. The first is noted, the second makes them gone.

    ``answers``: what KKTIX says of those that were asked about. Who is paid stays, and so does who could not be asked
    about. ``None``: nobody has to be asked about.
    """
    known = snapshot.records
    snapshot = absorb(snapshot, [item for item in (answers or {}).values() if _is_read(item)], now)
    records = dict(snapshot.records)
    for attendee_id in missing:
        polls, record = known[attendee_id].missing_polls, records[attendee_id]
        if not polls:
            records[attendee_id] = replace(record, missing_polls=_BOOK_IS_RIGHT if trust_book else 1)
        elif trust_book or answers is None or polls >= _BOOK_IS_RIGHT or _has_left(answers, record):
            records[attendee_id] = replace(record, missing_polls=polls + 1, gone_at=now)
        else:
            records[attendee_id] = replace(record, missing_polls=polls)
    return replace(snapshot, records=records)


def _is_read(answer: Fetched) -> bool:
    return answer.attendee is not None and answer.failure is None


def _has_left(answers: Mapping[int, Fetched], record: AttendeeRecord) -> bool:
    """Whether KKTIX said that the ticket is gone, or gives no access. ``record`` is as just read, if it could be."""
    answer = answers.get(record.attendee.attendee_id)
    return answer is not None and (answer.vanished or (_is_read(answer) and not record.is_usable))


def describe_kept(answers: Mapping[int, Fetched]) -> tuple[str, ...]:
    """Say why attendees that the book lacks keep their access. ``answers``: what KKTIX says of each."""
    texts = []
    for attendee_id, answer in sorted(answers.items()):
        if answer.failure is not None:
            texts.append(
                f"attendee {attendee_id} is missing from the attendance book and could not be asked about "
                f"({answer.failure}); it keeps its access"
            )
        elif answer.attendee is not None and AttendeeRecord(answer.attendee, _LONG_AGO).is_usable:
            texts.append(
                f"attendee {attendee_id} is missing from the attendance book, and KKTIX calls it paid; {_WAY_OUT}"
            )
    return tuple(texts)


def _note_listed(snapshot: OrderSnapshot, ids: Collection[int]) -> OrderSnapshot:
    """Set the missed polls of every listed attendee back to 0, also where its details could not be read."""
    missed = {i: record for i, record in snapshot.records.items() if record.missing_polls and record.gone_at is None}
    listed = {i: replace(record, missing_polls=0) for i, record in missed.items() if i in ids}
    return replace(snapshot, records={**snapshot.records, **listed})


def end_poll(
    snapshot: OrderSnapshot,
    plan: FetchPlan,
    *,
    book: BookReading,
    vanished: Collection[int],
    now: datetime,
    answers: Mapping[int, Fetched],
) -> tuple[OrderSnapshot, str | None]:
    """Return the snapshot after the poll, and the problem that keeps it from being a good one.

    Only a good poll counts missing attendees. ``vanished``: attendees whose details answered 404, most of them listed.
    ``answers``: what KKTIX says of the missing ones that it was asked about.
    """
    present = {i for i, record in snapshot.records.items() if record.gone_at is None}
    missing = plan.missing | (frozenset(vanished) & present)
    is_doubtful = vanished and not plan.trust_book
    problem = plan.problem or (_shrinkage(present, present - missing, missing) if is_doubtful else None)
    rotated_at = now if plan.rotation or snapshot.rotated_at is None else snapshot.rotated_at
    snapshot = _note_listed(snapshot, book.ids - frozenset(vanished))
    if problem:
        return replace(snapshot, rotated_at=rotated_at), problem
    answers = {**answers, **{i: Fetched(i, vanished=True) for i in vanished}}
    snapshot = count_missing(snapshot, missing, now, answers=answers, trust_book=plan.trust_book)
    asked_for = snapshot.quarantine.keys() - frozenset(vanished) - book.erased if snapshot.rebuilding else frozenset()
    known = book.ids | asked_for
    quarantine = {i: item for i, item in snapshot.quarantine.items() if i in known}
    rebuilding = snapshot.rebuilding and bool(quarantine)
    return replace(snapshot, quarantine=quarantine, rotated_at=rotated_at, rebuilding=rebuilding), None


def count_reread_every_poll(snapshot: OrderSnapshot) -> int:
    """Count the attendees that the next poll reads, whatever the book says."""
    pending = (
        r for r in snapshot.records.values() if is_reread_every_poll(r) or (r.missing_polls and r.gone_at is None)
    )
    return sum(1 for _ in pending) + len(snapshot.quarantine)


def next_refresh(snapshot: OrderSnapshot, refresh: timedelta) -> datetime | None:
    """Return when the next rotation is due; ``None`` without an attendee to read again."""
    due = [refresh_due(r, refresh) for r in snapshot.records.values() if r.gone_at is None]
    if not due:
        return None
    earliest = min(due)
    return max(earliest, snapshot.rotated_at + refresh) if snapshot.rotated_at else earliest


# The content of the rows, as ``astuple`` gives it without its deep copies.
_fields_of = attrgetter(*(field.name for field in fields(Attendee) if field.compare))
_moments_of = attrgetter("first_seen_at", "gone_at", "listed_after", "paid_seen_at", "paid_seen_after")


class ContentDigest:
    """A digest that changes when the rows of the tables may change, and not when the same orders are read again.

    ``rules`` names the field policy and the pseudonym key, because others give other rows.
    The digest is a sum, so the order of the records does not matter.
    """

    def __init__(self, rules: str) -> None:
        self._rules = rules
        self._sum = 0
        self.records = 0

    def passing(self, records: Iterable[AttendeeRecord]) -> Iterator[AttendeeRecord]:
        """Yield the same records and add each to the digest."""
        for record in records:
            self._sum += _content_number(record)
            self.records += 1
            yield record

    def __str__(self) -> str:
        return hashlib.sha256(f"{self._rules} {self._sum}".encode()).hexdigest()


def _content_number(record: AttendeeRecord) -> int:
    """Return the digest of what the tables show of a record. It is kept there: one poll needs it several times."""
    if record.content_number is None:
        shown = repr((_fields_of(record.attendee), *_moments_of(record)))
        number = int.from_bytes(hashlib.sha256(shown.encode()).digest(), "big")
        object.__setattr__(record, "content_number", number)
        return number
    return record.content_number


def content_digest(snapshot: OrderSnapshot, rules: str) -> str:
    """Return the ``ContentDigest`` of a whole snapshot as text."""
    digest = ContentDigest(rules)
    for _ in digest.passing(snapshot.records.values()):
        pass
    return str(digest)


def count_states(snapshot: OrderSnapshot) -> dict[str, int]:
    """Count the tickets of an event by their state."""
    counts = Counter(record.ticket_state for record in snapshot.records.values())
    return {state: counts[state] for state in TICKET_STATES}
