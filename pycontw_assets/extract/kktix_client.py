"""Ask KKTIX: one method per question. This interface only reads.

Payloads leave here as they came, checked in shape only. ``orders`` says what the fields of an attendee mean, which
ticket is usable and what a missing id stands for.

The endpoints and shapes are those of KKTIX's organiser API v2. It has no public reference: they were read from answers.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import Any

from pycontw_assets.api.answers import parse_json
from pycontw_assets.api.bounds import plain_text
from pycontw_assets.api.client import (
    ApiClient,
    Blocked,
    Malformed,
    Misconfigured,
    NotFound,
    Reply,
    ServiceError,
    Unavailable,
)
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.records import Event

_PAGE_SIZES = frozenset({100, 500, 1000})  # exactly so many rows look like the first page of several
_SERVICE_IS_DOWN = 25  # failed calls in a row, each after its retries. Fewer could be a few defective attendees
_SERVICE_REFUSES = 3  # answers in a row that say the token or URL is wrong, or that this program is blocked
_LONGEST_ID = 18  # digits that fit a column of 64 bits
READ_AHEAD = 8000  # attendees read while the caller is busy with earlier ones: 70 MB, at rates far above the default
_ROWS = "signin_status"  # of a book
_MOST_BOOKS = 20  # whose ids stay known. An edition has a few, of 4 MB at 50,000 attendees


def rate_limits(per_second: int) -> dict[str, list[tuple[int, float]]]:
    """Return the limits by group of calls, as (calls, seconds). KKTIX publishes none: this one is set by the user.

    It is lowered while KKTIX objects (``api.adaptive_rate``). Only attendees are read by the thousand. The listing and
    the books are a few calls per poll.
    """
    return {"attendees": [(per_second, 1)]}


@dataclass(frozen=True, slots=True)
class EventListing:
    """The events that have not ended. ``warnings`` say why some may be missing."""

    events: tuple[Event, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BookPage:
    """The attendee ids of one attendance book. ``warnings`` say why some may be missing.

    ``is_cut``: the answer itself says that there are more.
    """

    ids: frozenset[int]
    warnings: tuple[str, ...] = ()
    is_cut: bool = False


class KktixClient:
    """``base_url`` is the events endpoint itself. ``options`` go to ``ApiClient``."""

    def __init__(self, base_url: str, token: str, **options: Any) -> None:
        self.api = ApiClient("KKTIX", base_url, headers={"Authorization": f"bearer {token}"}, **options)
        self._books = _Books()

    def __repr__(self) -> str:
        return f"KktixClient({self.api!r})"

    def list_events(self) -> EventListing:
        """Return the events that have not ended. Raise ``Misconfigured`` where there is no such endpoint."""
        try:
            reply = self._get("list events", "", "only_not_ended_event=true")
        except NotFound as error:
            reason = "no such endpoint: KKTIX_API_URL is wrong"
            raise Misconfigured(error.service, error.operation, reason, status=error.status) from None
        rows = reply.data.get("data") if isinstance(reply.data, dict) else None
        if not isinstance(rows, list) or (rows and not any(isinstance(row, dict) for row in rows)):
            raise _malformed("list events", "the answer holds no list of events")
        events = {event.event_id: event for event in map(_event, rows) if event}
        subject = "the list of events"
        warnings = _paging_warnings(reply, len(rows), subject) + _size_warnings(len(rows), subject)
        if unreadable := sum(_event(row) is None for row in rows):
            warnings += (f"{unreadable} of {len(rows)} listed events have no usable id or name and are left alone",)
        return EventListing(tuple(events.values()), warnings)

    def read_book_ids(self, event_id: int) -> tuple[int | None, ...]:
        """Return the ids of the event's attendance books. None at all means "unknown", not "no attendees".

        ``None`` stands for a book whose id cannot be read.
        """
        operation = f"list attendance books of event {event_id}"
        rows = self._get(operation, f"/{event_id}/attendance_books").data
        if not isinstance(rows, list):
            raise _malformed(operation, "the answer is not a list")
        return tuple(read_id(row.get("id")) if isinstance(row, dict) else None for row in rows)

    def read_book(self, event_id: int, book_id: int) -> BookPage:
        """Read one book. An unreadable row makes it a cut one, because a left-out id would look like a refund."""
        operation = f"read attendance book {book_id} of event {event_id}"
        read = functools.partial(self._books.read, (event_id, book_id))
        reply = self._get(operation, f"/{event_id}/attendance_books/{book_id}", read=read)
        rows = reply.data.get(_ROWS) if isinstance(reply.data, dict) else None
        if not isinstance(rows, _Rows):
            raise _malformed(operation, "the answer holds no list of attendees")
        subject = f"book {book_id} of event {event_id}"
        announced = _paging_warnings(reply, rows.number, subject)
        if rows.unreadable:
            announced += (f"{subject} holds {rows.unreadable} rows that cannot be read",)
        return BookPage(rows.ids, announced + _size_warnings(rows.number, subject), is_cut=bool(announced))

    def fetch_attendee(self, event_id: int, attendee_id: int) -> dict[str, Any]:
        """Return the raw payload. ``NotFound``: the attendee has left."""
        operation = f"read attendee {attendee_id} of event {event_id}"
        payload = self._get(operation, f"/{event_id}/attendees/{attendee_id}", group="attendees").data
        if not isinstance(payload, dict):
            raise _malformed(operation, "the answer is not an object")
        if read_id(payload.get("id")) != attendee_id:
            raise _malformed(operation, "the answer is about another attendee")
        return payload

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int], concurrency: int = 8, *, ahead: int = READ_AHEAD
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        """Yield every id once with its payload or its error, in the order of the answers.

        One ``Misconfigured`` or ``Blocked`` (a stray HTML page) concerns that attendee. Several in a row concern the
        service, and the last is raised. When the service is down, the remaining ids come back ``Unavailable`` without
        a call.
        ``concurrency``: most calls at once, bounded by the client's pool, too. ``ahead``: most answers that wait for a
        caller who is busy.
        """
        limit, pool = TimeLimit(), ThreadPoolExecutor(concurrency, thread_name_prefix="kktix")
        reading = _Reading(self, event_id, pool, limit)
        try:
            yield from reading.answers(iter(ids), concurrency + ahead)
        except BaseException as error:
            # An interrupt ends the run now. Calls under way may come to their end, but none is tried again.
            limit.end()
            pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
            raise
        pool.shutdown()

    def not_asked_for(self, event_id: int, attendee_id: int) -> Unavailable:
        """Return the error for an attendee that nobody asks for any more."""
        operation = f"read attendee {attendee_id} of event {event_id}"
        return Unavailable(self.api.service, operation, "not asked for: the calls before it failed")

    def _get(self, operation: str, path: str, query: str = "", **options: Any) -> Reply:
        return self.api.request("GET", operation, path, query=query, repeatable=True, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows of a book. ``number`` counts all of them, also the unreadable ones."""

    ids: frozenset[int]
    number: int
    unreadable: int


class _Books:
    """Reads the answers for books. Of the last one for each book, a digest of its bytes and its ids stay known.

    Nearly all answers are, byte for byte, those of the last tick, and a book of 50,000 takes 30 ms to read.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[bytes, dict[str, Any]]] = {}

    def read(self, book: tuple[int, int], body: bytes) -> tuple[str | None, Any]:
        """Return what is wrong with a body (``None``: nothing), and its content, with ``_Rows`` for the list of rows.

        ``book``: the ids of its event and of itself.
        """
        digest = hashlib.sha256(body).digest()
        if (known := self._known.get(book)) and known[0] == digest:
            return None, known[1]
        problem, content = parse_json(body)
        if isinstance(content, dict) and isinstance(content.get(_ROWS), list):
            shown = {key: content[key] for key in (*_PAGING, *_NEXT_KEYS, *_TOTAL_KEYS) if key in content}
            content = {_ROWS: _read_rows(content[_ROWS]), **shown}
            if len(self._known) >= _MOST_BOOKS:
                self._known.clear()
            self._known[book] = digest, content
        return problem, content


def _read_rows(rows: list[Any]) -> _Rows:
    ids = [read_id(row[0]) if isinstance(row, list) and row else None for row in rows]
    known = frozenset(number for number in ids if number is not None)
    return _Rows(ids=known, number=len(rows), unreadable=ids.count(None))


class _Failures:
    """Count failed calls in a row: many say that the service is down, a few refusals that it wants no more calls."""

    def __init__(self) -> None:
        self._failed = self._refused = 0

    def count(self, result: object) -> None:
        self._failed = self._failed + 1 if isinstance(result, Unavailable) else 0
        if isinstance(result, (Misconfigured, Blocked)):
            self._refused += 1
        else:
            self._refused = 0

    @property
    def is_down(self) -> bool:
        return self._failed >= _SERVICE_IS_DOWN

    @property
    def is_refusing(self) -> bool:
        return self._refused >= _SERVICE_REFUSES


class _Reading:
    """The attendees of one event on their way. Threads read them; the caller takes the answers when it has time.

    A caller may be busy for a while, so the threads themselves notice that the service is down or refuses. They call
    nobody without the caller's locks, or after its time limit.
    """

    def __init__(self, client: KktixClient, event_id: int, pool: ThreadPoolExecutor, limit: TimeLimit) -> None:
        self._client = client
        self._event_id = event_id
        self._pool = pool
        self._limit = limit
        self._lock = threading.Lock()
        self._failures = _Failures()
        self._is_over = False
        self._running: dict[Future[dict[str, Any]], int] = {}
        self._done: SimpleQueue[Future[dict[str, Any]]] = SimpleQueue()

    def answers(self, waiting: Iterator[int], most: int) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        """Yield the answers. ``most``: attendees asked for whose answers were not taken yet."""
        failures = _Failures()
        while True:
            for attendee_id in islice(waiting, most - len(self._running)):
                future = self._pool.submit(copy_context().run, self._fetch, attendee_id)
                self._running[future] = attendee_id
                future.add_done_callback(self._note)
            if not self._running:
                return
            future = self._done.get()
            result = _result_of(future)
            failures.count(result)
            if failures.is_refusing and isinstance(result, ServiceError):
                raise result
            yield self._running.pop(future), result
            if failures.is_down:
                for attendee_id in waiting:
                    yield attendee_id, self._client.not_asked_for(self._event_id, attendee_id)

    def _fetch(self, attendee_id: int) -> dict[str, Any]:
        if self._is_over:
            raise self._client.not_asked_for(self._event_id, attendee_id)
        with self._limit:
            return self._client.fetch_attendee(self._event_id, attendee_id)

    def _note(self, future: Future[dict[str, Any]]) -> None:
        """Pass on the answer, in the order in which the failures are counted."""
        with self._lock:
            if not future.cancelled():
                self._failures.count(future.exception())
                self._is_over = self._is_over or self._failures.is_down or self._failures.is_refusing
            self._done.put(future)


def _result_of(future: Future[dict[str, Any]]) -> dict[str, Any] | ServiceError:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, ServiceError):
        return error
    raise error


def _malformed(operation: str, reason: str) -> Malformed:
    return Malformed("KKTIX", operation, reason)


def read_id(value: Any) -> int | None:
    """Return an id: a positive integer, also if it comes as a string of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_ID:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**_LONGEST_ID else None


def _event(row: Any) -> Event | None:
    if not isinstance(row, dict):
        return None
    number, name = read_id(row.get("id")), row.get("name")
    return Event(number, plain_text(name)) if number is not None and isinstance(name, str) and name.strip() else None


def _paging_warnings(reply: Reply, rows: int, subject: str) -> tuple[str, ...]:
    """Return the signs of paging, which KKTIX has never had. Otherwise everybody on page two would look refunded."""
    levels = [reply.data]
    levels += [reply.data.get(key) for key in _PAGING]
    objects = [level for level in levels if isinstance(level, dict)]
    has_next = reply.has_next_page or any(level.get(key) for level in objects for key in _NEXT_KEYS)
    totals = [number for level in objects for key in _TOTAL_KEYS if (number := read_id(level.get(key)))]
    warnings = []
    if has_next:
        warnings.append(f"{subject} names a next page, which is not read")
    if any(total > rows for total in totals):
        warnings.append(f"{subject} announces {max(totals)} rows and holds {rows}")
    return tuple(warnings)


def _size_warnings(rows: int, subject: str) -> tuple[str, ...]:
    return (f"{subject} holds exactly {rows} rows: perhaps one page of several",) if rows in _PAGE_SIZES else ()


_PAGING = ("meta", "links", "paging", "pagination")
_NEXT_KEYS = ("next", "next_page", "next_url", "next_cursor")
_TOTAL_KEYS = ("total", "total_count", "count")
