"""Play an hour of sale at accelerated time with hints of a webhook, and measure how long buyers wait."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from dagster import DagsterInstance, SensorDefinition, build_sensor_context

from benchmarks.services import slow_down
from pycontw_assets.extract.hook.delivery import name_digest
from pycontw_assets.ledger.hints.deliveries import Hint, record_delivery
from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.orchestration.instance import open_instance
from pycontw_assets.orchestration.poll import execute
from pycontw_assets.orchestration.resources import resources_of
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.waiting_times import spread
from pycontw_assets.play.scratch_installation import ScratchInstallation, scratch_installation
from pycontw_assets.sandbox.page.view import ticket_progress
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

_HOUR, _LOOP_SECONDS, _POLL_SECONDS = 3600, 5, 300
# KKTIX sends batches, and says that they are not in real time. Nobody has measured the real one.
_HINT_AFTER_SECONDS = 3.0
# From a request to a run at work: the daemon looks into its queue every five seconds, and a fork takes half of one.
_LAUNCH_SECONDS = (0.5, 5.5)
# A campaign keeps a list busy for an hour, so campaigns cannot follow every payment of a busy hour.
_WAY = "event"
_NAME = "PyCon TW 2031 Registration: Individual"
_SECRET = "a secret of the benchmark"


def hinted_sale(orders: int, latency: float) -> dict[str, Any]:
    """Return the same seconds as ``sale`` where each payment is followed by a hint.

    Both sensors are evaluated as the daemon does it. Runs begin some seconds after they are asked for, one after the
    other; their work is real. Tables are left out: they have processes of their own.
    """
    with scratch_installation() as installation:
        event = installation.world.add_event(_NAME)
        slow_down(installation.world, latency)
        installation.world.klaviyo.flows.prepare(INVITATION_METRIC, status="live")
        daemon = _Daemon(installation, event)
        installation.poll()
        chance = random.Random(0)
        daemon.play(sorted(chance.uniform(0, _HOUR) for _ in range(orders)))
        waited = list(ticket_progress(installation.world).values())
    found = {
        "access": spread(way.access.seconds for way in waited),
        "invitation": spread(way.mail.seconds for way in waited),
    }
    return {what: asdict(seconds) for what, seconds in found.items() if seconds}


class _Daemon:
    """The sensors of one installation and their runs, at accelerated time."""

    def __init__(self, installation: ScratchInstallation, event: int) -> None:
        self._installation, self._event, self._clock = installation, event, installation.clock
        values: dict[str, Any] = {name.lower(): value for name, value in installation.environment.items()}
        settings = Settings(
            _env_file=None, _env_prefix="not a variable ", kktix_hook_secret=_SECRET, invite_via=_WAY, **values
        )
        self._root = Composition(
            lambda: settings,
            clock=self._clock,
            waits=WaitPolicy(sleep=self._clock.advance),
            client_options={"sleep": self._clock.advance, "clock": self._clock.monotonic},
        )
        self._definitions = build_definitions(self._root)
        self._launches = random.Random(0)

    def play(self, payments: Iterable[float]) -> None:
        """Sell a ticket at each of these seconds, for an hour and as long as somebody waits."""
        began, due, unhinted, next_poll = self._clock(), list(payments), list[float](), 0.0
        with open_instance(self._root.settings.dagster_folder) as instance:
            while (now := (self._clock() - began).total_seconds()) < _HOUR + _POLL_SECONDS:
                while due and due[0] <= now:
                    self._installation.world.sell(self._event)
                    unhinted.append(due.pop(0))
                if unhinted and unhinted[0] + _HINT_AFTER_SECONDS <= now:
                    record_delivery(self._root.ledger, [Hint("slug", name_digest(_NAME))], ["hint"])
                    unhinted.clear()
                if now >= next_poll:
                    next_poll += _POLL_SECONDS
                    self._tick(instance, "kktix_orders_sensor")
                self._tick(instance, "kktix_hints_sensor")
                self._clock.advance(_LOOP_SECONDS)

    def _tick(self, instance: DagsterInstance, name: str) -> None:
        sensor = self._definitions.resolve_sensor_def(name)
        assert isinstance(sensor, SensorDefinition)
        with build_sensor_context(
            instance=instance,
            instance_ref=instance.get_ref(),
            definitions=self._definitions,
            resources=resources_of(self._root, self._root.settings),
        ) as context:
            data = sensor.evaluate_tick(context)
        for request in data.run_requests or []:
            if not str(request.job_name).startswith("load_"):
                self._clock.advance(self._launches.uniform(*_LAUNCH_SECONDS))
                execute(self._definitions, instance, request)
