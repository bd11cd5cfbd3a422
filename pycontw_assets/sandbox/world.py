"""The simulated outside world as one Python object, for the tests and the demo.

``world.kktix``, ``world.gather``, ``world.discord`` and ``world.klaviyo`` are the services with their
``switches``. The everyday actions are methods of the world itself. Everything is safe to use while the server is
answering.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pycontw_assets.sandbox.call_log import CallLog
from pycontw_assets.sandbox.context import Clock, SimulationContext, system_clock
from pycontw_assets.sandbox.discord.guild import Guild
from pycontw_assets.sandbox.faults import FaultBoard
from pycontw_assets.sandbox.gather import Venue
from pycontw_assets.sandbox.kktix.box_office import BoxOffice
from pycontw_assets.sandbox.klaviyo.account import Mail, MailAccount
from pycontw_assets.sandbox.klaviyo.api import KlaviyoApi
from pycontw_assets.sandbox.wire import Service, ServiceApp


@dataclass(frozen=True, slots=True)
class WantedAgain:
    """A buyer who asked for the invitation once more. One more mail to them is no mistake of anybody."""

    at: datetime
    address: str = field(repr=False)


class World:
    """KKTIX, Gather, Discord and Klaviyo, their faults, and the log of all calls."""

    def __init__(self, clock: Clock = system_clock, seed: int = 0) -> None:
        self.context = SimulationContext(clock, seed)
        self.faults = FaultBoard()
        self.calls = CallLog()
        self.kktix = BoxOffice(self.context)
        self.gather = Venue(self.context)
        self.discord = Guild(self.context)
        self.klaviyo = MailAccount(self.context)
        self._klaviyo_api = KlaviyoApi(self.klaviyo)
        self.wanted_again: list[WantedAgain] = []

        self.add_event = self.kktix.add_event
        self.rename_event = self.kktix.rename_event
        self.end_event = self.kktix.end_event
        self.sell = self.kktix.sell
        self.pay = self.kktix.pay
        self.cancel = self.kktix.cancel
        self.refund = self.kktix.refund
        self.reinstate = self.kktix.reinstate
        self.transfer = self.kktix.transfer
        self.set_state = self.kktix.set_state
        self.add_guest = self.gather.add_guest
        self.remove_guest = self.gather.remove_guest

    @property
    def outbox(self) -> list[Mail]:
        return self.klaviyo.outbox

    def ask_again(self, address: str) -> None:
        """Let a buyer ask for the invitation once more, because it was lost. Nothing happens by that alone."""
        with self.context.lock:
            self.wanted_again.append(WantedAgain(self.context.now(), address))

    def reset(self, clock: Clock | None = None, seed: int = 0) -> None:
        """Empty the world; the services stay the same objects, so a running server goes on."""
        with self.context.lock:
            self.context.clock = clock or self.context.clock
            self.context.random.seed(seed)
            self.faults.clear()
            self.calls.clear()
            self.wanted_again.clear()
            for service in (self.kktix, self.gather, self.discord, self.klaviyo, self._klaviyo_api):
                service.reset()

    def services(self) -> dict[str, ServiceApp]:
        """Return the services as web applications, by name."""
        services: dict[str, Service] = {
            "kktix": self.kktix,
            "gather": self.gather,
            "discord": self.discord,
            "klaviyo": self._klaviyo_api,
        }
        return {
            name: ServiceApp(name, service, context=self.context, faults=self.faults, calls=self.calls)
            for name, service in services.items()
        }
