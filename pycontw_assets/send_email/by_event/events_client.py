"""Call Klaviyo about events, and about the flows that they start. It shares the connection of a ``KlaviyoClient``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from pycontw_assets.api.bounds import has_half_character, plain_text
from pycontw_assets.api.client import Malformed
from pycontw_assets.send_email import klaviyo_records as records
from pycontw_assets.send_email.klaviyo_client import JsonApi, KlaviyoClient, literal
from pycontw_assets.send_email.klaviyo_records import ProfileEvent

_PAGE = 1000  # events, as many as Klaviyo answers at once
_LONGEST_ADDRESS = 1000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow, as the metric that starts it names it. ``status`` is draft, manual or live."""

    flow_id: str
    status: str
    is_archived: bool = False

    @property
    def is_live(self) -> bool:
        return self.status == "live" and not self.is_archived


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Something that events are recorded of, and the flows that it starts."""

    metric_id: str
    name: str
    flows: tuple[Flow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event as Klaviyo recorded it. ``email`` is ``None`` where the answer does not name the person."""

    at: datetime
    profile_id: str
    email: str | None = field(default=None, repr=False)
    event: ProfileEvent
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)


class EventsClient(JsonApi):
    """The calls about events."""

    def __init__(self, klaviyo: KlaviyoClient) -> None:
        self.api = klaviyo.api

    def create_event(
        self, email: str, *, metric: str, event_id: str, properties: Mapping[str, Any], starts_flows: bool = True
    ) -> None:
        """Hand over one event. It may be repeated: Klaviyo counts the same ``event_id`` of a person once.

        A success means accepted, not processed. Raise ``Refused`` for an address that is not taken.
        """
        attributes: dict[str, Any] = {
            "properties": dict(properties),
            "unique_id": event_id,
            "metric": {"data": {"type": "metric", "attributes": {"name": metric}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": email}}},
        }
        if not starts_flows:
            attributes["backfill"] = True
        body = {"data": {"type": "event", "attributes": attributes}}
        self._call("POST", "create event", "/api/events", body=body, group="events", expect_json=False)

    def metrics(self) -> tuple[Metric, ...]:
        """Return all metrics with the flows that each starts, in one request."""
        operation = "read metrics and flows"
        query = {
            "include": "flow-triggers",
            "fields[metric]": "name",
            "fields[flow]": "status,archived",
        }
        metrics: list[Metric] = []
        for document in self._documents(operation, "/api/metrics", query, group="metrics"):
            flows = _flows(operation, document.get("included"))
            metrics += (_metric(row, flows) for row in document["data"] if isinstance(row, dict))
        return tuple(metrics)

    def events_of(self, metric_id: str, *, since: datetime | None = None) -> Iterator[RecordedEvent]:
        """Yield the events of a metric, the newest first, with the people's addresses. Pages are read when needed."""
        conditions = [f"equals(metric_id,{literal(metric_id)})"]
        if since is not None:
            moment = since.astimezone(timezone.utc).isoformat(timespec="seconds")
            conditions.append(f"greater-or-equal(datetime,{moment})")
        query = {
            "filter": ",".join(conditions),
            "include": "profile",
            "fields[profile]": "email",
            "sort": "-datetime",
            "page[size]": str(_PAGE),
        }
        operation = "read events of metric"
        for document in self._documents(operation, "/api/events", query, group="events"):
            emails = _emails(document.get("included"))
            for row in document["data"]:
                yield _recorded_event(operation, row, emails)

    def latest_events(self, metric_id: str) -> tuple[RecordedEvent, ...]:
        """Return one page of the newest events of a metric."""
        return tuple(islice(self.events_of(metric_id), _PAGE))


def _flows(operation: str, included: Any) -> dict[str, Flow]:
    flows: dict[str, Flow] = {}
    for row in included if isinstance(included, list) else ():
        if isinstance(row, dict) and row.get("type") == "flow":
            fields = records.attributes(row)
            status = fields.get("status")
            if not isinstance(status, str):
                raise Malformed("Klaviyo", operation, "a flow has no status")
            flow_id = records.text(row, "id")
            flows[flow_id] = Flow(
                flow_id=flow_id, status=plain_text(status), is_archived=fields.get("archived") is True
            )
    return flows


def _metric(row: Mapping[str, Any], flows: Mapping[str, Flow]) -> Metric:
    name = records.attributes(row).get("name")
    references = records.inside(row, "relationships", "flow-triggers").get("data")
    ids = [item.get("id") for item in references if isinstance(item, dict)] if isinstance(references, list) else []
    # A flow whose state the answer does not show is none that may be relied on.
    starts = tuple(flows.get(str(flow_id), Flow(flow_id=str(flow_id), status="unknown")) for flow_id in ids)
    return Metric(metric_id=records.text(row, "id"), name=name if isinstance(name, str) else "", flows=starts)


def _emails(included: Any) -> dict[str, str]:
    rows = [row for row in included if isinstance(row, dict)] if isinstance(included, list) else []
    emails = {str(row.get("id")): records.attributes(row).get("email") for row in rows if row.get("type") == "profile"}
    return {
        profile_id: email
        for profile_id, email in emails.items()
        if isinstance(email, str) and len(email) <= _LONGEST_ADDRESS and not has_half_character(email)
    }


def _recorded_event(operation: str, row: Any, emails: Mapping[str, str]) -> RecordedEvent:
    if not isinstance(row, dict):
        raise Malformed("Klaviyo", operation, "the answer does not have the documented shape")
    fields = records.attributes(row)
    at = records.moment(fields.get("datetime"))
    if at is None:
        raise Malformed("Klaviyo", operation, "an event has no time")
    profile_id = records.text(records.inside(row, "relationships", "profile", "data"), "id")
    return RecordedEvent(
        at=at,
        profile_id=profile_id,
        email=emails.get(profile_id),
        event=records.profile_event(row),
        properties=records.inside(fields, "event_properties"),
    )
