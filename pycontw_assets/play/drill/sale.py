"""A sale in progress, and everything that can happen in it. When it happens is said by ``script``."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

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
_SAID_OF: dict[Part, str] = {
    "KKTIX": "KKTIX answers 500",
    "Gather": "Gather drops every connection",
    "Klaviyo": "Klaviyo answers 503",
    "warehouse": "the warehouse cannot be written",
    "books": "KKTIX shows empty attendance books",
}


@dataclass
class Outage:
    """``was_noticed``: a poll within it reported trouble."""

    part: Part
    start: datetime
    end: datetime | None = None
    was_noticed: bool = False


@dataclass(frozen=True)
class Step:
    """Something that happens ``at`` seconds after the opening."""

    at: float

    def happen(self, sale: Sale) -> str:
        """Let it happen; gives the line to tell, empty when it is not worth one."""
        raise NotImplementedError


@dataclass(frozen=True)
class Sell(Step):
    """One order. Later steps refer to it by its number."""

    order: int
    family: Family
    seats: int = 1
    paid: bool = True

    def happen(self, sale: Sale) -> str:
        sale.tickets[self.order] = sale.world.sell(sale.events[self.family], self.seats, paid=self.paid)
        return ""


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
    order: int

    def happen(self, sale: Sale) -> str:
        for ticket in sale.tickets[self.order]:
            sale.world.refund(ticket)
        return "somebody gets a refund"


@dataclass(frozen=True)
class Transfer(Step):
    order: int

    def happen(self, sale: Sale) -> str:
        heir = sale.world.kktix.people.next().address
        for ticket in sale.tickets[self.order]:
            sale.world.transfer(ticket, heir)
            sale.transferred.add(ticket)
        return "a ticket passes to somebody else"


@dataclass(frozen=True)
class BuyAgain(Step):
    """Who got the money back buys another ticket."""

    order: int

    def happen(self, sale: Sale) -> str:
        old = sale.world.kktix.tickets[sale.tickets[self.order][0]]
        sale.tickets[self.order] = sale.world.sell(old.event_id, address=old.address)
        return "somebody refunded buys again"


@dataclass(frozen=True)
class Fail(Step):
    part: Part

    def happen(self, sale: Sale) -> str:
        sale.break_down(self.part)
        return _SAID_OF[self.part]


@dataclass(frozen=True)
class Recover(Step):
    part: Part

    def happen(self, sale: Sale) -> str:
        sale.mend(self.part)
        return f"{self.part}: well again"


@dataclass(frozen=True)
class Crash(Step):
    """The next poll will be killed."""

    def happen(self, sale: Sale) -> str:
        sale.kills_next_poll = True
        return ""


@dataclass
class Sale:
    """The world of a trial between its opening and the end of the script."""

    trial: ScratchInstallation
    script: Iterable[Step]
    seed: int
    tickets: dict[int, list[int]] = field(default_factory=dict)
    transferred: set[int] = field(default_factory=set)
    outages: list[Outage] = field(default_factory=list)
    kills_next_poll: bool = False
    told: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = self.trial.world
        self.events = seed_demo(self.world, EDITION, self.seed, attendees=0)
        self._to_come = deque(sorted(self.script, key=lambda step: step.at))
        self._lock = threading.Lock()
        self._faults: dict[Part, Fault] = {}

    def open(self) -> None:
        """From now on the script runs; buyers do not wait for a poll to end, so every request is a chance for them."""
        self.opened_at = self.trial.clock()
        for service in ("kktix", "gather", "klaviyo"):
            self.world.faults.add(service, "hook", times=None, action=self.catch_up)

    @property
    def seconds(self) -> float:
        """Since the opening."""
        return (self.trial.clock() - self.opened_at).total_seconds()

    @property
    def is_over(self) -> bool:
        return not self._to_come

    def catch_up(self) -> None:
        """Let happen what is due. A step may send requests itself: those must not wait for its end."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            while self._to_come and self._to_come[0].at <= self.seconds:
                if line := self._to_come[0].happen(self):
                    self.told.append((self.seconds, line))
                # Only now: what broke in the middle of a request breaks again where somebody hears of it.
                self._to_come.popleft()
        finally:
            self._lock.release()

    def wait_until(self, at: float) -> None:
        """Skip the time until then, from step to step."""
        while self._to_come and self._to_come[0].at < at:
            self.trial.clock.advance(max(0.0, self._to_come[0].at - self.seconds))
            self.catch_up()
        self.trial.clock.advance(max(0.0, at - self.seconds))

    # -- bad weather ----------------------------------------------------------------------------------

    def break_down(self, part: Part) -> None:
        self.outages.append(Outage(part, self.trial.clock()))
        if part == "warehouse":
            # A folder in the place of its lock file is as good as a disk that refuses.
            self._lock_file.unlink(missing_ok=True)
            self._lock_file.mkdir()
        elif part == "books":
            self.world.kktix.switches.shown_per_book = dict.fromkeys(self.events.values(), 0)
        else:
            self._faults[part] = self.world.faults.add(part.lower(), times=None, **_SYMPTOMS[part])

    def mend(self, part: Part) -> None:
        for outage in self.standing_outages():
            if outage.part == part:
                outage.end = self.trial.clock()
        if part == "warehouse":
            self._lock_file.rmdir()
        elif part == "books":
            self.world.kktix.switches.shown_per_book = {}
        else:
            self._faults.pop(part).times = 0

    def standing_outages(self) -> list[Outage]:
        return [outage for outage in self.outages if outage.end is None]

    @property
    def _lock_file(self) -> Path:
        return self.trial.home / "warehouse.duckdb.lock"
