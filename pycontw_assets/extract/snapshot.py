"""One poll of one event: read the books, read the attendees that are due, keep the result in the vault.

Thin: what to read and what it means is decided in ``orders``. A crash loses at most the last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from pycontw_assets.api.client import NotFound, ServiceError, Unavailable
from pycontw_assets.completeness import ATTENDANCE_BOOK
from pycontw_assets.extract.orders import (
    BookReading,
    Fetched,
    MalformedAttendee,
    absorb,
    parse_attendee,
    plan_fetch,
    settle,
)
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.vault.vault import OrdersStore

_CHECKPOINT_SECONDS = 20.0


class BookPage(Protocol):
    @property
    def ids(self) -> frozenset[int]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def is_cut(self) -> bool: ...


class Kktix(Protocol):
    """What this stage asks of KKTIX."""

    def read_book_ids(self, event_id: int) -> tuple[int, ...]: ...

    def read_book(self, event_id: int, book_id: int) -> BookPage: ...

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int]
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]: ...


class UntrustedBook(Exception):
    """A snapshot was lost and the book is too small to rebuild it from. A person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOutcome:
    """The snapshot as stored, and the counts of the poll that made it."""

    snapshot: OrderSnapshot
    book: BookReading
    new: int
    reread: int
    problem: str | None


def read_books(client: Kktix, event_id: int) -> BookReading:
    """The union of the event's books. What cannot be read makes the reading partial, never empty."""
    try:
        book_ids = client.read_book_ids(event_id)
    except ServiceError as error:
        return BookReading(frozenset(), f"the attendance books could not be read ({error.reason})")
    if not book_ids:
        return BookReading(frozenset(), "the event has no attendance book, so nothing can be told about its attendees")
    ids: set[int] = set()
    problems: list[str] = []
    warnings: list[str] = []
    for book_id in book_ids:
        try:
            page = client.read_book(event_id, book_id)
        except ServiceError as error:
            problems.append(f"attendance book {book_id} could not be read ({error.reason})")
        else:
            ids |= page.ids
            (problems if page.is_cut else warnings).extend(page.warnings)
    return BookReading(frozenset(ids), "; ".join(problems) or None, tuple(warnings))


def take_snapshot(
    client: Kktix,
    vault: OrdersStore,
    partition: EventPartition,
    *,
    book: BookReading,
    now: datetime,
    refresh: timedelta,
    known_before: int,
    trust_book: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
) -> SnapshotOutcome:
    """Poll one event, given its books as just read.

    ``known_before`` is how many attendees the ledger remembers, should the vault have lost them.
    """
    snapshot = vault.read(partition.key) or _first(partition, book, known_before=known_before, trust_book=trust_book)
    plan = plan_fetch(snapshot, book, now=now, refresh=refresh, trust_book=trust_book)
    vanished: set[int] = set()
    pending: list[Fetched] = []
    checkpoint = monotonic() + _CHECKPOINT_SECONDS
    failures = _Failures(len(plan.fetch))
    for attendee_id, answer in client.fetch_attendees(partition.event_id, plan.fetch):
        fetched = _understand(attendee_id, answer)
        failures.count(answer)
        pending.append(fetched)
        if fetched.vanished:
            vanished.add(attendee_id)
        if monotonic() >= checkpoint:
            snapshot, pending = vault.write(absorb(snapshot, pending, now)), []
            checkpoint = monotonic() + _CHECKPOINT_SECONDS
    before = snapshot
    snapshot, problem = settle(absorb(snapshot, pending, now), plan, book=book, vanished=vanished, now=now)
    if snapshot != before or snapshot.generation == 0:
        snapshot = vault.write(snapshot)
    failures.raise_if_all_failed()
    reread = len(plan.open) + len(plan.rotation)
    return SnapshotOutcome(snapshot=snapshot, book=book, new=len(plan.new), reread=reread, problem=problem)


def _first(partition: EventPartition, book: BookReading, *, known_before: int, trust_book: bool) -> OrderSnapshot:
    is_cut = not book.ids or ATTENDANCE_BOOK.is_exceeded(known_before - len(book.ids), known_before)
    if known_before and is_cut and not trust_book:
        raise UntrustedBook(
            f"the vault has lost the orders of {partition.key}, and its attendance book now lists {len(book.ids)} of "
            f"{known_before} attendees; nothing was changed. Restore the vault, or run `poll --allow book`"
        )
    return OrderSnapshot(partition, rebuilding=known_before > 0)


def _understand(attendee_id: int, answer: dict[str, Any] | ServiceError) -> Fetched:
    if isinstance(answer, NotFound):
        return Fetched(attendee_id, vanished=True)
    if isinstance(answer, ServiceError):
        return Fetched(attendee_id, failure=answer.reason)
    try:
        return Fetched(attendee_id, *parse_attendee(answer))
    except MalformedAttendee as error:
        return Fetched(attendee_id, failure=str(error))


class _Failures:
    """Tells one bad attendee from a service that is down: only the latter fails the poll."""

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self._failed: list[Unavailable] = []

    def count(self, answer: dict[str, Any] | ServiceError) -> None:
        if isinstance(answer, Unavailable):
            self._failed.append(answer)

    def raise_if_all_failed(self) -> None:
        some = 3
        if self._planned >= some and len(self._failed) == self._planned:
            raise self._failed[0]
