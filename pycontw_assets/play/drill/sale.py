"""A sale in progress, and everything that can happen in it. ``script`` says when it happens."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets.play.drill.backup import VaultBackup
from pycontw_assets.play.scratch_installation import EDITION, ScratchInstallation
from pycontw_assets.records import Family
from pycontw_assets.sandbox.faults import Fault
from pycontw_assets.sandbox.seed import seed_demo

Part = Literal["KKTIX", "Gather", "Klaviyo", "warehouse", "books"]
PARTS: tuple[Part, ...] = get_args(Part)
_SYMPTOMS: dict[Part, dict[str, Any]] = {
    "KKTIX": {"kind": "status", "status": 500},
    "Gather": {"kind": "reset"},
    "Klaviyo": {"kind": "status", "status": 503},
}
_LINES: dict[Part, str] = {
    "KKTIX": "KKTIX answers 500",
    "Gather": "Gather drops every connection",
    "Klaviyo": "Klaviyo answers 503",
    "warehouse": "the warehouse cannot be written",
    "books": "KKTIX shows empty attendance books",
}


@dataclass
class Outage:
    """A part that does not work. ``was_noticed``: a poll within it reported a problem."""

    part: Part
    start: datetime
    end: datetime | None = None
    was_noticed: bool = False


@dataclass(frozen=True)
class Step:
    """Something that happens ``at`` seconds after the opening."""

    at: float

    def happen(self, sale: Sale) -> str:
        """Let it happen. Return the line to print, empty when it is not worth one."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sell(Step):
    """One order. Later steps refer to it by its number."""

    order: int
    family: Family
    seats: int = 1
    paid: bool = True
    unsubscribed: bool = False

    def happen(self, sale: Sale) -> str:
        sale.tickets[self.order] = sale.world.sell(sale.events[self.family], self.seats, paid=self.paid)
        if not self.unsubscribed:
            return ""
        sale.world.klaviyo.suppress(sale.world.kktix.tickets[sale.tickets[self.order][0]].address)
        return "somebody buys who unsubscribed from all mails"


@dataclass(frozen=True)
class Pay(Step):
    """The payment at a cash machine arrives."""

    order: int

    def happen(self, sale: Sale) -> str:
        for ticket in sale.tickets[self.order]:
            sale.world.pay(ticket)
        return ""


@dataclass(frozen=True)
class Refund(Step):
    """An order is refunded, and its tickets leave the attendance book."""

    order: int

    def happen(self, sale: Sale) -> str:
        for ticket in sale.tickets[self.order]:
            sale.world.refund(ticket)
        return "somebody gets a refund"


@dataclass(frozen=True)
class Transfer(Step):
    """The tickets of an order pass to another person."""

    order: int

    def happen(self, sale: Sale) -> str:
        heir = sale.world.kktix.people.next().address
        for ticket in sale.tickets[self.order]:
            sale.world.transfer(ticket, heir)
            sale.transferred.add(ticket)
        return "a ticket passes to somebody else"


@dataclass(frozen=True)
class BuyAgain(Step):
    """A refunded buyer buys another ticket."""

    order: int

    def happen(self, sale: Sale) -> str:
        old = sale.world.kktix.tickets[sale.tickets[self.order][0]]
        sale.tickets[self.order] = sale.world.sell(old.event_id, address=old.address)
        return "a refunded buyer buys again"


@dataclass(frozen=True)
class Fail(Step):
    """A part stops working."""

    part: Part

    def happen(self, sale: Sale) -> str:
        sale.break_down(self.part)
        return _LINES[self.part]


@dataclass(frozen=True)
class Recover(Step):
    """A part works again."""

    part: Part

    def happen(self, sale: Sale) -> str:
        sale.mend(self.part)
        return f"{self.part}: works again"


@dataclass(frozen=True)
class BreakAlarmChannel(Step):
    """One of two alarm channels takes no message any more."""

    def happen(self, sale: Sale) -> str:
        sale.broken_channel.works, sale.breaks_channel = False, True
        return "one of two alarm channels refuses messages"


@dataclass(frozen=True)
class MendAlarmChannel(Step):
    """The alarm channel takes messages again."""

    def happen(self, sale: Sale) -> str:
        sale.broken_channel.works = True
        return "the alarm channel works again"


@dataclass(frozen=True)
class BackUp(Step):
    """Somebody makes a backup of the vault."""

    def happen(self, sale: Sale) -> str:
        sale.backup.due.append(sale.backup.make)
        return "a backup of the vault is made"


@dataclass(frozen=True)
class RestoreBackup(Step):
    """The backup is put back, and the ledger stays as it is."""

    def happen(self, sale: Sale) -> str:
        sale.backup.due.append(sale.backup.restore)
        return "the older vault is put back next to today's ledger"


@dataclass(frozen=True)
class ReadAgain(Step):
    """A person reads the alarm, and gives the next poll its override."""

    def happen(self, sale: Sale) -> str:
        sale.backup.due.append(sale.backup.read_again)
        return "a person has everybody read again"


@dataclass(frozen=True)
class Crash(Step):
    """The next poll will be killed."""

    def happen(self, sale: Sale) -> str:
        sale.kills_next_poll = True
        return ""


@dataclass
class Sale:
    """The world of a scratch installation between the opening of the sale and the end of the script."""

    installation: ScratchInstallation
    script: Iterable[Step]
    seed: int
    steady_channel: AlarmChannel
    broken_channel: AlarmChannel
    breaks_channel: bool = False
    tickets: dict[int, list[int]] = field(default_factory=dict)
    transferred: set[int] = field(default_factory=set)
    outages: list[Outage] = field(default_factory=list)
    kills_next_poll: bool = False
    log: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = self.installation.world
        self.events = seed_demo(self.world, EDITION, self.seed, attendees=0)
        self.backup = VaultBackup(self.installation)
        self._to_come = deque(sorted(self.script, key=lambda step: step.at))
        self._lock = threading.Lock()
        self._faults: dict[Part, Fault] = {}
        self.installation.environment["ALERT_URLS"] = f"{self.steady_channel.url} {self.broken_channel.url}"

    def open(self) -> None:
        """Start the script. Buyers do not wait for a poll to end, so each request lets due steps happen."""
        self.opened_at = self.installation.clock()
        for service in ("kktix", "gather", "klaviyo"):
            self.world.faults.add(service, "hook", times=None, action=self.catch_up)

    @property
    def seconds(self) -> float:
        """Return the seconds since the opening."""
        return (self.installation.clock() - self.opened_at).total_seconds()

    @property
    def is_over(self) -> bool:
        return not self._to_come

    def catch_up(self) -> None:
        """Let due steps happen. The requests that a step sends itself must not wait for its end."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            while self._to_come and self._to_come[0].at <= self.seconds:
                if line := self._to_come[0].happen(self):
                    self.log.append((self.seconds, line))
                # Only now: a step that failed in the middle of a request fails again where the error is reported.
                self._to_come.popleft()
        finally:
            self._lock.release()

    def wait_until(self, at: float) -> None:
        """Skip the time until then, from step to step."""
        while self._to_come and self._to_come[0].at < at:
            self.installation.clock.advance(max(0.0, self._to_come[0].at - self.seconds))
            self.catch_up()
        self.installation.clock.advance(max(0.0, at - self.seconds))

    # -- outages --------------------------------------------------------------------------------------

    def break_down(self, part: Part) -> None:
        self.outages.append(Outage(part, self.installation.clock()))
        if part == "warehouse":
            # A folder in the place of its lock file acts like a disk that refuses to write.
            self._lock_file.unlink(missing_ok=True)
            self._lock_file.mkdir()
        elif part == "books":
            self.world.kktix.switches.shown_per_book = dict.fromkeys(self.events.values(), 0)
        else:
            self._faults[part] = self.world.faults.add(part.lower(), times=None, **_SYMPTOMS[part])

    def mend(self, part: Part) -> None:
        for outage in self.outages_now():
            if outage.part == part:
                outage.end = self.installation.clock()
        if part == "warehouse":
            self._lock_file.rmdir()
        elif part == "books":
            self.world.kktix.switches.shown_per_book = {}
        else:
            self._faults.pop(part).times = 0

    def outages_now(self) -> list[Outage]:
        return [outage for outage in self.outages if outage.end is None]

    @property
    def _lock_file(self) -> Path:
        return self.installation.home / "warehouse.duckdb.lock"
