"""The box office: events, attendance books and tickets, and the hosting API that shows them.

Tests, the demo and the page sell, pay and cancel here; the API only reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qs

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import SimulationContext, locked
from pycontw_assets.sandbox.kktix import forms
from pycontw_assets.sandbox.kktix.people import AddressKind, People, Person
from pycontw_assets.sandbox.kktix.webhook import Webhook
from pycontw_assets.sandbox.wire import Call, Reply, Router, json_reply

PREFIX = "/api/v2/hosting_events"
MISSING: Any = object()  # as an override, it leaves the member out of the payload
_FAMILIES = ("corporate", "individual", "reserved")
_TICKET_NAMES = {"corporate": "Corporate 企業票", "individual": "Regular 一般票", "reserved": "Reserved 保留票"}


@dataclass(kw_only=True)
class HostedEvent:
    """One event. ``edition`` and ``family`` stay true after the organiser renames the event."""

    event_id: int
    name: str
    books: dict[int, str]
    edition: str | None
    family: str | None
    locale: forms.Locale = "zh"
    ended_at: datetime | None = None
    sold: int = 0


@dataclass(kw_only=True)
class Ticket:
    """One attendee. ``books`` are the attendance books that list the ticket; a cancelled ticket is in none."""

    attendee_id: int
    event_id: int
    order_no: int
    reg_no: int
    person: Person
    answers: list[list[Any]]
    books: set[int]
    is_paid: bool
    price: float
    updated_at: datetime
    state: str = "activated"
    checkin_code: str = ""
    qrcode: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return forms.contact_address(self.answers)

    @property
    def is_usable(self) -> bool:
        return bool(self.books) and self.is_paid and self.state == "activated"


@dataclass(frozen=True, kw_only=True)
class TicketFact:
    """The state of a ticket from a moment on. The oracle replays these facts."""

    at: datetime
    attendee_id: int
    event_id: int
    address: str
    is_usable: bool


@dataclass
class KktixSwitches:
    """Unknown behaviour of the real service, and faults in its answers."""

    payment_moves_updated_at: bool = True
    vanished_attendee: Literal["404", "410", "payload"] = "404"
    hidden_events: set[int] = field(default_factory=set)
    shown_per_book: dict[int, int] = field(default_factory=dict)  # event id -> most ids shown; 0: an empty book
    left_out: set[int] = field(default_factory=set)  # attendees that no book shows, although their tickets are valid
    names_next_page: bool = False  # listing and books link to a next page
    repeats_rows: bool = False  # listing, books and lists of books hold every row twice
    ids_as_text: bool = False


class BoxOffice:
    """State and API of the simulated KKTIX."""

    def __init__(self, context: SimulationContext) -> None:
        self.context = context
        self.webhook = Webhook(context)
        self.reset()

    def reset(self) -> None:
        self.webhook.reset()
        self.switches = KktixSwitches()
        self.events: dict[int, HostedEvent] = {}
        self.tickets: dict[int, Ticket] = {}
        self.history: list[TicketFact] = []
        self.people = People(self.context.random)
        self._next_event, self._next_book = 90001, 41001
        self._next_attendee, self._next_order = 700101, 800200301

    # -- actions of the organiser and the buyers ------------------------------------------------------

    @locked
    def add_event(
        self,
        name: str,
        event_id: int | None = None,
        books: int = 1,
        *,
        edition: str | None = None,
        family: str | None = None,
        locale: forms.Locale = "zh",
    ) -> int:
        """Add an event and return its id. Without ``edition`` and ``family``, read both from the name."""
        event_id = event_id if event_id is not None else self._next_event
        if event_id in self.events:
            raise ValueError(f"event {event_id} exists already")
        self._next_event = max(self._next_event, event_id) + 1
        edition_in_name, family_in_name = _read_name(name)
        numbers = range(self._next_book, self._next_book + books)
        self._next_book += books
        self.events[event_id] = HostedEvent(
            event_id=event_id,
            name=name,
            books={number: f"Day {day}" for day, number in enumerate(numbers, start=1)},
            edition=edition or edition_in_name,
            family=family or family_in_name,
            locale=locale,
        )
        return event_id

    @locked
    def rename_event(self, event_id: int, name: str) -> None:
        self.events[event_id].name = name

    @locked
    def end_event(self, event_id: int) -> None:
        """End the event now: ``only_not_ended_event`` hides it from this moment on."""
        self.events[event_id].ended_at = self.context.now()

    @locked
    def sell(
        self,
        event_id: int,
        n: int = 1,
        *,
        person: Person | None = None,
        address: str | None = None,
        kind: AddressKind = "plain",
        paid: bool = True,
        price: float = 2500,
        books: Iterable[int] | None = None,
    ) -> list[int]:
        """Sell one order of ``n`` seats to one buyer. ``books`` are positions, 0 is the first; default: all books."""
        event = self.events[event_id]
        buyer = person or self.people.next(kind)
        if address is not None:
            buyer = replace(buyer, address=address)
        numbers = list(event.books)
        listed = set(numbers) if books is None else {numbers[position] for position in books}
        order_no, self._next_order = self._next_order, self._next_order + 1
        return [
            self._issue(event, buyer, order_no=order_no, paid=paid, price=price, books=set(listed)) for _ in range(n)
        ]

    def _issue(
        self, event: HostedEvent, buyer: Person, *, order_no: int, paid: bool, price: float, books: set[int]
    ) -> int:
        chance = self.context.random
        event.sold += chance.choice((1, 1, 1, 2))  # registration numbers have gaps
        ticket = Ticket(
            attendee_id=self._next_attendee,
            event_id=event.event_id,
            order_no=order_no,
            reg_no=event.sold,
            person=buyer,
            answers=forms.fill_in(event.family, buyer, chance, locale=event.locale),
            books=books,
            is_paid=paid,
            price=price,
            updated_at=self.context.now(),
            checkin_code=f"{chance.getrandbits(16):04X}",
            qrcode=f"{chance.getrandbits(128):032x}",
        )
        self._next_attendee += chance.randint(1, 3)
        self.tickets[ticket.attendee_id] = ticket
        self._record(ticket)
        return ticket.attendee_id

    @locked
    def pay(self, attendee_id: int) -> None:
        """Record the outstanding payment."""
        ticket = self.tickets[attendee_id]
        ticket.is_paid = True
        self._record(ticket, moved=self.switches.payment_moves_updated_at)

    @locked
    def cancel(self, attendee_id: int) -> None:
        """Take the ticket out of its books for good; it still counts as paid, as cancelled free orders do."""
        ticket = self.tickets[attendee_id]
        ticket.state = "cancelled"
        ticket.books = set()
        self._record(ticket)

    @locked
    def refund(self, attendee_id: int) -> None:
        self.tickets[attendee_id].is_paid = False
        self.cancel(attendee_id)

    @locked
    def reinstate(self, attendee_id: int) -> None:
        """Undo a cancellation: the ticket is paid, valid and back in every book."""
        ticket = self.tickets[attendee_id]
        ticket.state = "activated"
        ticket.is_paid = True
        ticket.books = set(self.events[ticket.event_id].books)
        self._record(ticket)

    @locked
    def transfer(self, attendee_id: int, address: str) -> None:
        """Correct the contact address, or pass the seat to another person."""
        ticket = self.tickets[attendee_id]
        forms.change_address(ticket.answers, address)
        self._record(ticket)

    @locked
    def set_state(self, attendee_id: int, state: str) -> None:
        """Set any state, documented or not; the ticket stays in its books."""
        self.tickets[attendee_id].state = state
        self._record(self.tickets[attendee_id])

    @locked
    def override(self, attendee_id: int, /, **members: Any) -> None:
        """Falsify the payload of one attendee (``MISSING`` leaves a member out); without arguments, repair it.

        The ticket itself does not change: a false payload is a fault of the service, not of the buyer.
        """
        self.tickets[attendee_id].overrides = members

    def _record(self, ticket: Ticket, *, moved: bool = True) -> None:
        now = self.context.now()
        if moved:
            ticket.updated_at = now
        fact = TicketFact(
            at=now,
            attendee_id=ticket.attendee_id,
            event_id=ticket.event_id,
            address=ticket.address,
            is_usable=ticket.is_usable,
        )
        self.history.append(fact)
        self.webhook.note(ticket, ticket.event_id, self.events[ticket.event_id].name)

    # -- the hosting API ------------------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        if call.headers.get("authorization", "").lower() != f"bearer {keys.KKTIX_TOKEN}":
            return json_reply({"error": "unauthorized"}, 401)
        route = _ROUTES.find(call)
        if isinstance(route, int):
            return json_reply({"error": "no such address or method"}, route)
        _, handler, parameters = route
        if not all(parameter.isdigit() for parameter in parameters):
            return _not_found()
        reply: Reply = getattr(self, handler)(call, *map(int, parameters))
        return reply

    def _list_events(self, call: Call) -> Reply:
        only_current = parse_qs(call.query).get("only_not_ended_event") == ["true"]
        now = self.context.now()
        shown = [
            {"id": event.event_id, "name": event.name}
            for event in self.events.values()
            if event.event_id not in self.switches.hidden_events
            and not (only_current and event.ended_at is not None and event.ended_at <= now)
        ]
        return self._reply({"data": self._rows(shown), **self._links()})

    def _list_books(self, call: Call, event_id: int) -> Reply:
        if (event := self.events.get(event_id)) is None:
            return _not_found()
        return self._reply(self._rows([{"id": number, "name": name} for number, name in event.books.items()]))

    def _read_book(self, call: Call, event_id: int, book_id: int) -> Reply:
        event = self.events.get(event_id)
        if event is None or book_id not in event.books:
            return _not_found()
        listed = [ticket.attendee_id for ticket in self.tickets.values() if book_id in ticket.books]
        ids = [attendee_id for attendee_id in listed if attendee_id not in self.switches.left_out]
        ids = ids[: self.switches.shown_per_book.get(event_id, len(ids))]
        shown = [[str(number) if self.switches.ids_as_text else number, None] for number in ids]
        return self._reply({"signin_status": self._rows(shown), **self._links()})

    def _read_attendee(self, call: Call, event_id: int, attendee_id: int) -> Reply:
        ticket = self.tickets.get(attendee_id)
        if ticket is None or ticket.event_id != event_id:
            return _not_found()
        if not ticket.books and self.switches.vanished_attendee != "payload":
            return _not_found(int(self.switches.vanished_attendee))
        payload = _payload(ticket, self.events[event_id]) | ticket.overrides
        return self._reply({name: value for name, value in payload.items() if value is not MISSING})

    def _rows(self, rows: list[Any]) -> list[Any]:
        return [*rows, *rows] if self.switches.repeats_rows else rows

    def _links(self) -> dict[str, Any]:
        return {"links": {"next": f"{PREFIX}?page=2"}} if self.switches.names_next_page else {}

    def _reply(self, payload: Any) -> Reply:
        return json_reply(_with_text_ids(payload) if self.switches.ids_as_text else payload)


_ROUTES = Router(
    {
        ("GET", PREFIX): "_list_events",
        ("GET", PREFIX + "/{event}/attendance_books"): "_list_books",
        ("GET", PREFIX + "/{event}/attendance_books/{book}"): "_read_book",
        ("GET", PREFIX + "/{event}/attendees/{attendee}"): "_read_attendee",
    }
)


def _with_text_ids(payload: Any) -> Any:
    """Return the payload with every member called ``id`` as a string, at any depth."""
    if isinstance(payload, list):
        return [_with_text_ids(item) for item in payload]
    if not isinstance(payload, dict):
        return payload
    return {
        name: str(value) if name == "id" and isinstance(value, int) else _with_text_ids(value)
        for name, value in payload.items()
    }


def _not_found(status: int = 404) -> Reply:
    return json_reply({"error": "not found"}, status)


def _read_name(name: str) -> tuple[str | None, str | None]:
    """Return edition and family if the name holds exactly one of each and the word registration."""
    lowered = name.lower()
    editions = set(re.findall(r"(?<!\d)(?:20|21)\d\d(?!\d)", name))
    families = [family for family in _FAMILIES if family in lowered]
    if len(editions) != 1 or len(families) != 1 or "registration" not in lowered:
        return None, None
    return editions.pop(), families[0]


def _payload(ticket: Ticket, event: HostedEvent) -> dict[str, Any]:
    answered = [str(value) for label, value in ticket.answers if value not in ("", None)]
    return {
        "id": ticket.attendee_id,
        "ticket_id": 55000 + event.event_id % 1000,
        "ticket_name": _TICKET_NAMES.get(event.family or "", "Ticket 票"),
        "reg_no": ticket.reg_no,
        "state": ticket.state,
        "checkin_code": ticket.checkin_code,
        "qrcode": ticket.qrcode,
        "is_paid": ticket.is_paid,
        "price": ticket.price,
        "currency": "TWD",
        "payment_method": "WEBSITE",
        "data": ticket.answers,
        "kyc": {},
        "id_number": None,
        "search_string": "\n".join(answered),
        "updated_at": ticket.updated_at.timestamp(),
        "ticket_type": "qrcode",
        "slot": {},
        "order_no": ticket.order_no,
    }
