"""From the attendance book and attendee payloads to the next snapshot of an event. Pure.

Paid and refunded rules live here and in ``AttendeeRecord.is_usable``; talking to KKTIX does not.
"Could not read" keeps what was known: only a good poll can make an attendee go, and only the second one does.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any

from pycontw_assets.completeness import ATTENDANCE_BOOK
from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot, Quarantined

GOOD_POLLS_UNTIL_GONE = 2
_LONGEST_INTERVAL = timedelta(days=1)
_WAY_OUT = "nobody is withdrawn. If they really left, run `pycontw-assets poll --allow book`"
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 19  # digits; what fits a 64-bit column


class MalformedAttendee(Exception):
    """A payload that is not an attendee. The text names the field, never a value."""


@dataclass(frozen=True, slots=True)
class BookReading:
    """The union of an event's attendance books. ``problem`` says why it cannot be trusted to be whole."""

    ids: frozenset[int]
    problem: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return book_digest(self.ids)


def book_digest(ids: Iterable[int]) -> str:
    return hashlib.sha256(",".join(map(str, sorted(ids))).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Which attendees to read in this poll, and which known ones the book no longer shows."""

    new: frozenset[int]
    open: frozenset[int]
    rotation: frozenset[int]
    missing: frozenset[int]
    problem: str | None
    trust_book: bool = False

    @property
    def fetch(self) -> tuple[int, ...]:
        """In the order that matters to buyers: newcomers first, then late payments, then the rest."""
        return (*sorted(self.new), *sorted(self.open), *sorted(self.rotation))


def parse_attendee(payload: Mapping[str, Any]) -> tuple[Attendee, str | None]:
    """Payload -> ``Attendee``, and what is wrong with the part that decides about access.

    What is missing or mistyped there is never guessed: it becomes ``None``. Without an id or a form there is no
    attendee to speak of: ``MalformedAttendee``.
    """
    attendee_id, is_paid, state, data = (payload.get(name) for name in ("id", "is_paid", "state", "data"))
    if isinstance(attendee_id, str) and attendee_id.isdecimal():
        attendee_id = int(attendee_id)
    if not isinstance(attendee_id, int) or isinstance(attendee_id, bool):
        raise MalformedAttendee("`id` is missing or not a number")
    defects = [] if isinstance(is_paid, bool) else ["`is_paid` is missing or not true or false"]
    defects += [] if isinstance(state, str) and state else ["`state` is missing or not a text"]
    attendee = Attendee(
        attendee_id=attendee_id,
        is_paid=is_paid if isinstance(is_paid, bool) else None,
        state=_text(state) if isinstance(state, str) and state else None,
        answers=_answers(data),
        ticket_id=_integer(payload.get("ticket_id")),
        ticket_name=_text(payload.get("ticket_name")),
        reg_no=_integer(payload.get("reg_no")),
        price=_number(payload.get("price")),
        currency=_text(payload.get("currency")),
        payment_method=_text(payload.get("payment_method")),
        ticket_type=_text(payload.get("ticket_type")),
        order_no=_integer(payload.get("order_no")),
        updated_at=_number(payload.get("updated_at")),
    )
    return attendee, "; ".join(defects) or None


def _answers(data: Any) -> tuple[tuple[str, Any], ...]:
    if not isinstance(data, list):
        raise MalformedAttendee("`data` is missing or not a list")
    pair_length = 2
    pairs = [item for item in data if isinstance(item, list) and len(item) == pair_length and isinstance(item[0], str)]
    if len(pairs) != len(data):
        raise MalformedAttendee("`data` holds something that is not a pair of label and value")
    if _HALF_CHARACTER.search(json.dumps(data, ensure_ascii=False)):
        raise MalformedAttendee("`data` holds half a character, which no encoding can write")
    # Thousands of attendees answer the same questions: one text for all of them.
    return tuple((sys.intern(label), value) for label, value in pairs)


def _integer(value: Any) -> int | None:
    """A whole number, every digit of it, that fits a column of the tables."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_INTEGER:
        value = int(value)
    number = value if isinstance(value, int) and not isinstance(value, bool) else _number(value)
    return int(number) if number is not None and number == int(number) and abs(number) < 2**63 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def _text(value: Any) -> str | None:
    return None if value is None else _HALF_CHARACTER.sub("\ufffd", str(value))


def plan_fetch(
    snapshot: OrderSnapshot, book: BookReading, *, now: datetime, refresh: timedelta, trust_book: bool = False
) -> FetchPlan:
    """What to read. ``trust_book`` is a person's word that a shrunken book is real."""
    known = snapshot.records
    present = {attendee_id for attendee_id, record in known.items() if record.gone_at is None}
    missing = frozenset(present - book.ids)
    # Who was missing in a good poll before is no news: a person's word for a shrunken book is needed once.
    expected = {attendee_id for attendee_id in present if not known[attendee_id].missing_polls}
    problem = book.problem or (None if trust_book else _shrinkage(expected, book.ids, missing & expected))
    back = {i for i in book.ids & known.keys() if known[i].gone_at is not None or known[i].missing_polls}
    reread_every_poll = {i for i in book.ids & known.keys() if is_reread_every_poll(known[i])}
    retried = set(snapshot.quarantine) & (book.ids | present)
    new = book.ids - known.keys()
    opened = (back | reread_every_poll | retried) - new
    rotation: set[int] = set()
    if snapshot.rotated_at is None or now >= snapshot.rotated_at + refresh:
        rotation = {i for i in book.ids & present if now >= refresh_due(known[i], refresh)} - opened
    return FetchPlan(
        new=frozenset(new),
        open=frozenset(opened - missing),
        rotation=frozenset(rotation),
        missing=frozenset() if problem else missing,
        problem=problem,
        trust_book=trust_book,
    )


def is_reread_every_poll(record: AttendeeRecord) -> bool:
    """Not usable yet, and may become so any moment: read again by every poll."""
    return record.gone_at is None and not record.is_usable and record.attendee.state != "cancelled"


def paid_at(record: AttendeeRecord) -> datetime:
    """When a usable ticket was paid, as far as that can be told: KKTIX gives no time of payment.

    It is KKTIX's ``updated_at``, the last change of the attendee, which need not move with the payment: where it is
    older than our first look at an attendee that has changed since, where it is missing or in our future, it is the
    poll that found the change, at most a poll late. A later edit moves it; who knows an earlier bound uses that.
    """
    found_at = record.changed_at or record.first_seen_at
    first, found = record.first_seen_at.timestamp(), found_at.timestamp()
    stamp = record.attendee.updated_at or 0
    is_telling = 0 < stamp <= found and (found == first or stamp > first)
    return datetime.fromtimestamp(stamp, timezone.utc) if is_telling else found_at


def _shrinkage(present: Collection[int], ids: Collection[int], missing: Collection[int]) -> str | None:
    if present and not ids:
        return f"the attendance book is empty, {len(present)} attendees were known; {_WAY_OUT}"
    if ATTENDANCE_BOOK.is_exceeded(len(missing), len(present)):
        return f"the attendance book lacks {len(missing)} of {len(present)} known attendees; {_WAY_OUT}"
    return None


def refresh_due(record: AttendeeRecord, refresh: timedelta) -> datetime:
    """When a known attendee is to be read again: half the time it has stayed the same, within bounds.

    A ``refresh`` of zero means every poll.
    """
    read_at = record.read_at or record.first_seen_at
    if not refresh:
        return read_at
    stable_for = read_at - (record.changed_at or record.first_seen_at)
    return read_at + max(refresh, min(stable_for / 2, _LONGEST_INTERVAL))


@dataclass(frozen=True, slots=True)
class Fetched:
    """What reading one attendee gave: an attendee, or why there is none (``vanished``: 404).

    An attendee with a ``failure`` was read in part: enough for a row, not enough to change what was known.
    """

    attendee_id: int
    attendee: Attendee | None = None
    failure: str | None = None
    vanished: bool = False


def absorb(snapshot: OrderSnapshot, fetched: Iterable[Fetched], now: datetime) -> OrderSnapshot:
    """Put what was read into the snapshot. Failures are quarantined and leave the known record as it was.

    A known attendee that vanished is not a failure: ``count_missing`` deals with it.
    """
    records = dict(snapshot.records)
    quarantine = dict(snapshot.quarantine)
    for item in fetched:
        earlier = quarantine.pop(item.attendee_id, None)
        known = records.get(item.attendee_id)
        failure = item.failure
        if item.vanished and known is None:
            failure = "not found, though the book lists it"
        if item.attendee is not None and (failure is None or known is None or known.is_defective):
            records[item.attendee_id] = _seen(known, item.attendee, now)
        if failure is not None:
            since, attempts = (earlier.since, earlier.attempts + 1) if earlier else (now, 1)
            quarantine[item.attendee_id] = Quarantined(failure, since, attempts)
    return replace(snapshot, records=records, quarantine=quarantine)


def _seen(earlier: AttendeeRecord | None, attendee: Attendee, now: datetime) -> AttendeeRecord:
    if earlier is None:
        return AttendeeRecord(attendee, first_seen_at=now, read_at=now, changed_at=now)
    unchanged = earlier.attendee == attendee and earlier.gone_at is None
    changed_at = earlier.changed_at if unchanged else now
    return AttendeeRecord(attendee, earlier.first_seen_at, read_at=now, changed_at=changed_at)


def count_missing(snapshot: OrderSnapshot, missing: Collection[int], now: datetime) -> OrderSnapshot:
    """A good poll without them: the first is noted, the second makes them gone."""
    records = dict(snapshot.records)
    for attendee_id in missing:
        record = records[attendee_id]
        polls = record.missing_polls + 1
        gone_at = now if polls >= GOOD_POLLS_UNTIL_GONE else None
        records[attendee_id] = replace(record, missing_polls=polls, gone_at=gone_at)
    return replace(snapshot, records=records)


def _note_listed(snapshot: OrderSnapshot, ids: Collection[int]) -> OrderSnapshot:
    """Being listed ends a row of misses, also where the details could not be read."""
    missed = {i: record for i, record in snapshot.records.items() if record.missing_polls and record.gone_at is None}
    seen = {i: replace(record, missing_polls=0) for i, record in missed.items() if i in ids}
    return replace(snapshot, records={**snapshot.records, **seen})


def settle(
    snapshot: OrderSnapshot, plan: FetchPlan, *, book: BookReading, vanished: Collection[int], now: datetime
) -> tuple[OrderSnapshot, str | None]:
    """End a poll: count who is missing if the poll was a good one; also give the problem if it was not."""
    present = {i for i, record in snapshot.records.items() if record.gone_at is None}
    missing = plan.missing | (frozenset(vanished) & present)
    doubtful = vanished and not plan.trust_book
    problem = plan.problem or (_shrinkage(present, present - missing, missing) if doubtful else None)
    rotated_at = now if plan.rotation or snapshot.rotated_at is None else snapshot.rotated_at
    snapshot = _note_listed(snapshot, book.ids - frozenset(vanished))
    if problem:
        return replace(snapshot, rotated_at=rotated_at), problem
    snapshot = count_missing(snapshot, missing, now)
    quarantine = {i: item for i, item in snapshot.quarantine.items() if i in book.ids}
    rebuilding = snapshot.rebuilding and bool(quarantine)
    return replace(snapshot, quarantine=quarantine, rotated_at=rotated_at, rebuilding=rebuilding), None


def count_reread_every_poll(snapshot: OrderSnapshot) -> int:
    """How many attendees the next poll has to look at whatever the book says."""
    pending = (
        r for r in snapshot.records.values() if is_reread_every_poll(r) or (r.missing_polls and r.gone_at is None)
    )
    return sum(1 for _ in pending) + len(snapshot.quarantine)


def next_refresh(snapshot: OrderSnapshot, refresh: timedelta) -> datetime | None:
    """When the next rotation is due; ``None`` when nobody is left to re-read."""
    due = [refresh_due(r, refresh) for r in snapshot.records.values() if r.gone_at is None]
    if not due:
        return None
    earliest = min(due)
    return max(earliest, snapshot.rotated_at + refresh) if snapshot.rotated_at else earliest


_fields_of = attrgetter(*(field.name for field in fields(Attendee)))  # what ``astuple`` gives, without its deep copies


class ContentDigest:
    """Changes when anything the tables show may change; re-reading what stayed the same does not change it.

    ``rules`` names the field policy and the pseudonym key: with other ones the same orders give other rows.
    A sum of digests is the same in whatever order the records come.
    """

    def __init__(self, rules: str) -> None:
        self._rules = rules
        self._sum = 0
        self.records = 0

    def passing(self, records: Iterable[AttendeeRecord]) -> Iterator[AttendeeRecord]:
        """The same records, counted in as they pass."""
        for record in records:
            shown = repr((_fields_of(record.attendee), record.first_seen_at, record.gone_at))
            self._sum += int.from_bytes(hashlib.sha256(shown.encode()).digest(), "big")
            self.records += 1
            yield record

    def __str__(self) -> str:
        return hashlib.sha256(f"{self._rules} {self._sum}".encode()).hexdigest()


def content_digest(snapshot: OrderSnapshot, rules: str) -> str:
    digest = ContentDigest(rules)
    for _ in digest.passing(snapshot.records.values()):
        pass
    return str(digest)
