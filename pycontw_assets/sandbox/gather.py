"""The venue: its spaces, each with a guest list, and the two endpoints that read and write a list."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeGuard
from urllib.parse import unquote

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import SimulationContext, locked
from pycontw_assets.sandbox.wire import Call, Reply, Router, json_reply, text_reply

Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GuestFact:
    """An address that joined or left a list. ``by_hand``: on the venue's own pages, not through the API."""

    at: datetime
    address: str
    listed: bool
    by_hand: bool
    space: str = keys.GATHER_SPACE_ID


@dataclass
class GatherSwitches:
    """Unknown behaviour of the real service, and its faults."""

    reply: Literal["list", "empty", "array", "text"] = "list"
    no_guests: Literal["array", "object", "null"] = "array"
    merge_entries: bool = False  # False: a repeated guest's entry is replaced as a whole
    fold_case: bool = False  # the service lower-cases and trims the addresses that it stores
    effect_delay: float = 0.0  # seconds until a write shows
    writes_count: bool = True  # False: a write is answered as usual and changes nothing
    kept_by_overwrite: int | None = None  # an overwrite stores only this many of its guests
    rejected_addresses: set[str] = field(default_factory=set)  # one of them in a call refuses the whole call
    shown_guests: int | None = None  # reads are cut after this many guests
    most_guests: int | None = None  # a call with more guests gets a 413


class Venue:
    """State and API of the simulated Gather Town. There is one space, and others can be opened beside it."""

    def __init__(self, context: SimulationContext) -> None:
        self.context = context
        self.reset()

    def reset(self) -> None:
        self.switches = GatherSwitches()
        self.history: list[GuestFact] = []
        self.hand_made: dict[str, Entry] = {}
        self._lists: dict[str, dict[str, Entry]] = {keys.GATHER_SPACE_ID: {}}
        self._due_writes: list[tuple[datetime, Callable[[datetime], None]]] = []
        self._after_next_read: list[tuple[str, Entry]] = []

    # -- changes by hand ------------------------------------------------------------------------------

    @locked
    def open_space(self, space: str) -> None:
        """Open another space, with an empty list."""
        self._lists.setdefault(space, {})

    @property
    @locked
    def guests(self) -> dict[str, Entry]:
        """Return a copy of the lists that are in force now, of all spaces together."""
        return {address: entry for space in reversed(self._lists) for address, entry in self.guests_of(space).items()}

    @locked
    def guests_of(self, space: str) -> dict[str, Entry]:
        """Return a copy of the list of one space that is in force now."""
        self._settle()
        return copy.deepcopy(self._lists[space])

    @locked
    def add_guest(self, address: str, entry: Entry | None = None, *, space: str = keys.GATHER_SPACE_ID) -> None:
        """Add a guest by hand, on the venue's own pages."""
        self._settle()
        entry = {"name": "", "role": "guest", "affiliation": "Speaker"} if entry is None else entry
        self.hand_made[address] = copy.deepcopy(entry)
        self._put(space, address, copy.deepcopy(entry), self.context.now(), by_hand=True)

    @locked
    def remove_guest(self, address: str) -> None:
        """Remove a guest by hand from every space, on the venue's own pages."""
        self._settle()
        self.hand_made.pop(address, None)
        for space in self._lists:
            self._drop(space, address, self.context.now(), by_hand=True)

    @locked
    def add_guest_after_next_read(self, address: str, entry: Entry | None = None) -> None:
        """Add a guest by hand right after the next read of the list: an overwrite built on that read loses it."""
        self._after_next_read.append((address, {"affiliation": "Late speaker"} if entry is None else entry))

    # -- the lists themselves -------------------------------------------------------------------------

    def _settle(self) -> None:
        """Apply the writes that are due."""
        now = self.context.now()
        while self._due_writes and self._due_writes[0][0] <= now:
            at, apply = self._due_writes.pop(0)
            apply(at)

    def _put(self, space: str, address: str, entry: Entry, at: datetime, *, by_hand: bool = False) -> None:
        if address not in self._lists[space]:
            self.history.append(GuestFact(at=at, address=address, listed=True, by_hand=by_hand, space=space))
        self._lists[space][address] = entry

    def _drop(self, space: str, address: str, at: datetime, *, by_hand: bool = False) -> None:
        if self._lists[space].pop(address, None) is not None:
            self.history.append(GuestFact(at=at, address=address, listed=False, by_hand=by_hand, space=space))

    def _stored_form(self, guests: Mapping[str, Entry]) -> dict[str, Entry]:
        if not self.switches.fold_case:
            return dict(guests)
        return {address.strip().lower(): entry for address, entry in guests.items()}

    def _add(self, space: str, guests: Mapping[str, Entry], at: datetime) -> None:
        for address, entry in guests.items():
            stored = self._lists[space].get(address, {}) if self.switches.merge_entries else {}
            self._put(space, address, {**stored, **entry}, at)

    def _replace(self, space: str, guests: Mapping[str, Entry], at: datetime) -> None:
        for address, entry in guests.items():
            self._put(space, address, dict(entry), at)
        # Drop after adding, so that an address with a new spelling counts as listed all the time.
        for address in [address for address in self._lists[space] if address not in guests]:
            self._drop(space, address, at)

    # -- the API --------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Reply:
        self._settle()
        route = _ROUTES.find(call)
        if isinstance(route, int):
            return text_reply("Not found", route)
        _, handler, _ = route
        reply: Reply = getattr(self, handler)(call)
        return reply

    def _read(self, call: Call) -> Reply:
        pairs = (part.partition("=") for part in call.query.split("&"))
        parameters = {unquote(name): unquote(value) for name, _, value in pairs}  # "+" is not a blank here
        if (refusal := self._refuse_caller(parameters)) is not None:
            return refusal
        shown = dict(list(self._lists[parameters["spaceId"]].items())[: self.switches.shown_guests])
        body: Any = shown or {"array": [], "object": {}, "null": None}[self.switches.no_guests]
        reply = json_reply(body)
        additions, self._after_next_read = self._after_next_read, []
        for address, entry in additions:
            self.add_guest(address, entry)
        return reply

    def _write(self, call: Call) -> Reply:
        body = _json_object(call)
        if body is None:
            return text_reply("Invalid request body", 400)
        if (refusal := self._refuse_caller(body)) is not None:
            return refusal
        space = body["spaceId"]
        guests, overwrite = body.get("guestlist"), body.get("overwrite", False)
        if isinstance(guests, str) or isinstance(overwrite, str):
            return self._write_reply(space)  # users report: the call is accepted and lets nobody in
        if not _is_guest_list(guests) or not isinstance(overwrite, bool):
            return text_reply("Invalid guestlist", 400)
        if self.switches.most_guests is not None and len(guests) > self.switches.most_guests:
            return text_reply("Payload too large", 413)
        if self.switches.rejected_addresses & guests.keys():
            return text_reply("Invalid guestlist", 400)
        self._enqueue(space, self._stored_form(guests), overwrite)
        return self._write_reply(space)

    def _enqueue(self, space: str, guests: dict[str, Entry], overwrite: bool) -> None:
        if not self.switches.writes_count:
            return
        if overwrite:
            guests = dict(list(guests.items())[: self.switches.kept_by_overwrite])
        due = self.context.now() + timedelta(seconds=self.switches.effect_delay)
        change = self._replace if overwrite else self._add
        self._due_writes.append((due, lambda at: change(space, guests, at)))
        self._settle()

    def _write_reply(self, space: str) -> Reply:
        if self.switches.reply == "empty":
            return Reply(200)
        if self.switches.reply == "text":
            return text_reply("OK")
        return json_reply([] if self.switches.reply == "array" else self._lists[space])

    def _refuse_caller(self, parameters: Mapping[str, Any]) -> Reply | None:
        """Check key and space, and return the refusal; ``None`` when both are right."""
        if not parameters.get("apiKey"):
            return text_reply("API key required", 401)
        if parameters["apiKey"] != keys.GATHER_KEY:
            return text_reply("Unable to access your account.", 403)
        space = parameters.get("spaceId")
        if not isinstance(space, str) or space.count("\\") != 1 or "/" in space:
            return text_reply("Invalid spaceId", 400)
        return None if space in self._lists else text_reply("Space not found", 404)


_ROUTES = Router({("GET", "/api/getEmailGuestlist"): "_read", ("POST", "/api/setEmailGuestlist"): "_write"})


def _json_object(call: Call) -> dict[str, Any] | None:
    if call.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    try:
        body = json.loads(call.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _is_guest_list(guests: Any) -> TypeGuard[dict[str, Entry]]:
    """Check the entries only. Any text passes as an address: the real service accepts digests as well."""
    return isinstance(guests, dict) and all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(name, ""), str) for name in ("name", "role", "affiliation"))
        for entry in guests.values()
    )
