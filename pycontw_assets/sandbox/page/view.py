"""The page view of a world: the latest entries, counts, and the progress of each ticket. It reads and never acts.

Like the oracle, it reads the histories of the simulated services. The pipeline's own open problems come in as
``Refusal``.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.kktix.box_office import HostedEvent, Ticket
from pycontw_assets.sandbox.world import World

MOST_SHOWN = 50
Phase = Literal["unpaid", "waiting", "done", "left out", "leaving", "gone"]
PHASES: tuple[Phase, ...] = get_args(Phase)
SERVICES = ("kktix", "gather", "klaviyo")

normalise = lru_cache(maxsize=20_000)(oracle.normalise)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An open problem of the pipeline in the same data folder, in the pipeline's own words."""

    partition_key: str
    text: str
    is_failure: bool
    since: datetime
    times: int


AskPipeline = Callable[[], "Sequence[Refusal] | None"]


@dataclass(frozen=True)
class Step:
    """One step of a ticket's progress. ``seconds``: the time since payment; ``since``: the start of a wait."""

    state: Literal["done", "waiting", "off"]
    note: str = ""
    _: KW_ONLY
    seconds: float | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of one ticket: let in, mailed, or why not. ``usable_since``: paid and at its present address."""

    phase: Phase
    access: Step
    mail: Step
    _: KW_ONLY
    usable_since: datetime | None = None


@dataclass(frozen=True)
class TicketFilter:
    """The tickets that a visitor asks for; an empty member means all of them."""

    text: str = ""
    phase: str = ""

    def matches(self, ticket: Ticket, progress: Progress) -> bool:
        if self.phase and progress.phase != self.phase:
            return False
        text = self.text.strip().casefold()
        words = (ticket.person.nickname, ticket.address, str(ticket.attendee_id))
        return not text or any(text in word.casefold() for word in words)


def page_view(world: World, ticket_filter: TicketFilter, refusals: Sequence[Refusal] | None) -> dict[str, Any]:
    """Return everything that the page draws, ready for JSON."""
    with world.context.lock:
        world.klaviyo.settle()
        return _PageView(world).as_json(ticket_filter, refusals)


def ticket_progress(world: World) -> dict[int, Progress]:
    """Return the present progress of every ticket, by attendee id."""
    with world.context.lock:
        world.klaviyo.settle()
        return _PageView(world).progress()


class _PageView:
    """The view of a world at one moment, taken under its lock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._guests = world.gather.guests
        self._outbox = world.outbox
        self._usable_since: dict[int, tuple[datetime, str]] = {}
        self._usable_until: dict[int, datetime] = {}
        self._listed_at: dict[str, datetime] = {}
        self._unlisted_at: dict[str, datetime] = {}
        self._mailed: dict[str, list[datetime]] = defaultdict(list)
        self._address = {number: normalise(ticket.address) for number, ticket in world.kktix.tickets.items()}
        self._live_edition = max((event.edition or "" for event in world.kktix.events.values()), default="")
        self._read_histories()
        self._obstacles = {n: self._obstacle(ticket) for n, ticket in world.kktix.tickets.items() if ticket.is_usable}
        self._entitled = Counter(self._address[number] for number, obstacle in self._obstacles.items() if not obstacle)

    def _read_histories(self) -> None:
        for sale in self._world.kktix.history:
            address = normalise(sale.address)
            before = self._usable_since.get(sale.attendee_id)
            if not sale.is_usable:
                if self._usable_since.pop(sale.attendee_id, None):
                    self._usable_until[sale.attendee_id] = sale.at
            elif before is None or before[1] != address:
                self._usable_since[sale.attendee_id] = (sale.at, address)
        for guest in self._world.gather.history:
            moments = (self._listed_at, self._unlisted_at)
            latest, outdated = moments if guest.listed else reversed(moments)
            latest[normalise(guest.address)] = guest.at
            outdated.pop(normalise(guest.address), None)
        for mail in self._outbox:
            if not (mail.by_hand or oracle.is_letter(mail)):
                self._mailed[normalise(mail.address)].append(mail.at)

    def _event_of(self, ticket: Ticket) -> HostedEvent:
        return self._world.kktix.events[ticket.event_id]

    def _obstacle(self, ticket: Ticket) -> str:
        """Return why a usable ticket gives no access; empty when it gives access."""
        event = self._event_of(ticket)
        if not (event.edition and event.family):
            return "event left alone"
        if event.edition != self._live_edition:
            return "of another edition"
        if event.ended_at is not None and self._usable_since_of(ticket) > event.ended_at:
            return "sold after the event ended"
        return "" if oracle.is_mailable(self._address[ticket.attendee_id]) else "no usable address"

    def _usable_since_of(self, ticket: Ticket) -> datetime:
        return self._usable_since[ticket.attendee_id][0]

    # -- the progress of one ticket -------------------------------------------------------------------

    def progress(self) -> dict[int, Progress]:
        return {number: self._progress_of(ticket) for number, ticket in self._world.kktix.tickets.items()}

    def _progress_of(self, ticket: Ticket) -> Progress:
        address = self._address[ticket.attendee_id]
        if not ticket.is_usable:
            return self._progress_of_unusable(ticket, address)
        since = self._usable_since_of(ticket)
        access, mail = self._access(address, since), self._mail(address, since)
        obstacle = self._obstacles[ticket.attendee_id]
        if not obstacle and self._event_of(ticket).ended_at is not None:
            obstacle = "event has ended"
        if obstacle and "done" not in (access.state, mail.state):
            return Progress("left out", Step("off", obstacle), Step("off"), usable_since=since)
        phase: Phase = "waiting"
        if mail.state == "off" and access.state == "done":
            phase = "left out"
        elif (access.state, mail.state) == ("done", "done"):
            phase = "done"
        return Progress(phase, access, mail, usable_since=since)

    def _access(self, address: str, since: datetime) -> Step:
        listed_at = self._listed_at.get(address)
        if listed_at is None:
            return Step("waiting", since=since)
        if listed_at < since:
            return Step("done", "already had access")
        return Step("done", seconds=(listed_at - since).total_seconds())

    def _mail(self, address: str, since: datetime) -> Step:
        """Return the progress of the mail; a mail from before the present access period does not count."""
        not_before = min(since, self._listed_at.get(address, since))
        mails = [at for at in self._mailed.get(address, ()) if at >= not_before]
        if mails and mails[0] < since:
            return Step("done", "already invited")
        if mails:
            return Step("done", seconds=(mails[0] - since).total_seconds())
        profile = self._world.klaviyo.find_profile(address)
        if profile is not None and not profile.can_receive_mail:
            return Step("off", "accepts no mail")
        return Step("waiting", since=since)

    def _progress_of_unusable(self, ticket: Ticket, address: str) -> Progress:
        ended = self._usable_until.get(ticket.attendee_id)
        if not ticket.is_paid and ticket.state == "activated":
            return Progress("unpaid", Step("off"), Step("off"))
        if ended is None:
            return Progress("gone", Step("off"), Step("off"))
        if self._entitled[address]:
            return Progress("gone", Step("done", "by another ticket"), Step("off"))
        if address in self._listed_at and not self._is_by_hand(address):
            return Progress("leaving", Step("waiting", "to be taken off", since=ended), Step("off"))
        unlisted_at = self._unlisted_at.get(address)
        if unlisted_at is None or unlisted_at < ended:
            return Progress("gone", Step("off"), Step("off"))
        return Progress("gone", Step("off", "taken off", seconds=(unlisted_at - ended).total_seconds()), Step("off"))

    def _is_by_hand(self, address: str) -> bool:
        return any(normalise(guest) == address for guest in self._world.gather.hand_made)

    # -- everything -----------------------------------------------------------------------------------

    def as_json(self, ticket_filter: TicketFilter, refusals: Sequence[Refusal] | None) -> dict[str, Any]:
        progress, tickets = self.progress(), self._world.kktix.tickets
        matching = [n for n in reversed(progress) if ticket_filter.matches(tickets[n], progress[n])]
        view: dict[str, Any] = _plain(
            {
                "now": self._world.context.now(),
                "counts": self._counts(list(progress.values())),
                "events": [self._event(event) for event in self._world.kktix.events.values()],
                "tickets": [self._ticket(number, progress[number]) for number in matching[:MOST_SHOWN]],
                "matching": len(matching),
                "guests": list(self._latest_guests()),
                "mails": [self._mail_line(number) for number in _latest(len(self._outbox))],
                "campaigns": Counter(self._world.klaviyo.status_of(c) for c in self._world.klaviyo.campaigns.values()),
                "services": self._services(),
                "refusals": None if refusals is None else [asdict(refusal) for refusal in refusals],
            }
        )
        return view

    def _counts(self, tickets: Sequence[Progress]) -> dict[str, Any]:
        phases = Counter(ticket.phase for ticket in tickets)
        by_hand = sum(address in self._world.gather.hand_made for address in self._guests)
        people = set(self._entitled)
        return {
            "tickets": len(tickets),
            "phases": {phase: phases[phase] for phase in PHASES},
            "people": len(people),
            "let_in": len(people & self._listed_at.keys()),
            "mails": len(self._outbox),
            "guests": len(self._guests),
            "guests_by_hand": by_hand,
            "access_seconds": _spread(ticket.access.seconds for ticket in tickets if ticket.access.state == "done"),
            "mail_seconds": _spread(ticket.mail.seconds for ticket in tickets if ticket.mail.state == "done"),
        }

    def _event(self, event: HostedEvent) -> dict[str, Any]:
        tickets = [ticket for ticket in self._world.kktix.tickets.values() if ticket.event_id == event.event_id]
        return {
            "id": event.event_id,
            "name": event.name,
            "family": event.family,
            "edition": event.edition,
            "has_ended": event.ended_at is not None,
            "tickets": len(tickets),
            "usable": sum(ticket.is_usable for ticket in tickets),
        }

    def _ticket(self, number: int, progress: Progress) -> dict[str, Any]:
        ticket = self._world.kktix.tickets[number]
        event = self._event_of(ticket)
        return {
            "id": number,
            "nickname": ticket.person.nickname,
            "address": ticket.address,
            "event": f"{event.edition or ''} {event.family or event.name}".strip(),
            "is_paid": ticket.is_paid,
            "state": ticket.state,
            "sold_at": ticket.updated_at,
            **asdict(progress),
        }

    def _latest_guests(self) -> Iterator[dict[str, Any]]:
        for address in list(reversed(self._guests))[:MOST_SHOWN]:
            entry, by_hand = self._guests[address], address in self._world.gather.hand_made
            yield {
                "address": address,
                "by_hand": by_hand,
                "as": entry.get("affiliation") or entry.get("role") or "",
                "since": self._listed_at.get(normalise(address)),
                "is_leaving": not by_hand and not self._entitled[normalise(address)],
            }

    def _mail_line(self, number: int) -> dict[str, Any]:
        mail = self._outbox[number]
        return {
            "id": number,
            "at": mail.at,
            "address": mail.address,
            "subject": mail.subject,
            "campaign": mail.campaign_name,
        }

    def _services(self) -> list[dict[str, Any]]:
        calls = {name: self._world.calls.find(name) for name in SERVICES}
        return [
            {
                "name": name,
                "faults": self._world.faults.preset_of(name),
                "calls": len(calls[name]),
                "last_call": calls[name][-1].at if calls[name] else None,
            }
            for name in SERVICES
        ]


def _latest(count: int) -> range:
    return range(count - 1, max(count - MOST_SHOWN, 0) - 1, -1)


def _spread(seconds: Iterable[float | None]) -> dict[str, float] | None:
    measured = [duration for duration in seconds if duration is not None]
    return {"median": statistics.median(measured), "slowest": max(measured)} if measured else None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
