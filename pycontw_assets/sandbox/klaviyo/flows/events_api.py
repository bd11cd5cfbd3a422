"""Events and metrics, with the flows that each metric starts."""

from __future__ import annotations

from typing import Any

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import MailAccount
from pycontw_assets.sandbox.klaviyo.audience_api import checked_profile
from pycontw_assets.sandbox.klaviyo.errors import bad_body
from pycontw_assets.sandbox.klaviyo.flows.flows import Flow, SentEvent
from pycontw_assets.sandbox.klaviyo.query import Accepts
from pycontw_assets.sandbox.klaviyo.request import RANGES, Request, Routes
from pycontw_assets.sandbox.klaviyo.views import iso
from pycontw_assets.sandbox.wire import Reply


class EventsApi:
    """Endpoints about events and metrics."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._context = account.context

    def create_event(self, request: Request) -> Reply:
        event = request.body(schema.Body[schema.EventCreate]).data.attributes
        self._accept(event, event.profile.data, pointer="/data/attributes/profile/data")
        return Reply(202)

    def create_events(self, request: Request) -> Reply:
        """Take many events. One ``unique_id`` that occurs twice refuses them all."""
        rows = request.body(schema.Body[schema.BulkEvents]).data.attributes.rows.data
        events = [(item.attributes, row.attributes.profile.data) for row in rows for item in row.attributes.events.data]
        ids = [event.unique_id for event, _ in events if event.unique_id]
        if len(set(ids)) < len(ids):
            raise bad_body("A unique_id occurs more than once.", "/data/attributes/events-bulk-create/data")
        for event, profile in events:
            self._accept(event, profile, pointer="/data/attributes/events-bulk-create/data")
        return Reply(202)

    def _accept(self, event: schema.EventMembers, sent: schema.ProfileOfEvent, *, pointer: str) -> None:
        attributes, properties = checked_profile(self._account, sent.attributes, identity=sent.id, pointer=pointer)
        profile, _ = self._account.upsert_profile(attributes, properties, sent.id)
        self._account.flows.accept(
            SentEvent(
                metric=event.metric.data.attributes.name,
                properties=event.properties,
                at=event.time or self._context.now(),
                unique_id=event.unique_id,
                backfill=event.backfill is True,
            ),
            profile,
        )

    def get_events(self, request: Request) -> Reply:
        events = [
            event
            for event in self._account.events
            if self._account.shows(event.at, self._account.switches.event_delay)
            and request.query.keeps(
                {"metric_id": event.metric_id, "profile_id": event.profile_id, "datetime": event.at}.get
            )
        ]
        profiles = self._account.profiles
        return request.page_of(
            events,
            request.views.event,
            key=lambda event: (event.at, event.id),
            include=(lambda event: request.views.profile(profiles[event.profile_id]))
            if request.query.include
            else None,
        )

    def get_metrics(self, request: Request) -> Reply:
        shows_flows = "flow-triggers" in request.query.include
        resources = [self._metric(request, identity, shows_flows) for identity in self._account.metrics]
        links = {"self": request.here, "next": None, "prev": None}
        included = [_flow(request, flow) for flow in self._account.flows.by_id.values()] if shows_flows else None
        return request.document({"data": resources, "links": links}, included=included)

    def _metric(self, request: Request, identity: str, shows_flows: bool) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "name": self._account.metrics[identity],
            "created": None,
            "updated": None,
            "integration": {},
        }
        if not shows_flows:
            return request.views.resource("metric", identity, attributes)
        flows = [{"type": "flow", "id": flow.id} for flow in self._account.flows.of(identity)]
        relations = {"flow-triggers": {"data": flows}}
        return request.views.resource("metric", identity, attributes, relationships=relations)


def _flow(request: Request, flow: Flow) -> dict[str, Any]:
    attributes = {
        "name": flow.name,
        "status": flow.status,
        "archived": flow.archived,
        "created": iso(flow.created),
        "updated": iso(flow.updated),
        "trigger_type": "Metric",
    }
    return request.views.resource("flow", flow.id, attributes)


ROUTES: Routes = {
    ("GET", "/api/metrics"): (
        EventsApi.get_metrics,
        Accepts(fields=("metric", "flow"), include=("flow-triggers",), cursor=True),
    ),
    ("GET", "/api/events"): (
        EventsApi.get_events,
        Accepts(
            fields=("event", "profile"),
            include=("profile",),
            filters={"metric_id": ("equals",), "profile_id": ("equals",), "datetime": RANGES},
            sorts=("datetime",),
            page_maximum=1000,
            page_default=200,
        ),
    ),
    ("POST", "/api/events"): (EventsApi.create_event, Accepts()),
    ("POST", "/api/event-bulk-create-jobs"): (EventsApi.create_events, Accepts()),
}
