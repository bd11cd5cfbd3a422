"""The events client sends exact requests, and reads metrics with their flows and events with their people."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from pycontw_assets.api.client import Malformed, Refused, Unavailable
from pycontw_assets.send_email.by_event.events_client import EventsClient, Flow, Metric
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets_tests.clients.scripted_server import RESET, Answer
from pycontw_assets_tests.clients.test_klaviyo_client import ADDRESS, KEY, page, resource

NOON = datetime(2031, 6, 1, 12, tzinfo=timezone.utc)
FLOW = resource("flow", "F1", status="live", archived=False)


@pytest.fixture
def events(server, fake_time):
    return EventsClient(KlaviyoClient(server.url, KEY, sleep=fake_time.sleep, clock=fake_time.clock))


def metric(name: str, *flow_ids: str) -> dict[str, Any]:
    flows = [{"type": "flow", "id": flow_id} for flow_id in flow_ids]
    return {**resource("metric", "M1", name=name), "relationships": {"flow-triggers": {"data": flows}}}


def recorded(**changes: Any) -> dict[str, Any]:
    attributes = {"datetime": "2031-06-01T12:00:00+00:00", "event_properties": {"edition": "2031", "$flow": "F1"}}
    relations = {
        "profile": {"data": {"type": "profile", "id": "P1"}},
        "metric": {"data": {"type": "metric", "id": "M"}},
    }
    return {**resource("event", "E1", **(attributes | changes)), "relationships": relations}


def create(events: EventsClient, **more: Any) -> None:
    events.create_event(ADDRESS, metric="ticket", event_id="one", properties={"edition": "2031"}, **more)


@pytest.mark.parametrize("starts_flows", [True, False])
def test_an_event_has_an_id_and_one_address(events, server, starts_flows):
    server.will_answer(Answer(202))
    create(events, starts_flows=starts_flows)
    [request] = server.received
    assert (request.method, request.path) == ("POST", "/api/events")
    attributes = json.loads(request.body)["data"]["attributes"]
    assert attributes.pop("backfill", False) is not starts_flows
    assert attributes == {
        "properties": {"edition": "2031"},
        "unique_id": "one",
        "metric": {"data": {"type": "metric", "attributes": {"name": "ticket"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": ADDRESS}}},
    }


def test_an_event_is_repeated_after_a_lost_reply(events, server):
    server.will_answer(RESET, Answer(503), Answer(202))
    create(events)
    assert len(server.received) == 3


def test_an_event_without_any_answer_has_an_unknown_outcome(events, server):
    server.will_answer(RESET, RESET, RESET)
    with pytest.raises(Unavailable) as caught:
        create(events)
    assert caught.value.outcome_unknown


def test_a_refused_address_says_where(events, server):
    pointer = "/data/attributes/profile/data/attributes/email"
    server.will_answer(Answer(400, {"errors": [{"code": "invalid", "source": {"pointer": pointer}}]}))
    with pytest.raises(Refused) as caught:
        create(events)
    assert caught.value.pointers == (pointer,)
    assert ADDRESS not in str(caught.value)


def test_metrics_come_with_their_flows_in_one_request(events, server):
    server.will_answer(Answer(200, page(metric("ticket", "F1", "F2")) | {"included": [FLOW]}))
    [found] = events.metrics()
    known, unknown = Flow(flow_id="F1", status="live"), Flow(flow_id="F2", status="unknown")
    assert found == Metric(metric_id="M1", name="ticket", flows=(known, unknown))
    assert known.is_live
    assert not unknown.is_live
    assert len(server.received) == 1
    assert "include=flow-triggers" in server.received[0].raw_query


@pytest.mark.parametrize("status", [None, 1])
def test_a_flow_without_a_status_is_malformed(events, server, status):
    flow = resource("flow", "F1", status=status)
    server.will_answer(Answer(200, page(metric("ticket", "F1")) | {"included": [flow]}))
    with pytest.raises(Malformed):
        events.metrics()


def test_events_come_with_the_people_and_no_address_in_their_text(events, server):
    people = [resource("profile", "P1", email=ADDRESS), resource("profile", "P2", email=None)]
    server.will_answer(Answer(200, page(recorded()) | {"included": people}))
    [found] = events.events_of("M", since=NOON)
    assert (found.profile_id, found.email, found.at) == ("P1", ADDRESS, NOON)
    assert "F1" in found.event.texts
    assert ADDRESS not in repr(found)


@pytest.mark.parametrize("changes", [{"datetime": None}, {"datetime": "noon"}])
def test_an_event_without_a_time_is_malformed(events, server, changes):
    server.will_answer(Answer(200, page(recorded(**changes))))
    with pytest.raises(Malformed):
        list(events.events_of("M"))
