"""A ticket sale as a state machine: everything people, bad weather and bad luck do, in any order; the oracle judges.

The invariants are judged after every step. ``settle`` ends the bad weather, lets the pipeline finish and judges
everything. A person takes part only as the documentation says: by the override that a poll asked for, by rebuilding a
ledger that was restored from a backup, or by removing a guest whom the program leaves to people. Every poll is a real
one, executed by Dagster; only waits are skipped. One poll in a few runs in a child and is killed or stopped by a
signal. Two alarm channels listen all the time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.batches import Batch, cancelled_batches
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.polls import recorded_holders
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.orchestration.poll import PollReport
from pycontw_assets.pipeline.rebuild import rebuild_ledger, release_batch
from pycontw_assets.pseudonyms import normalise_address
from pycontw_assets.records import FAMILIES
from pycontw_assets.sandbox.call_log import CallRecord
from pycontw_assets.sandbox.kktix.box_office import MISSING, HostedEvent, Ticket, TicketFact
from pycontw_assets.sandbox.kktix.people import AddressKind
from pycontw_assets.sandbox.oracle import Finding, entitled, events_of, is_letter, is_mailable, mask, normalise
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.backups import Backup, Store
from pycontw_assets_tests.pipeline.harness import EDITION, STORES, Pipeline, TestClock, describe
from pycontw_assets_tests.pipeline.hearing import Hearing
from pycontw_assets_tests.pipeline.mishaps import (
    BROKE,
    REFUSED,
    Moment,
    killed_at,
    poll_interrupted_at,
    poll_killed_at,
    poll_killed_unheard,
    poll_with,
    separate_root,
)
from pycontw_assets_tests.pipeline.sales import guild, letters, spaces

KILLED = -9
WAY = os.environ.get("PYTEST_SALES_WAY", "campaign")  # of invitations: campaign, event, or "both", which change
VENUES = os.environ.get("PYTEST_SALES_VENUES", "gather")  # as the setting
HAS_DISCORD, HAS_GATHER = "discord" in VENUES, "gather" in VENUES
_MAIL_WITH_DISCORD = '<a href="{{ event.venue_url }}">Enter</a> <a href="{{ event.discord_url }}">Talk</a>'
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MOST_READS_UNDER_WAY = 8  # of attendees, which are read by several threads
NAMES = (
    *(f"PyCon TW {EDITION} Registration: {family}" for family in ("Corporate", "Reserved", "Individual")),
    f"PyCon TW {EDITION} Volunteer Party",
)
NEXT_YEAR = f"PyCon TW {int(EDITION) + 1} Registration: Individual"
MOST_EVENTS = 4
RESTORED: tuple[tuple[Store, ...], ...] = (
    ("vault",),
    ("vault",),
    ("ledger",),
    ("ledger", "vault"),
    ("warehouse",),
    ("ledger", "vault", "warehouse"),
)
LONGER_THAN_ANY_ROTATION = 26 * 3600
MOST_POLLS_UNTIL_QUIET = 30

# Few people, so that the same person returns: in other events, in other spellings, on the list by hand.
PEOPLE = ("anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org", "emil@example.com")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str.upper,
    lambda address: f" {address}\t",
    lambda address: address.replace("a", "ａ"),
)
ENTRIES: tuple[dict[str, Any], ...] = (
    {"name": "", "role": "guest", "affiliation": "Speaker"},
    {"name": "Desk", "affiliation": "Sponsor", "x": [1, {}]},
    {},
)
KINDS: tuple[AddressKind, ...] = ("plain", "plain", "plain", "upper", "plus", "fullwidth", "invalid", "missing")

# Faults of calls to a service. A service that answers in the wrong shape has acted; otherwise no test could know.
FAULTS: dict[str, dict[str, Any]] = {
    "503": {"kind": "status", "status": 503},
    "500 after acting": {"kind": "status", "status": 500, "acts": True},
    "429": {"kind": "status", "status": 429, "retry_after": 7},
    "401": {"kind": "status", "status": 401},
    "reset": {"kind": "reset"},
    "reset after acting": {"kind": "reset", "acts": True},
    "truncated": {"kind": "truncate", "acts": True},
    "page": {"kind": "html"},
    "redirect": {"kind": "redirect"},
    "shape": {"kind": "shape", "acts": True},
}
PLACES: dict[str, tuple[str, ...]] = {
    "kktix": ("", "hosting_events$", "attendance_books$", "attendance_books/", "attendees/"),
    "gather": ("", "getEmailGuestlist", "setEmailGuestlist"),
    "klaviyo": (
        "",
        "profile",
        "lists",
        "relationships/profiles$",
        "templates?$",
        "campaigns",
        "/campaigns$",
        "assign-template$",
        "estimation",
        "send-jobs",
        *(("metrics$", "/events$") if WAY != "campaign" else ()),
    ),
    **(
        {"discord": ("", "/guilds/.*/invites", "/channels/", "/members", "/roles/", "/invites/")} if HAS_DISCORD else {}
    ),
}
SPOILT: tuple[dict[str, Any], ...] = ({"is_paid": "yes"}, {"state": None}, {"data": None}, {"is_paid": MISSING})

Interlude = Literal["poll", "other machine", "sale", "refund", "payment", "letter", "guild"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Deed:
    """A step of a sale: a method of ``Sale`` and its arguments."""

    name: str
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


_GUILD = ("guild", "guild") if HAS_DISCORD else ()
_picks = st.integers(0, 9)
_moments = st.one_of(st.integers(0, 30), st.integers(0, 100), st.integers(0, 250))
_one = st.sampled_from

# Deed -> its weight and its arguments. One rule for all of them keeps the proportions.
_CHOICES: dict[str, tuple[int, dict[str, st.SearchStrategy[Any]]]] = {
    "sell": (
        5,
        {"event": _picks, "n": _one([1, 1, 2, 3]), "person": _picks, "spelling": _picks, "paid": _one([1, 1, 0])},
    ),
    "sell_to_a_stranger": (
        3,
        {"event": _picks, "n": _one([1, 1, 2, 3]), "kind": _picks, "paid": _one([1, 0]), "price": _one([0, 2500])},
    ),
    "pay": (3, {"ticket": _picks}),
    "withdraw": (4, {"ticket": _picks, "how": _one(["cancel", "refund", "cancelled in the book", "unknown state"])}),
    "come_back": (3, {"ticket": _picks, "reinstated": st.booleans()}),
    "transfer": (3, {"ticket": _picks, "person": _picks}),
    "manage_events": (
        3,
        {"deed": _one(["new", "new", "rename", "end", "next year"]), "which": _picks, "books": _one([1, 1, 2])},
    ),
    "edit_guest_list": (3, {"person": _picks, "spelling": _picks, "entry": _picks, "removed": st.booleans()}),
    "fault_on": (
        3,
        {
            "service": _one(tuple(PLACES)),
            "place": _picks,
            "fault": _one(sorted(FAULTS)),
            "times": _one([1, 2, 5, None]),
            "skip": st.integers(0, 3),
        },
    ),
    "nuisance_on": (
        3,
        {
            "what": _one(
                [
                    "hidden",
                    "empty book",
                    "short book",
                    "left out",
                    "spoilt",
                    "cut list",
                    "rejected address",
                    "broken channel",
                    "broken channel",
                    *(guild.NUISANCES if HAS_DISCORD else ()),
                ]
            ),
            "which": _picks,
        },
    ),
    "weather_clears": (2, {}),
    "poll": (5, {"wait": _one([0, 300, 300, 300, 1200])}),
    "hours_pass": (2, {"hours": _one([1, 2, 8, 26])}),
    "killed_poll": (2, {"at": _moments}),
    "killed_unheard": (1, {"service": _one(tuple(PLACES)), "request": st.integers(0, 12)}),
    "interrupted_poll": (2, {"at": _moments, "sign": _picks}),
    "backups": (4, {"what": _picks, "at_once": st.booleans()}),
    "disturbed_poll": (
        2,
        {
            "at": _moments,
            "interlude": _one(
                ["poll", "other machine", "other machine", "sale", "refund", "payment", "letter", *_GUILD]
            ),
            "pick": _picks,
        },
    ),
    "poll_elsewhere": (1, {"what": _one(["second machine", "second machine", "restart", "history deleted"])}),
    "settle": (1, {}),
    "announce": (
        2,
        {
            "subject": _one(letters.SUBJECTS),
            "audience": _picks,
            "after_minutes": _one([0, 0, 0, 15, 90]),
            "dies_at": st.one_of(st.none(), _moments),
        },
    ),
    "withdraw_letter": (1, {"pick": _picks}),
    **({"open_second_space": (1, {"first": st.integers(0, 2), "second": st.integers(0, 3)})} if HAS_GATHER else {}),
    **({"in_the_guild": (8, {"what": _one(guild.DEEDS), "pick": _picks})} if HAS_DISCORD else {}),
    **({"switch_way": (3, {"way": _one(["campaign", "event"])})} if WAY == "both" else {}),
}
DEEDS: st.SearchStrategy[Deed] = st.sampled_from(
    [name for name, (weight, _) in _CHOICES.items() for _ in range(weight)]
).flatmap(lambda name: st.builds(Deed, st.just(name), st.fixed_dictionaries(_CHOICES[name][1])))


class Sale(RuleBasedStateMachine):
    """One world and one ledger, with up to two machines at work."""

    server: SandboxServer
    tally: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.clock = TestClock()
        self.world = self.server.world
        self.world.reset(self.clock)
        self._folder = Path(tempfile.mkdtemp(prefix="sale-"))
        self._steps_since_quiet = 0
        self._bad_weather = False
        self._unknowable: set[str] = set()
        # Guests whose entry once got another affiliation from staff: the pipeline may have ceded them for good.
        self._made_their_own: set[str] = set()
        # Attendees whose answers look right and cannot be understood: since when, and until when.
        self._spoilt: list[tuple[int, datetime]] = []
        self._spoilt_before: list[tuple[int, datetime, datetime]] = []
        # Events whose books lack rows, from when until when.
        self._short_books: list[tuple[int, datetime, datetime | None]] = []
        self._cut = False
        self._hearing = Hearing()
        self._backup: Backup | None = None
        self._newer: tuple[Backup, tuple[Store, ...]] | None = None  # what a restored backup replaced
        self._is_restored = False  # a store is of another time than the others, and nobody has taken the way out
        # An older ledger may not know guests who were let in since. docs/production.md leaves them to people.
        self._was_ledger_older = False
        self._guild = guild.Guild(self.world, self.tally)
        self._spaces = spaces.Spaces(self.world)
        self.second: Pipeline | None = None
        self.pipeline: Pipeline

    # -- the beginning ----------------------------------------------------------------------------

    @initialize(
        settings=st.fixed_dictionaries(
            {
                "refresh_seconds": st.sampled_from([3600, 3600, 0]),
                "revoke_limit": st.sampled_from([None, None, 1]),
                "invite_limit": st.sampled_from([2000, 2000, 1]),
                "edition": st.sampled_from([None, EDITION]),
                "gather_api_url": st.sampled_from([None] * 9 + ["off"]),
            }
        ),
        gather=st.fixed_dictionaries(
            {
                "reply": st.sampled_from(["list", "empty", "array", "text"]),
                "no_guests": st.sampled_from(["array", "object", "null"]),
                "merge_entries": st.booleans(),
                "fold_case": st.booleans(),
            }
        ),
        klaviyo=st.fixed_dictionaries(
            {
                "status_step": st.sampled_from([0.0, 0.05]),
                "member_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "removal_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "list_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "template_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "campaign_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "profile_delay": st.sampled_from([0.0, 0.0, 3.0]),
                "recipients_fixed": st.sampled_from(["acceptance", "sending"]),
                "second_send": st.sampled_from(["refused", "accepted"]),
                "refused_addresses": st.sampled_from([set(), set(), {PEOPLE[-1]}]),
            }
        ),
        kktix=st.fixed_dictionaries(
            {
                "payment_moves_updated_at": st.booleans(),
                "vanished_attendee": st.sampled_from(["404", "410", "payload"]),
            }
        ),
        window=st.sampled_from([None, None, (5, 10.0)]),
        on_disk=st.sampled_from([False] * 19 + [True]),
    )
    def install(
        self,
        settings: dict[str, Any],
        gather: dict[str, Any],
        klaviyo: dict[str, Any],
        kktix: dict[str, Any],
        window: tuple[int, float] | None,
        on_disk: bool,
    ) -> None:
        given = {name: value for name, value in settings.items() if value is not None}
        given["alert_urls"] = self._hearing.urls
        self.world.klaviyo.switches.rate_limits = False
        self.world.klaviyo.switches.estimation_delay = 0
        for service, chosen in (("gather", gather), ("klaviyo", klaviyo), ("kktix", kktix)):
            for name, value in chosen.items():
                setattr(getattr(self.world, service).switches, name, value)
        self.world.add_event(f"PyCon TW {EDITION} Registration: Individual")
        self.world.klaviyo.flows.prepare(INVITATION_METRIC, **({"html": _MAIL_WITH_DISCORD} if HAS_DISCORD else {}))
        self.world.discord.switches.window = window
        given |= {"venues": VENUES, "invitation_venue_url": spaces.LINK}
        if HAS_DISCORD:
            given["discord_roles"] = guild.write_roles(self._folder / "roles.yaml")
        if WAY == "event":
            given["invite_via"] = "event"
        self.pipeline = Pipeline(self.server, self.clock, self._folder / "home", on_disk=on_disk, **given)
        self._given = given
        self.tally["examples"] += 1

    @rule(deed=DEEDS)
    def happens(self, deed: Deed) -> None:
        getattr(self, deed.name)(**deed.arguments)
        self._judge(settled=False)
        self._steps_since_quiet += 1
        self.tally["steps"] += 1

    # -- buyers -----------------------------------------------------------------------------------

    def sell(self, event: int, n: int, person: int, spelling: int, paid: int) -> None:
        """Sell a ticket to one of few people."""
        address = _pick(SPELLINGS, spelling)(_pick(PEOPLE, person))
        self.world.sell(self._event(event), n, address=address, paid=bool(paid))

    def sell_to_a_stranger(self, event: int, n: int, kind: int, paid: int, price: int) -> None:
        self.world.sell(self._event(event), n, kind=_pick(KINDS, kind), paid=bool(paid), price=price)

    def pay(self, ticket: int) -> None:
        if unpaid := self._tickets(usable=False):
            self.world.pay(_pick(unpaid, ticket).attendee_id)

    def withdraw(self, ticket: int, how: str) -> None:
        if not (usable := self._tickets(usable=True)):
            return
        attendee_id = _pick(usable, ticket).attendee_id
        if how == "cancelled in the book":
            self.world.set_state(attendee_id, "cancelled")
        elif how == "unknown state":
            self.world.set_state(attendee_id, "suspended")
        else:
            getattr(self.world, how)(attendee_id)

    def come_back(self, ticket: int, reinstated: bool) -> None:
        """Undo a cancellation, or sell to the same person again, here or in another event."""
        if not (withdrawn := self._withdrawn()):
            return
        found = _pick(withdrawn, ticket)
        if reinstated:
            self.world.reinstate(found.attendee_id)
        else:
            self.world.sell(self._event(ticket), address=found.address)

    def transfer(self, ticket: int, person: int) -> None:
        if usable := self._tickets(usable=True):
            address = PEOPLE[person] if person < len(PEOPLE) else self.world.kktix.people.next().address
            self.world.transfer(_pick(usable, ticket).attendee_id, address)

    # -- organisers -------------------------------------------------------------------------------

    def manage_events(self, deed: str, which: int, books: int) -> None:
        if deed == "new" and len(self.world.kktix.events) < MOST_EVENTS:
            self.world.add_event(_pick(NAMES, which), books=books)
        elif deed == "rename":
            self._rename(self.world.kktix.events[self._event(which)])
        elif deed == "end" and (may_end := self._may_end()):
            self.world.end_event(_pick(may_end, which))
            self._backup = None  # an ended event is not read again, so only its last orders are of use
            self.tally["events ended"] += 1
        elif deed == "next year" and known_events(self.pipeline.ledger):
            # Before the first poll the sandbox takes the newest edition that is listed.
            self._make_next_year()

    def _make_next_year(self) -> None:
        """Make an event of the edition to come, once. Its sales are none of this one's."""
        if not any(event.name == NEXT_YEAR for event in self.world.kktix.events.values()):
            self.world.add_event(NEXT_YEAR)
            self.tally["editions made early"] += 1

    def _rename(self, event: HostedEvent) -> None:
        """Rename an event: freely once the pipeline knows it, before that to a name that says what it is."""
        is_known = event.event_id in known_events(self.pipeline.ledger)
        if event.name == NEXT_YEAR:
            return
        new = "PyCon TW 2032 Registration: Corporate & Reserved" if is_known else f"{event.name} (new hall)"
        self.world.rename_event(event.event_id, new)

    def edit_guest_list(self, person: int, spelling: int, entry: int, removed: bool) -> None:
        """Let staff add a speaker, who may be a buyer too, change an entry, or remove a guest they added."""
        if removed and (removable := self._removable_by_hand()):
            self.world.remove_guest(_pick(removable, person))
            return
        address = _pick((*PEOPLE, "desk@example.org"), person)
        listed = [one for one in self.world.gather.guests if normalise(one) == address]
        chosen = listed[0] if listed else _pick([address, address.upper()], spelling)
        written = _pick(ENTRIES, entry)
        if written.get("affiliation"):
            self._made_their_own.add(address)
        chosen = chosen.lower() if self.world.gather.switches.fold_case else chosen
        self.world.add_guest(chosen, written)
        self.tally["guests by hand"] += 1

    def open_second_space(self, first: int, second: int) -> None:
        """Open another space, because the first one holds fewer people than will come."""
        if len(self._spaces.names) == 1 and not self.pipeline.settings.gather_is_off:
            self._spaces.open_second(first, second)
            self._restart_with(gather_space_id=self._spaces.setting)
            self.tally["second spaces"] += 1

    def _restart_with(self, **settings: Any) -> None:
        """Change settings on all machines."""
        self._given |= settings
        for pipeline in filter(None, (self.pipeline, self.second)):
            pipeline.restart(**settings)

    def announce(self, subject: str, audience: int, after_minutes: int, dies_at: int | None) -> None:
        """Announce a letter, perhaps for the second time, at once or for a later hour. The command may be killed."""
        families = _pick(letters.AUDIENCES, audience)
        if dies_at is not None:
            self._count_kill(
                killed_at(
                    self.pipeline,
                    dies_at,
                    lambda root: letters.announce(root, subject, families, after_minutes),
                    letters.NOT_NOW,
                )
            )
            return
        try:
            state = letters.announce(self.pipeline.root, subject, families, after_minutes)
        except (*REFUSED, *letters.NOT_NOW) as error:
            note(f"announce: {error}")
            self.tally["letters refused"] += 1
        else:
            self.tally[f"letters: {state}"] += 1

    def withdraw_letter(self, pick: int) -> None:
        try:
            self.tally["letters withdrawn"] += letters.withdraw(self.pipeline.root, pick)
        except (*REFUSED, *letters.NOT_NOW) as error:
            note(f"withdraw: {error}")

    def in_the_guild(self, what: str, pick: int) -> None:
        self._guild.happens(what, pick)

    # -- weather ----------------------------------------------------------------------------------

    def fault_on(self, service: str, place: int, fault: str, times: int | None, skip: int) -> None:
        details = FAULTS[fault]
        self.world.faults.add(service, path=_pick(PLACES[service], place), times=times, skip=skip, **details)
        self._bad_weather = True
        self.tally["faults"] += 1

    def nuisance_on(self, what: str, which: int) -> None:
        """Switch on answers that look right and are wrong."""
        event = self._event(which)
        if what == "hidden":
            self.world.kktix.switches.hidden_events = {event}
        elif what == "empty book":
            self.world.kktix.switches.shown_per_book = {event: 0}
            self._short_books.append((event, self.clock(), None))
        elif what == "short book":
            self._shorten_book(event, lacks=1 + which // 3)
        elif what == "left out" and (usable := self._tickets(usable=True)):
            left_out = _pick(usable, which)
            self.world.kktix.switches.left_out = {left_out.attendee_id}
            self._short_books.append((left_out.event_id, self.clock(), None))
            self.tally["short books"] += 1
        elif what == "spoilt" and self.world.kktix.tickets:
            attendee_id = _pick(list(self.world.kktix.tickets), which)
            self.world.kktix.override(attendee_id, **_pick(SPOILT, which))
            self._spoilt.append((attendee_id, self.clock()))
        elif what == "cut list":
            self._cut_list(which)
        elif what == "rejected address":
            self.world.gather.switches.rejected_addresses = {_pick(PEOPLE, which)}
        elif what == "broken channel":
            self._hearing.break_one(which)
            self.tally["broken channels"] += 1
        elif what in guild.NUISANCES:
            self._guild.goes_wrong(what, which)
        self._bad_weather = True
        self.tally["nuisances"] += 1

    def _shorten_book(self, event: int, lacks: int) -> None:
        """Let every book of an event lack its last few rows."""
        listed = sum(ticket.event_id == event and bool(ticket.books) for ticket in self.world.kktix.tickets.values())
        if listed > lacks:
            self.world.kktix.switches.shown_per_book = {event: listed - lacks}
            self._short_books.append((event, self.clock(), None))
            self.tally["short books"] += 1

    def _cut_list(self, pick: int) -> None:
        """Cut so much that it can be noticed: at least two guests of the last good reading."""
        if cuts := list(self._spaces.noticeable_cuts(self.pipeline.ledger)):
            self.world.gather.switches.shown_guests = _pick(cuts, pick)
            self._cut = True

    def weather_clears(self) -> None:
        self.world.faults.clear()
        kktix, gather = self.world.kktix.switches, self.world.gather.switches
        kktix.hidden_events, kktix.shown_per_book, kktix.left_out = set(), {}, set()
        gather.shown_guests, gather.rejected_addresses = None, set()
        for attendee_id in self.world.kktix.tickets:
            self.world.kktix.override(attendee_id)
        self._spoilt_before += [(attendee_id, since, self.clock()) for attendee_id, since in self._spoilt]
        self._spoilt.clear()
        self._short_books = [(event, since, until or self.clock()) for event, since, until in self._short_books]
        self._guild.is_well_again()
        self._hearing.mend()
        self._bad_weather = False

    # -- polls ------------------------------------------------------------------------------------

    def poll(self, wait: int) -> None:
        self.clock.advance(wait)
        self._poll(self.pipeline)

    def hours_pass(self, hours: int) -> None:
        self.clock.advance(hours * 3600)
        self._poll(self.pipeline)
        self._back_up()

    def killed_poll(self, at: int) -> None:
        self.clock.advance(300)
        self._count_kill(poll_killed_at(self.pipeline, at))

    def killed_unheard(self, service: str, request: int) -> None:
        self.clock.advance(300)
        self._count_kill(poll_killed_unheard(self.pipeline, service, request))

    def interrupted_poll(self, at: int, sign: int) -> None:
        """Stop a poll by a signal: nothing begins after it, and what was under way comes to its end."""
        self.clock.advance(300)
        chosen = _pick(SIGNALS, sign)
        ended = poll_interrupted_at(self.pipeline, at, chosen, lambda: self._hearing.messages)
        assert ended.exit_code != BROKE, "a poll in a child broke; see its traceback"
        if ended.calls is None:
            assert ended.exit_code in (0, 1)
            self.tally["signals that came too late"] += 1
            return
        assert ended.exit_code == 128 + chosen, ended.exit_code
        reads = [call for call in ended.calls if call.service == "kktix"]
        assert reads == ended.calls, "a call began after the signal"
        assert len(reads) <= _MOST_READS_UNDER_WAY, "calls went on after the signal"
        assert not ended.messages, "people were sent a message after the signal"
        self.tally["signals"] += 1

    def backups(self, what: int, at_once: bool) -> None:
        """Make a backup, or put stores of the last one back, or the newer ones again.

        A person notices at once, or with the next settling.
        """
        if self._newer is not None:
            self._restore(*self._newer, "put back")
            self._newer = None
        elif self._backup is not None:
            newer, stores = self._copy_stores(), _pick(RESTORED, what)
            if self._restore(self._backup, stores, "restored"):
                self._backup, self._newer = None, (newer, stores)
        else:
            self._back_up()
        if at_once and self._is_restored:
            self.clock.advance(300)
            self._poll(self.pipeline)

    def _back_up(self) -> None:
        """Make a backup unless there is one. A lost ledger, and other stores, have tests of their own."""
        if self._backup is None and not (STORES or self._is_restored) and known_events(self.pipeline.ledger):
            self._backup = self._copy_stores()

    def _copy_stores(self) -> Backup:
        self.tally["backups"] += 1
        return Backup(self.pipeline, self._folder / f"backup-{self.tally['backups']}")

    def _restore(self, backup: Backup, stores: tuple[Store, ...], how: str) -> bool:
        if "ledger" in stores:
            if HAS_DISCORD or not self._is_everybody_mailed_in():
                return False
            self._was_ledger_older = True
        elif "vault" in stores and not backup.has_orders_of(self._known_keys()):
            return False  # a lost vault has tests of its own
        note(f"{how}: {stores}")
        backup.restore(*filter(None, (self.pipeline, self.second)), stores=stores)
        self._hearing.forget()
        self._is_restored = True
        self.tally[f"{how}: {'ledger' if 'ledger' in stores else stores[0]}"] += 1
        return True

    def _known_keys(self) -> list[str]:
        return [partition.key for partition in known_events(self.pipeline.ledger).values()]

    def _is_everybody_mailed_in(self) -> bool:
        """Return whether nobody who was mailed has left since.

        A rebuilt ledger counts everybody as invited whom Klaviyo has mailed: it cannot know who came back. So people
        do not restore an older one where somebody may be about to.
        """
        return {normalise(address) for address in self.pipeline.mailed()} <= entitled(self.world, EDITION)

    def disturbed_poll(self, at: int, interlude: Interlude, pick: int) -> None:
        """Poll while another poll runs or the world changes."""
        self.clock.advance(300)
        meanwhile: list[PollReport] = []
        moment = Moment(at, lambda: self._interlude(interlude, pick, meanwhile))
        with suppress(*REFUSED):
            self._listen(poll_with(self.pipeline, moment))
        for report in meanwhile:
            self._listen(report)
        if moment.happened:
            self.tally[f"overlaps: {interlude}"] += 1

    def poll_elsewhere(self, what: str) -> None:
        """Poll on another machine, or on the same one after it lost part of its memory."""
        self.clock.advance(60)
        if what == "restart":
            self.pipeline.restart()
        elif what == "history deleted":
            self.pipeline.forget_history()
            self.tally["histories deleted"] += 1
        self._poll(self._other() if what == "second machine" else self.pipeline)

    def switch_way(self, way: str) -> None:
        """Change how people are invited, on all machines."""
        self._restart_with(invite_via=way)
        self.tally["ways chosen"] += 1

    # -- quiet periods ----------------------------------------------------------------------------

    def settle(self) -> None:
        if self._steps_since_quiet > 10:
            self._settle()

    def _settle(self) -> None:
        """End all faults, let the pipeline finish, and judge everything."""
        self.weather_clears()
        self._until_quiet()
        self.clock.advance(LONGER_THAN_ANY_ROTATION)
        report = self._until_quiet()
        self._hearing.has_everything(self.pipeline, report)
        self._is_restored, self._newer = False, None
        self._remove_guests_left_to_people()
        self._judge(settled=True)
        self._tables_are_whole()
        self._lists_are_right()
        if self.second is not None:
            mark = self.pipeline.mark()
            self._poll(self.second)
            done = self.pipeline.writes(mark)
            assert not done, f"a machine that missed everything has nothing to do, and did {done}"
        self._steps_since_quiet = 0
        self.tally["quiet periods"] += 1

    def teardown(self) -> None:
        try:
            if hasattr(self, "pipeline"):
                self._settle()
                self._count_world()
        finally:
            for machine in filter(None, (getattr(self, "pipeline", None), self.second)):
                machine.instance.dispose()
            self.world.faults.clear()
            self._hearing.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the world, asked -------------------------------------------------------------------------

    def _open_events(self) -> list[int]:
        return [event.event_id for event in self.world.kktix.events.values() if event.ended_at is None]

    def _event(self, pick: int) -> int:
        """Return an open event; there is always one."""
        return _pick(self._open_events() or [self.world.add_event(NAMES[0])], pick)

    def _in_open_events(self) -> list[Ticket]:
        opened = self._open_events()
        return [ticket for ticket in self.world.kktix.tickets.values() if ticket.event_id in opened]

    def _tickets(self, *, usable: bool) -> list[Ticket]:
        """Return the usable tickets, or those that only lack the payment."""
        wanted = [ticket for ticket in self._in_open_events() if ticket.books and ticket.state == "activated"]
        return [ticket for ticket in wanted if ticket.is_usable == usable]

    def _withdrawn(self) -> list[Ticket]:
        return [ticket for ticket in self._in_open_events() if ticket.state != "activated"]

    def _may_end(self) -> list[int]:
        """Return the events that the pipeline knows completely: it cannot learn more of an ended event."""
        opened = [] if self._is_restored else self._open_events()
        known = known_events(self.pipeline.ledger)
        return [one for one in opened if one in known and self._is_known(known[one].key, one)]

    def _is_known(self, partition_key: str, event_id: int) -> bool:
        """Return whether the pipeline's facts about an event are up to date."""
        digest = self.pipeline.root.pseudonymizer.address
        mine = {i: ticket for i, ticket in self.world.kktix.tickets.items() if ticket.event_id == event_id}
        usable = {ticket.address for ticket in mine.values() if ticket.is_usable}
        wanted = {digest(address) for address in usable if is_mailable(normalise(address))}
        snapshot = self.pipeline.root.vault.read(partition_key)
        present = {i: r.is_usable for i, r in snapshot.records.items() if r.gone_at is None} if snapshot else {}
        listed = {i: ticket.is_usable for i, ticket in mine.items() if ticket.books}
        return present == listed and recorded_holders(self.pipeline.ledger, partition_key) == wanted

    def _removable_by_hand(self) -> list[str]:
        """Return guests without a usable ticket that staff added, or whose entry staff took over."""
        holders, made = entitled(self.world, EDITION), self.world.gather.hand_made
        return [one for one in self.world.gather.guests if one in made and normalise(one) not in holders]

    # -- polls and what they say ------------------------------------------------------------------

    def _other(self) -> Pipeline:
        """Return a second machine: the same ledger, vault and warehouse, another Dagster."""
        if self.second is None:
            self.second = Pipeline(self.server, self.clock, self.pipeline.home, **self._given)
        return self.second

    def _poll(self, machine: Pipeline, overrides: Iterable[str] = ()) -> PollReport | None:
        """Poll; return ``None`` when KKTIX did not even list its events."""
        self.tally["polls of the second machine" if machine is self.second else "polls"] += 1
        try:
            return self._listen(machine.poll(*overrides))
        except ServiceError as error:
            note(f"poll: {error}")
            return None
        except LedgerError as error:
            note(f"poll: {error}")
            if not self._is_restored or "rebuild-ledger" not in str(error):
                raise
            return None
        finally:
            self._hearing.listen(self.clock())

    def _listen(self, report: PollReport) -> PollReport:
        text = describe(report)
        note(f"poll: {text}")
        assert "unexpected" not in text, text
        assert ": failed'" not in text, f"{text}: Dagster itself failed"
        return report

    def _interlude(self, what: Interlude, pick: int, reports: list[PollReport]) -> None:
        if what == "sale":
            self.world.sell(self._event(pick))
        elif what == "refund" and (tickets := self._tickets(usable=True)):
            self.world.refund(_pick(tickets, pick).attendee_id)
        elif what == "payment" and (tickets := self._tickets(usable=False)):
            self.world.pay(_pick(tickets, pick).attendee_id)
        elif what == "guild":
            self._guild.happens(_pick(guild.DEEDS, pick), pick)
        elif what == "letter":
            with suppress(*REFUSED, *letters.NOT_NOW):
                letters.announce(separate_root(self.pipeline), _pick(letters.SUBJECTS, pick), FAMILIES, 0)
        elif what in ("poll", "other machine"):
            with suppress(*REFUSED):
                reports.append(poll_with(self.pipeline if what == "poll" else self._other()))

    def _count_kill(self, exit_code: int) -> None:
        assert exit_code != BROKE, "a poll in a child broke; see its traceback"
        assert exit_code in (KILLED, 0, 1)
        self._hearing.forget()
        self.tally["kills" if exit_code == KILLED else "kills that came too late"] += 1

    def _until_quiet(self) -> PollReport:
        """Poll until two polls in a row were fine and changed nothing outside, giving the overrides asked for."""
        quiet, overrides, text = 0, set[str](), ""
        for _ in range(MOST_POLLS_UNTIL_QUIET):
            self.clock.advance(300)
            mark = self.pipeline.mark()
            report = self._poll(self.pipeline, overrides)
            if report is None:
                assert self._is_restored, "all services are well"
                self._rebuild()
                continue
            text = describe(report)
            overrides = set(re.findall(r"--allow ([a-z-]+)", text))
            alarms = " ".join(problem.text for problem in open_problems(self.pipeline.ledger))
            for batch in self._cancelled_batches():
                if f"pycontw-assets release {batch.batch_key}" in alarms:
                    self._release(batch.batch_key)
            self._do_what_is_asked(f"{text} {alarms}")
            self.tally["overrides"] += len(overrides)
            quiet = quiet + 1 if report.ok and not self.pipeline.writes(mark) else 0
            if quiet == 2:
                return report
            self._wait_for_next_attempt(report)
        raise AssertionError(f"not quiet after {MOST_POLLS_UNTIL_QUIET} polls: {text}")

    def _do_what_is_asked(self, alarms: str) -> None:
        """Do what alarms about the guild, the spaces and letters ask of a person."""
        self._guild.give_roles_back()
        if "remove the role by hand" in alarms:
            self._guild.remove_roles_by_hand(entitled(self.world, EDITION))
            self.clock.advance(1800)  # until the next look
        if spaces.NO_ROOM in alarms:
            self._spaces.make_room()
            self._restart_with(gather_space_id=self._spaces.setting)
        if until := letters.help_letters(self.pipeline.root, alarms, self.tally):
            self.clock.advance(max(0.0, (until - self.clock()).total_seconds()))

    def _wait_for_next_attempt(self, report: PollReport) -> None:
        waits = [decision.next_attempt_at for decision in report.tick.decisions.values() if decision.next_attempt_at]
        if waits:
            self.clock.advance(max(timedelta(0), max(waits) - self.clock()).total_seconds())
        if report.reach.problems:
            self.clock.advance(3600)  # until the channel is tried again

    def _cancelled_batches(self) -> list[Batch]:
        ledger = self.pipeline.ledger
        return [batch for event in known_events(ledger).values() for batch in cancelled_batches(ledger, event.key)]

    def _release(self, batch_key: str) -> None:
        """Release a batch as the runbook says. If Klaviyo cannot prove who got its mail, a person looked."""
        try:
            self.pipeline.call(release_batch, batch_key)
        except LedgerError as refusal:
            note(f"release: {refusal}")
            self.pipeline.call(release_batch, batch_key, by_hand=True)
        self.tally["batches released"] += 1

    def _rebuild(self) -> None:
        """Rebuild the older ledger as the runbook says, and look at what the command reports."""
        rebuilt = self.pipeline.call(rebuild_ledger)
        note(f"rebuilt: {rebuilt.counts}, {rebuilt.problems}")
        self.tally["ledgers rebuilt"] += 1

    # -- judging ----------------------------------------------------------------------------------

    def _judge(self, *, settled: bool) -> None:
        findings = self.pipeline.verdict(settled=settled)
        for finding in findings:
            self._note_unknowable(finding)
        found = [finding for finding in findings if not self._is_excused(finding)]
        assert not found, found

    def _is_excused(self, finding: Finding) -> bool:
        """Return whether the pipeline could not know the facts that the oracle judges by.

        - Without a guest list only the pipeline knows when an access period ended. A buyer who gave a ticket back and
          bought again between two polls is not invited again.
        - A guest removed for a refunded ticket may hold another ticket that nobody could read yet. That guest is let
          in and invited again later.
        - A buyer missing on a list that was cut short is added, although staff may have added the same person:
          newcomers must not wait until the list is whole.
        - Staff may remove a guest after the refund, and the pipeline may put the guest back before it reads the
          refund. That guest is not invited again: for the pipeline, the first ticket was held until the next one.
        - A second invite shows nothing new when its user has the role already. The role goes with the first ticket.
        - A letter goes to the holders of the last poll. It reaches a buyer whose refund nobody could read since.
        """
        whose = _whose(finding)
        was_put_back = "was not invited" in finding.text and self._was_put_back_in_ignorance(whose)
        if finding.invariant == 2 and (self.pipeline.settings.gather_is_off or was_put_back):
            return whose in {mask(normalise(mail.address)) for mail in self.world.outbox if not is_letter(mail)}
        if self._cut and "added by hand" in finding.text:
            return whose in {mask(normalise(ticket.address)) for ticket in self.world.kktix.tickets.values()}
        if "lost the role" in finding.text:
            return whose in map(mask, self._guild.second_uses())
        if "got a letter" in finding.text and finding.invariant == 3:
            [at] = map(datetime.fromisoformat, re.findall(r" got a letter at (\S+) ", finding.text))
            return not all(self._was_readable(facts, at) for facts in self._lost_by(whose, at, at))
        return finding.invariant in (1, 4) and whose in self._unknowable

    def _note_unknowable(self, finding: Finding) -> None:
        """Note the removals in ignorance before any excuse: the oracle reports the second mail first."""
        whose = _whose(finding)
        if finding.invariant == 4 and not self._could_have_known(whose, finding.text):
            self._unknowable.add(whose)
            self.tally["removals nobody could know better of"] += 1

    def _was_put_back_in_ignorance(self, whose: str) -> bool:
        """Return whether a removal by staff was undone before the pipeline could read that the ticket was gone."""
        entries = [fact for fact in self.world.gather.history if mask(normalise(fact.address)) == whose]
        # Staff may edit the entry that was put back, which changes nobody's access.
        facts = [fact for i, fact in enumerate(entries) if i == 0 or fact.listed != entries[i - 1].listed]
        if [(fact.listed, fact.by_hand) for fact in facts[-2:]] != [(False, True), (True, False)]:
            return False
        removed_at, back_at = (fact.at for fact in facts[-2:])
        held = {history[0].attendee_id for history in self._held_by(whose, back_at)}
        if held & {history[0].attendee_id for history in self._held_by(whose, removed_at)}:
            return False
        lost = self._lost_by(whose, removed_at, back_at)
        return not held or not any(self._was_readable(history, back_at) for history in lost)

    def _could_have_known(self, whose: str, text: str) -> bool:
        [at] = map(datetime.fromisoformat, re.findall(r" lost access at (\S+) ", text))
        return any(self._was_readable(facts, at) for facts in self._held_by(whose, at))

    def _held_by(self, whose: str, at: datetime) -> list[list[TicketFact]]:
        """Return the history, up to a time, of every usable ticket that a person held then."""
        return [facts for facts in self._histories(at) if _gives_access(facts[-1], whose)]

    def _lost_by(self, whose: str, before: datetime, at: datetime) -> list[list[TicketFact]]:
        """Return the history, up to a time, of the usable tickets a person had ``before`` and lost since."""
        had = [
            facts
            for facts in self._histories(at)
            if any(_gives_access(fact, whose) for fact in facts if fact.at <= before)
        ]
        return [facts for facts in had if not _gives_access(facts[-1], whose)]

    def _histories(self, at: datetime) -> list[list[TicketFact]]:
        known: dict[int, list[TicketFact]] = {}
        for fact in self.world.kktix.history:
            if fact.at <= at and fact.event_id in self._of_the_sale():
                known.setdefault(fact.attendee_id, []).append(fact)
        return list(known.values())

    def _of_the_sale(self) -> set[int]:
        return events_of(self.world, EDITION)

    def _was_readable(self, facts: list[TicketFact], at: datetime) -> bool:
        """Return whether its latest state was read, or it is new, was seen in a whole book and never asked for."""
        latest = facts[-1]
        reads = self._calls(f"/attendees/{latest.attendee_id}$", latest.at, at)
        spoilt = [*self._spoilt_before, *((attendee_id, since, at) for attendee_id, since in self._spoilt)]
        books = [
            call
            for call in self._calls(f"/{latest.event_id}/attendance_books/", latest.at, at)
            if not self._was_book_short(latest.event_id, call.at)
        ]
        states = [
            read
            for read in reads
            if not any(who == latest.attendee_id and since <= read.at <= until for who, since, until in spoilt)
        ]
        return any(map(_is_good, states)) or (len(facts) == 1 and not reads and any(map(_is_good, books)))

    def _was_book_short(self, event_id: int, at: datetime) -> bool:
        return any(event == event_id and since <= at <= (until or at) for event, since, until in self._short_books)

    def _calls(self, path: str, after: datetime, until: datetime) -> list[CallRecord]:
        return [call for call in self.world.calls.find("kktix", path=path) if after <= call.at <= until]

    def _remove_guests_left_to_people(self) -> None:
        """Remove guests that the pipeline leaves to staff: entries they took over, and those after an older ledger."""
        still_in = {f.text.partition(" ")[0] for f in self.pipeline.verdict() if "still on the guest list" in f.text}
        removable = self._removable_by_hand()
        left = [one for one in removable if normalise(one) in self._made_their_own]
        if self._was_ledger_older:
            holders = entitled(self.world, EDITION)
            left += [one for one in self.world.gather.guests if normalise(one) not in {*holders, *map(normalise, left)}]
        for address in left:
            if mask(normalise(address)) in still_in:
                self.world.remove_guest(address)
                self.tally["guests left to people"] += 1

    def _tables_are_whole(self) -> None:
        """Judge that every ticket in a book has a row and every row is right. Unseen tickets have no row."""
        rows = {row["attendee_id"]: row["is_usable"] for table in self.pipeline.tables().values() for row in table}
        tickets = self.world.kktix.tickets
        polled = {i for i, ticket in tickets.items() if ticket.event_id in self._of_the_sale()}
        listed = {i for i in polled if tickets[i].books}
        assert listed <= rows.keys() <= polled, (listed - rows.keys(), rows.keys() - polled)
        wrong = {attendee_id for attendee_id, is_usable in rows.items() if is_usable != tickets[attendee_id].is_usable}
        assert not wrong, wrong

    def _lists_are_right(self) -> None:
        """Judge that the ticket-holder list of every event holds its holders, as far as Klaviyo takes them."""
        for event_id in self._of_the_sale().intersection(self._open_events()):
            usable = [ticket.address for ticket in self._tickets(usable=True) if ticket.event_id == event_id]
            wanted = {normalise(address) for address in usable if is_mailable(normalise(address))}
            wanted -= self.world.klaviyo.switches.refused_addresses
            found = {normalise_address(address or "") for address in self.pipeline.ticket_holders(event_id)}
            assert found == wanted, (event_id, found, wanted)

    def _count_world(self) -> None:
        facts = [fact for fact in self.world.gather.history if not fact.by_hand]
        self.tally["mails"] += sum(not is_letter(mail) for mail in self.world.outbox)
        self.tally["letters"] += sum(map(is_letter, self.world.outbox))
        self.tally["invites used"] += len(self.world.discord.uses)
        self.tally["guests let in"] += sum(fact.listed for fact in facts)
        self.tally["guests taken off"] += sum(not fact.listed for fact in facts)
        self.tally["tickets"] += len(self.world.kktix.tickets)


def _gives_access(fact: TicketFact, whose: str) -> bool:
    return fact.is_usable and mask(normalise(fact.address)) == whose


def _is_good(call: CallRecord) -> bool:
    return call.status == 200 and not call.fault


def _whose(finding: Finding) -> str:
    return finding.text.partition(" ")[0].rstrip(",")


def _pick(options: Sequence[_T], number: int) -> _T:
    return options[number % len(options)]
