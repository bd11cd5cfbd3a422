"""One poll of one event: read the books and the attendees that are due, and keep the result in the vault.

``orders`` decides what to read and what it means. A crash loses what was read since the last checkpoint. A poll that
reads many stops now and then, so that the buyers read so far are served (``waves``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from pycontw_assets.api.client import NotFound, ServiceError, Unavailable
from pycontw_assets.api.log import log_step
from pycontw_assets.completeness import BOOK_OF_LOST_ORDERS
from pycontw_assets.extract.orders import (
    BookReading,
    Fetched,
    FetchPlan,
    MalformedAttendee,
    absorb,
    describe_kept,
    end_poll,
    parse_attendee,
    plan_fetch,
)
from pycontw_assets.extract.waves import Wave, WaveSize
from pycontw_assets.records import Attendee, EventPartition, OrderSnapshot
from pycontw_assets.vault.vault import OrdersStore

_CHECKPOINT_SECONDS = 20.0  # between two writes of a long poll to the vault
_SERVICE_IS_DOWN = 3  # failed reads, if no other read succeeded
_USUAL_SIZE = WaveSize()


class BookPage(Protocol):
    """One attendance book: ids of attendees, and why some may be missing."""

    @property
    def ids(self) -> frozenset[int]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def is_cut(self) -> bool: ...


class Contacts(Protocol):
    """The knowledge of contact addresses, which the field policy and the mail service have."""

    def has_contact(self, attendee: Attendee) -> bool: ...

    def unreachable(self, snapshot: OrderSnapshot) -> Collection[int]: ...


class Kktix(Protocol):
    """The part of ``KktixClient`` that this stage uses."""

    def read_book_ids(self, event_id: int) -> tuple[int | None, ...]: ...

    def read_book(self, event_id: int, book_id: int) -> BookPage: ...

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int]
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]: ...


class UntrustedBook(Exception):
    """A snapshot was lost, and the book is too small to rebuild it from. A person has to decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOutcome:
    """The snapshot as stored, and the counts of the poll that made it. ``problem``: why it was not a good poll.

    ``kept``: why attendees that the book lacks keep their access.
    """

    snapshot: OrderSnapshot
    book: BookReading
    new: int
    reread: int
    problem: str | None
    kept: tuple[str, ...] = ()


def read_books(client: Kktix, event_id: int) -> BookReading:
    """Read the union of the event's books. A book that cannot be read makes the reading partial, never empty."""
    try:
        book_ids = client.read_book_ids(event_id)
    except ServiceError as error:
        return BookReading(frozenset(), f"the attendance books could not be read ({error.reason})")
    if not book_ids:
        return BookReading(frozenset(), "the event has no attendance book, so nothing is known about its attendees")
    ids: frozenset[int] = frozenset()
    problems: list[str] = []
    warnings: list[str] = []
    for book_id in book_ids:
        if book_id is None:
            problems.append("an attendance book has no id that can be read")
            continue
        try:
            page = client.read_book(event_id, book_id)
        except ServiceError as error:
            problems.append(f"attendance book {book_id} could not be read ({error.reason})")
        else:
            ids = ids | page.ids if ids else page.ids
            (problems if page.is_cut else warnings).extend(page.warnings)
    return BookReading(ids, "; ".join(problems) or None, tuple(warnings))


def take_snapshot(
    client: Kktix,
    vault: OrdersStore,
    partition: EventPartition,
    *,
    book: BookReading,
    now: datetime,
    refresh: timedelta,
    known_before: int,
    contacts: Contacts,
    last_good_poll: datetime | None = None,
    requested: Collection[int] = (),
    trust_book: bool = False,
    serve: Callable[[Wave], None] | None = None,
    wave_size: WaveSize = _USUAL_SIZE,
    monotonic: Callable[[], float] = time.monotonic,
) -> SnapshotOutcome:
    """Poll one event, given its books as just read, and return the stored snapshot.

    ``refresh``: the shortest time between two reads of an attendee. ``known_before``: the attendees that the ledger
    remembers, in case the vault has lost them. ``last_good_poll``: when the ledger last saw the book read whole.
    ``requested``: attendees that somebody asked to read again. ``trust_book``: the override for a shrunken book.
    ``serve`` lets in and invites the buyers read so far, while others are unread; orders that are read again after a
    loss are served at the end only, when nobody is missing any more. Nobody is gone before everybody was read.
    Raise ``UntrustedBook`` when neither vault nor book can be believed, and ``Unavailable`` when every read failed.
    """
    begun_at = monotonic()
    snapshot = vault.read(partition.key) or OrderSnapshot(partition, rebuilding=known_before > 0)
    if snapshot.rebuilding and not snapshot.present and not trust_book:
        _refuse_small_book(partition, book, known_before)
    plan = plan_fetch(
        snapshot,
        book,
        now=now,
        refresh=refresh,
        requested=requested,
        unreachable=contacts.unreachable(snapshot),
        trust_book=trust_book,
    )
    vanished: set[int] = set()
    answers: dict[int, Fetched] = {}  # about attendees that the book lacks
    failures = _Failures(len(plan.fetch))
    reading = _Reading(
        vault=vault,
        snapshot=snapshot,
        plan=plan,
        now=now,
        last_good_poll=last_good_poll,
        serve=None if snapshot.rebuilding else serve,
        size=wave_size,
        monotonic=monotonic,
    )
    for attendee_id, answer in client.fetch_attendees(partition.event_id, plan.fetch):
        fetched = _understand(attendee_id, answer, contacts)
        failures.count(answer)
        if attendee_id in plan.asked:
            answers[attendee_id] = fetched
            continue
        if fetched.vanished:
            vanished.add(attendee_id)
        reading.take(fetched)
    before = reading.snapshot
    snapshot = absorb(before, reading.pending, now, last_good_poll=last_good_poll)
    snapshot, problem = end_poll(snapshot, plan, book=book, vanished=vanished, now=now, answers=answers)
    if snapshot != before or snapshot.generation == 0:
        snapshot = vault.write(snapshot)
    log_step(
        "attendees_read",
        step="extract",
        partition=partition.key,
        listed=len(book.ids),
        new=len(plan.new),
        reread=len(plan.open) + len(plan.rotation),
        failed=failures.number,
        quarantined=len(snapshot.quarantine),
        missing=len(plan.missing),
        problems=int(problem is not None),
        seconds=monotonic() - begun_at,
    )
    failures.raise_if_all_failed()
    reread = len(plan.open) + len(plan.rotation)
    return SnapshotOutcome(
        snapshot=snapshot,
        book=book,
        new=len(plan.new),
        reread=reread,
        problem=problem,
        kept=() if problem else describe_kept(answers),
    )


@dataclass(slots=True, kw_only=True)
class _Reading:
    """The attendees that one poll has read so far. They are kept now and then, and served in waves."""

    vault: OrdersStore
    snapshot: OrderSnapshot
    plan: FetchPlan
    now: datetime
    last_good_poll: datetime | None
    serve: Callable[[Wave], None] | None
    size: WaveSize
    monotonic: Callable[[], float]
    pending: list[Fetched] = field(default_factory=list)
    _since_wave: list[int] = field(default_factory=list)
    _unread: int = 0
    _waiting: int = 0
    _served: int = 0
    _kept_at: float = 0.0
    _served_at: float = 0.0
    _took: float = 0.0

    def __post_init__(self) -> None:
        self._unread = len(self.plan.new) + len(self.plan.open) + len(self.plan.rotation)
        self._kept_at = self._served_at = self.monotonic()

    def take(self, fetched: Fetched) -> None:
        """Add what was read of one attendee, and do what is due then."""
        number = fetched.attendee_id
        self.pending.append(fetched)
        self._since_wave.append(number)
        self._unread -= 1
        self._waiting += number in self.plan.new or number in self.plan.open
        moment = self.monotonic()
        if self.serve is not None and self.size.is_due(
            waiting=self._waiting,
            unread=self._unread,
            seconds=moment - self._served_at,
            served=self._served,
            took=self._took,
        ):
            self._keep()
            self._serve(self.serve, moment)
        elif moment >= self._kept_at + _CHECKPOINT_SECONDS:
            self._keep()

    def _keep(self) -> None:
        """Write to the vault what was read, so that a crash does not lose it."""
        known = absorb(self.snapshot, self.pending, self.now, last_good_poll=self.last_good_poll)
        self.snapshot, self.pending = self.vault.write(known), []
        self._kept_at = self.monotonic()

    def _serve(self, serve: Callable[[Wave], None], begun_at: float) -> None:
        records = self.snapshot.records
        read = {number: records[number] for number in self._since_wave if number in records}
        serve(Wave(replace(self.snapshot, records=read, quarantine={}), len(self.plan.new), self._unread))
        self._served, self._waiting, self._since_wave = self._served + self._waiting, 0, []
        self._kept_at = self._served_at = self.monotonic()
        self._took = self._served_at - begun_at


def _refuse_small_book(partition: EventPartition, book: BookReading, known_before: int) -> None:
    """Orders that are read again from nothing have no second look: one small book would withdraw everybody else."""
    if BOOK_OF_LOST_ORDERS.is_exceeded(known_before - len(book.ids), known_before):
        raise UntrustedBook(
            f"the vault has lost the orders of {partition.key}, and its attendance book now lists {len(book.ids)} of "
            f"{known_before} attendees; nothing was changed. Restore the vault, or run `poll --allow book`"
        )


def _understand(attendee_id: int, answer: dict[str, Any] | ServiceError, contacts: Contacts) -> Fetched:
    if isinstance(answer, NotFound):
        return Fetched(attendee_id, vanished=True)
    if isinstance(answer, ServiceError):
        return Fetched(attendee_id, failure=answer.reason)
    try:
        attendee, defects = parse_attendee(answer)
    except MalformedAttendee as error:
        return Fetched(attendee_id, failure=str(error))
    return Fetched(attendee_id, attendee, defects, has_contact=contacts.has_contact(attendee))


class _Failures:
    """Tell a few defective attendees from a service that is down. Only the latter fails the poll."""

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._failed: list[Unavailable] = []

    def count(self, answer: dict[str, Any] | ServiceError) -> None:
        if isinstance(answer, Unavailable):
            self._failed.append(answer)

    @property
    def number(self) -> int:
        return len(self._failed)

    def raise_if_all_failed(self) -> None:
        if self._planned >= _SERVICE_IS_DOWN and len(self._failed) == self._planned:
            raise self._failed[0]
