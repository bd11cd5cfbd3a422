"""Ask each endpoint that the program reads, a few times, and change nothing. The exchanges are left in the recorder.

Reads are bounded: a few events, books and attendees, and the first page or two of everything in Klaviyo. They go
through the program's own clients, so that rate limits, time-outs and repetitions are those of a poll. The one POST asks
for a report and has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient, read_id
from pycontw_assets.pipeline.contract import endpoints as known
from pycontw_assets.pipeline.contract.exchanges import Recorder
from pycontw_assets.records import Event

MOST_SECONDS = 270  # of the whole walk; the writing of the report comes after it
MOST_EVENTS = 3
MOST_BOOKS = 4  # of one event
MOST_ATTENDEES = 20  # of one event
MOST_SPACES = 4
_NEWEST_SHARE = 0.6  # of the attendees: unpaid orders are among the newest


def walk_kktix(kktix: KktixClient, recorder: Recorder, choose: Callable[[Sequence[Event]], Iterable[int]]) -> None:
    """Read the listing, and books and attendees of some events. ``choose``: the events of the conference, as ids."""

    def get(endpoint: known.Endpoint, path: str, *, query: str = "", event: int = 0, asked: object = "") -> Any:
        group = "attendees" if "/attendees/" in path else None
        return recorder.ask(
            endpoint.name,
            lambda: kktix.api.request("GET", endpoint.name.lower(), path, query=query, repeatable=True, group=group),
            event=event,
            asked=asked,
        )

    listing = get(known.EVENTS, "", query="only_not_ended_event=true")
    for position, event_id in enumerate(list(choose(_events(listing)))[:MOST_EVENTS], start=1):
        books = get(known.BOOKS, f"/{event_id}/attendance_books", event=position, asked=event_id)
        listed: set[int] = set()
        for book_id in _ids(books, "id")[:MOST_BOOKS]:
            path = f"/{event_id}/attendance_books/{book_id}"
            listed |= set(book_ids(get(known.BOOK, path, event=position, asked=book_id)))
        for attendee_id in chosen_attendees(listed):
            get(known.ATTENDEE, f"/{event_id}/attendees/{attendee_id}", event=position, asked=attendee_id)
        get(known.NO_ATTENDEE, f"/{event_id}/attendees/0", event=position, asked=0)


def _events(listing: Any) -> list[Event]:
    rows = listing.get("data") if isinstance(listing, dict) else None
    return [
        Event(identity, row["name"])
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict) and (identity := read_id(row.get("id"))) and isinstance(row.get("name"), str)
    ]


def _ids(rows: Any, name: str) -> list[int]:
    found = [read_id(row.get(name)) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [identity for identity in found if identity is not None]


def book_ids(book: Any) -> list[int]:
    """Return the attendee ids of a book's answer, repetitions included."""
    rows = book.get("signin_status") if isinstance(book, dict) else None
    found = [read_id(row[0]) for row in rows if isinstance(row, list) and row] if isinstance(rows, list) else []
    return [identity for identity in found if identity is not None]


def chosen_attendees(ids: Iterable[int]) -> list[int]:
    """Return at most ``MOST_ATTENDEES``: the newest, among which unpaid orders are, and some spread over the rest."""
    newest_first = sorted(ids, reverse=True)
    newest = newest_first[: round(MOST_ATTENDEES * _NEWEST_SHARE)]
    rest = newest_first[len(newest) :]
    step = max(1, -(-len(rest) // (MOST_ATTENDEES - round(MOST_ATTENDEES * _NEWEST_SHARE))))
    return [*newest, *rest[::step]]


def walk_gather(gather: GatherClient, recorder: Recorder) -> None:
    """Read the guest list of each space once. It has one page."""
    for client in list(gather.each().values())[:MOST_SPACES]:
        recorder.ask(known.GUESTS.name, client.read)
