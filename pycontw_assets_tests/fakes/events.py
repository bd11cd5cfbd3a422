"""Klaviyo's events and flows in memory, next to a ``FakeKlaviyo``: an event with a known id is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycontw_assets.api.client import Refused
from pycontw_assets.send_email.by_event.events_client import Flow, Metric
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo

LIVE = (Flow(flow_id="F1", status="live"),)


class FakeEvents:
    def __init__(self, klaviyo: FakeKlaviyo, flows: tuple[Flow, ...] = LIVE, *, has_metric: bool = True) -> None:
        self.klaviyo = klaviyo
        self.flows = flows
        self.has_metric = has_metric
        self.taken: dict[tuple[str, str], Mapping[str, Any]] = {}  # (address, id) -> properties

    def create_event(self, email: str, *, metric: str, event_id: str, properties: Mapping[str, Any]) -> None:
        address = email.lower()

        def take() -> None:
            assert metric == INVITATION_METRIC
            if address in self.klaviyo.invalid:
                pointer = "/data/attributes/profile/data/attributes/email"
                raise Refused("Klaviyo", "create event", "answered 400", status=400, pointers=(pointer,))
            if (address, event_id) not in self.taken:
                self.taken[address, event_id] = properties
                self.klaviyo.mailed[address] += 1

        self.klaviyo.faults.run("create_event", take)

    def metrics(self) -> tuple[Metric, ...]:
        def read() -> tuple[Metric, ...]:
            ours = (Metric(metric_id="M1", name=INVITATION_METRIC, flows=self.flows),)
            return (Metric(metric_id="R", name="Received Email"), *(ours if self.has_metric else ()))

        return self.klaviyo.faults.run("metrics", read)
