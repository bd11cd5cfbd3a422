"""Compare two sides that must agree. Pure: every function gives texts, none when all is well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pycontw_assets.completeness import UNREADABLE_ATTENDEES
from pycontw_assets.extract.events import Discovery
from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.polls import RESUME
from pycontw_assets.ledger.progress import Headcount
from pycontw_assets.ledger.reporting.problems import Problem
from pycontw_assets.records import OrderSnapshot

Level = Literal["ok", "warn", "FAIL"]
_LONG_PAUSE = timedelta(days=1)
_GONE_AFTER = timedelta(hours=1)
_LOOKS_GONE = re.compile(r"answered (404|410|3\d\d)\b|a sign-in page")  # words of api/client.py


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    name: str
    what: str
    fix: str = ""


def order_problems(snapshot: OrderSnapshot, problem: str | None) -> list[str]:
    """Find what concerns the event as a whole: a doubtful book, or so many unreadable attendees that KKTIX has changed.

    A few unreadable ones concern themselves only: see ``unread_attendees``.
    """
    unread, known = len(snapshot.quarantine), len(snapshot.quarantine.keys() | snapshot.records.keys())
    is_much = UNREADABLE_ATTENDEES.is_exceeded(unread, known)
    return [text for text in (problem, f"{unread} of {known} attendees cannot be read" if is_much else None) if text]


def unread_attendees(snapshot: OrderSnapshot) -> list[str]:
    """Explain the quarantine: one text per attendee."""
    return [
        f"attendee {attendee_id}: {item.reason} (tried {item.attempts} times)"
        for attendee_id, item in sorted(snapshot.quarantine.items())
    ]


def withheld_answers(snapshot: OrderSnapshot) -> list[str]:
    """Name the attendees of whom some answer could not be read. They are served all the same."""
    return [
        f"attendee {attendee_id}: {record.attendee.withheld} answers or fields cannot be read and are left out"
        for attendee_id, record in sorted(snapshot.records.items())
        if record.attendee.withheld and record.gone_at is None
    ]


def book_gaps(snapshot: OrderSnapshot, book: BookReading) -> list[str]:
    """KKTIX and the vault after a poll. A book that is not to be trusted has its own word; it counts for nothing."""
    if book.problem:
        return []
    unread = book.ids - snapshot.records.keys() - snapshot.quarantine.keys()
    unexplained = {
        attendee_id
        for attendee_id, record in snapshot.records.items()
        if record.gone_at is None and not record.missing_polls
    } - book.ids
    problems = [f"{len(unread)} attendees of the attendance book are not in the vault"] if unread else []
    return problems + ([f"{len(unexplained)} in the vault are not in the book"] if unexplained else [])


def access_gaps(count: Headcount, waiting: int) -> list[str]:
    """Find people let in who are neither invited, unreachable, nor waiting for a reason the step gave (``waiting``)."""
    forgotten = count.unclaimed - waiting
    return [f"{forgotten} people were let in and are neither invited nor waiting"] if forgotten > 0 else []


def access_sum(count: Headcount) -> str:
    mail = count.let_in - count.invited - count.unreachable
    return (
        f"{count.entitled} entitled = {count.let_in} let in + {count.entitled - count.let_in} waiting for access; "
        f"{count.let_in} let in = {count.invited} invited + {count.unreachable} unreachable + {mail} waiting for mail"
    )


def guest_list_gaps(lacking: int) -> list[str]:
    if not lacking:
        return []
    return [
        f"{lacking} guests were not on the list when it was read last; their own events put them back, and those of a "
        "missing space enter again when it is back"
    ]


def gone_venue(problems: Iterable[Problem], now: datetime) -> list[str]:
    """Say that Gather may be gone for good, once it has answered 404, 410, a redirect or a page for over an hour."""
    gone = [p for p in problems if p.cause == "Gather" and p.is_failure and _LOOKS_GONE.search(p.text)]
    if not gone or now - min(problem.since for problem in gone) <= _GONE_AFTER:
        return []
    return [
        "Gather has answered like a service that is gone for over an hour, and nobody is let in or invited meanwhile. "
        "If it is gone for good, set GATHER_API_URL=off and restart: the next poll invites buyers without a guest list"
    ]


def list_gaps(changes_due: int) -> list[str]:
    return [f"{changes_due} changes of the list had no effect; the next poll tries again"] if changes_due else []


def unmatched(discovery: Discovery) -> list[str]:
    """Events that a person is asked about: their names do not say enough, or they belong to a later edition."""
    return [
        f"event {event.event_id} is listed and left alone: {event.reason}; {event.fix}"
        for event in discovery.unmatched
        if event.fix
    ]


def long_pause(since: datetime | None, now: datetime) -> list[str]:
    """Find a pause of the polls that may have been forgotten. A short one is deliberate."""
    if since is None or now - since < _LONG_PAUSE:
        return []
    return [f"polls have been paused since {since:%Y-%m-%d %H:%M} UTC: nobody is let in or mailed until {RESUME}"]


def late_events(waiting_since: Mapping[str, datetime], now: datetime, patience: timedelta) -> list[str]:
    """Events whose news no poll could take in for longer than that. Texts stay the same from tick to tick."""
    late = {key: since for key, since in sorted(waiting_since.items()) if now - since >= patience}
    return [f"{key}: not up to date since {since:%Y-%m-%d %H:%M} UTC" for key, since in late.items()]


def long_runs(running_since: Mapping[str, datetime], now: datetime, patience: timedelta) -> list[str]:
    """Events that have waited for one run for longer than that."""
    late = {key: since for key, since in sorted(running_since.items()) if now - since >= patience}
    return [f"{key}: waits for a run that began at {since:%Y-%m-%d %H:%M} UTC" for key, since in late.items()]
