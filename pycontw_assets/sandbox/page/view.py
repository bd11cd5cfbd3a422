"""What the page shows of a world: the latest of everything, counts, and the way of each ticket. Looks, never acts.

Works on the histories that the simulated services keep, as the oracle does; what the pipeline says about itself is
handed in as ``Refusal``.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args

from pycontw_assets.sandbox import oracle
from pycontw_assets.sandbox.faults import weather_of
from pycontw_assets.sandbox.kktix.box_office import HostedEvent, Ticket
from pycontw_assets.sandbox.world import World

MOST_SHOWN = 50
Phase = Literal["unpaid", "waiting", "done", "left out", "leaving", "gone"]
PHASES: tuple[Phase, ...] = get_args(Phase)
SERVICES = ("kktix", "gather", "klaviyo")

normalise = lru_cache(maxsize=20_000)(oracle.normalise)


@dataclass(frozen=True)
class Refusal:
    """Something the pipeline of the same data folder could not do or would not do by itself, in its own words."""

    partition_key: str
    text: str
    is_failure: bool
    since: datetime
    times: int


AskPipeline = Callable[[], "Sequence[Refusal] | None"]


@dataclass(frozen=True)
class Step:
    """One stop on the way of a ticket. ``seconds`` from payment; ``since``: waiting from then on."""

    state: Literal["done", "waiting", "off"]
    note: str = ""
    seconds: float | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Way:
    """Where one ticket stands: let in, mailed, or why not. ``usable_since``: paid for and at this address."""

    phase: Phase
    access: Step
    mail: Step
    usable_since: datetime | None = None


@dataclass(frozen=True)
class Wish:
    """Which tickets a visitor wants to see; empty: all."""

    text: str = ""
    phase: str = ""

    def fits(self, ticket: Ticket, way: Way) -> bool:
        if self.phase and way.phase != self.phase:
            return False
        wanted = self.text.strip().casefold()
        words = (ticket.person.nickname, ticket.address, str(ticket.attendee_id))
        return not wanted or any(wanted in word.casefold() for word in words)


def look(world: World, wish: Wish, refusals: Sequence[Refusal] | None) -> dict[str, Any]:
    """All that the page draws, ready for JSON."""
    with world.ground.lock:
        world.klaviyo.settle()
        return _Look(world).everything(wish, refusals)


def ways(world: World) -> dict[int, Way]:
    """Where every ticket stands now."""
    with world.ground.lock:
        world.klaviyo.settle()
        return _Look(world).ways()


class _Look:
    """One look at a world, taken under its lock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._guests = world.gather.guests
        self._outbox = world.outbox
        self._usable_since: dict[int, tuple[datetime, str]] = {}
        self._usable_until: dict[int, datetime] = {}
        self._came: dict[str, datetime] = {}
        self._left: dict[str, datetime] = {}
        self._mailed: dict[str, list[datetime]] = defaultdict(list)
        self._address = {number: normalise(ticket.address) for number, ticket in world.kktix.tickets.items()}
        self._live_edition = max((event.edition or "" for event in world.kktix.events.values()), default="")
        self._read_histories()
        self._obstacles = {n: self._obstacle(ticket) for n, ticket in world.kktix.tickets.items() if ticket.is_usable}
        self._holding = Counter(self._address[number] for number, obstacle in self._obstacles.items() if not obstacle)

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
            moments, others = (self._came, self._left) if guest.listed else (self._left, self._came)
            moments[normalise(guest.address)] = guest.at
            others.pop(normalise(guest.address), None)
        for mail in self._outbox:
            if not mail.by_hand:
                self._mailed[normalise(mail.address)].append(mail.at)

    def _event_of(self, ticket: Ticket) -> HostedEvent:
        return self._world.kktix.events[ticket.event_id]

    def _obstacle(self, ticket: Ticket) -> str:
        """Why a usable ticket opens no door."""
        event = self._event_of(ticket)
        if not (event.edition and event.family):
            return "its event is left alone"
        if event.edition != self._live_edition:
            return "of another edition"
        if event.ended_at is not None and self._usable_since_of(ticket) > event.ended_at:
            return "sold after the event ended"
        return "" if oracle.is_mailable(self._address[ticket.attendee_id]) else "no address that mail can reach"

    def _usable_since_of(self, ticket: Ticket) -> datetime:
        return self._usable_since[ticket.attendee_id][0]

    # -- the way of one ticket ------------------------------------------------------------------------

    def ways(self) -> dict[int, Way]:
        return {number: self.way(ticket) for number, ticket in self._world.kktix.tickets.items()}

    def way(self, ticket: Ticket) -> Way:
        address = self._address[ticket.attendee_id]
        if not ticket.is_usable:
            return self._way_out(ticket, address)
        since = self._usable_since_of(ticket)
        access, mail = self._access(address, since), self._mail(address, since)
        obstacle = self._obstacles[ticket.attendee_id]
        if not obstacle and self._event_of(ticket).ended_at is not None:
            obstacle = "its event has ended"
        if obstacle and "done" not in (access.state, mail.state):
            return Way("left out", Step("off", obstacle), Step("off"), since)
        if mail.state == "off":
            return Way("left out" if access.state == "done" else "waiting", access, mail, since)
        return Way("done" if (access.state, mail.state) == ("done", "done") else "waiting", access, mail, since)

    def _access(self, address: str, since: datetime) -> Step:
        came = self._came.get(address)
        if came is None:
            return Step("waiting", since=since)
        if came < since:
            return Step("done", "was in already")
        return Step("done", seconds=(came - since).total_seconds())

    def _mail(self, address: str, since: datetime) -> Step:
        """What came before this stretch on the guest list was another invitation."""
        not_before = min(since, self._came.get(address, since))
        mails = [at for at in self._mailed.get(address, ()) if at >= not_before]
        if mails and mails[0] < since:
            return Step("done", "had it already")
        if mails:
            return Step("done", seconds=(mails[0] - since).total_seconds())
        profile = self._world.klaviyo.find_profile(address)
        if profile is not None and not profile.can_receive_mail:
            return Step("off", "takes no mail")
        return Step("waiting", since=since)

    def _way_out(self, ticket: Ticket, address: str) -> Way:
        ended = self._usable_until.get(ticket.attendee_id)
        if not ticket.is_paid and ticket.state == "activated":
            return Way("unpaid", Step("off"), Step("off"))
        if ended is None:
            return Way("gone", Step("off"), Step("off"))
        if self._holding[address]:
            return Way("gone", Step("done", "by another ticket"), Step("off"))
        if address in self._came and not self._is_by_hand(address):
            return Way("leaving", Step("waiting", "to be taken off", since=ended), Step("off"))
        left = self._left.get(address)
        taken = (
            Step("off", "taken off", seconds=(left - ended).total_seconds()) if left and left >= ended else Step("off")
        )
        return Way("gone", taken, Step("off"))

    def _is_by_hand(self, address: str) -> bool:
        return any(normalise(one) == address for one in self._world.gather.hand_made)

    # -- everything -----------------------------------------------------------------------------------

    def everything(self, wish: Wish, refusals: Sequence[Refusal] | None) -> dict[str, Any]:
        ways = self.ways()
        fitting = [number for number in reversed(ways) if wish.fits(self._world.kktix.tickets[number], ways[number])]
        drawn: dict[str, Any] = _plain(
            {
                "now": self._world.ground.now(),
                "counts": self._counts(ways.values()),
                "events": [self._event(event) for event in self._world.kktix.events.values()],
                "tickets": [self._ticket(number, ways[number]) for number in fitting[:MOST_SHOWN]],
                "fitting": len(fitting),
                "guests": list(self._latest_guests()),
                "mails": [self._mail_line(number) for number in _latest(len(self._outbox))],
                "campaigns": Counter(self._world.klaviyo.status_of(c) for c in self._world.klaviyo.campaigns.values()),
                "services": self._services(),
                "refusals": None if refusals is None else [asdict(refusal) for refusal in refusals],
            }
        )
        return drawn

    def _counts(self, ways: Iterable[Way]) -> dict[str, Any]:
        ways = list(ways)
        phases = Counter(way.phase for way in ways)
        by_hand = sum(address in self._world.gather.hand_made for address in self._guests)
        people = set(self._holding)
        return {
            "tickets": len(ways),
            "phases": {phase: phases[phase] for phase in PHASES},
            "people": len(people),
            "let_in": len(people & self._came.keys()),
            "mails": len(self._outbox),
            "guests": len(self._guests),
            "guests_by_hand": by_hand,
            "access_seconds": _spread(way.access.seconds for way in ways if way.access.state == "done"),
            "mail_seconds": _spread(way.mail.seconds for way in ways if way.mail.state == "done"),
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

    def _ticket(self, number: int, way: Way) -> dict[str, Any]:
        ticket = self._world.kktix.tickets[number]
        event = self._event_of(ticket)
        return {
            "id": number,
            "who": ticket.person.nickname,
            "address": ticket.address,
            "event": f"{event.edition or ''} {event.family or event.name}".strip(),
            "is_paid": ticket.is_paid,
            "state": ticket.state,
            "sold_at": ticket.updated_at,
            **asdict(way),
        }

    def _latest_guests(self) -> Iterator[dict[str, Any]]:
        for address in list(reversed(self._guests))[:MOST_SHOWN]:
            entry, by_hand = self._guests[address], address in self._world.gather.hand_made
            yield {
                "address": address,
                "by_hand": by_hand,
                "as": entry.get("affiliation") or entry.get("role") or "",
                "since": self._came.get(normalise(address)),
                "is_leaving": not by_hand and not self._holding[normalise(address)],
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
                "weather": weather_of(self._world.faults, name),
                "calls": len(calls[name]),
                "last_call": calls[name][-1].at if calls[name] else None,
            }
            for name in SERVICES
        ]


def _latest(count: int) -> range:
    return range(count - 1, max(count - MOST_SHOWN, 0) - 1, -1)


def _spread(seconds: Iterable[float | None]) -> dict[str, float] | None:
    known = [one for one in seconds if one is not None]
    return {"median": statistics.median(known), "slowest": max(known)} if known else None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
