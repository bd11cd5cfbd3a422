"""The simulated Klaviyo answers events with the mails of flows, as its documents describe it."""

from __future__ import annotations

from typing import Any

import pytest

METRIC, ADDRESS = "pycontw-ticket-usable", "buyer-one@example.org"


def event(unique_id: str = "one", address: str = ADDRESS, **more: Any) -> dict[str, Any]:
    attributes = {
        "properties": {"venue_url": "https://example.org/venue"},
        "unique_id": unique_id,
        "metric": {"data": {"type": "metric", "attributes": {"name": METRIC}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": address}}},
    }
    return {"type": "event", "attributes": attributes | more}


def hand_over(klaviyo: Any, *events: dict[str, Any]) -> list[int]:
    return [klaviyo.call("POST", "/events", body).status_code for body in events or (event(),)]


def test_a_live_flow_answers_each_event_once_with_its_properties(world, klaviyo, clock):
    flow = world.klaviyo.flows.prepare(METRIC)
    assert hand_over(klaviyo, event(), event(), event("two")) == [202, 202, 202]
    assert not world.outbox, "the flow takes a moment"
    clock.advance(1)
    assert [(mail.address, mail.campaign_id) for mail in world.outbox] == [(ADDRESS, flow.id)] * 2
    assert "https://example.org/venue" in world.outbox[0].html


def test_only_a_metric_that_occurred_can_start_a_flow(world, klaviyo):
    with pytest.raises(ValueError, match="has occurred yet"):
        world.klaviyo.flows.make(METRIC)
    hand_over(klaviyo, event(backfill=True))
    assert world.klaviyo.flows.make(METRIC).status == "live"


@pytest.mark.parametrize("change", [{"status": "draft"}, {"status": "manual"}, {"archived": True}])
def test_a_flow_that_is_not_live_answers_nothing(world, klaviyo, clock, change):
    world.klaviyo.flows.prepare(METRIC, **change)
    hand_over(klaviyo)
    clock.advance(60)
    assert not world.outbox


def test_a_backfilled_event_is_recorded_and_starts_no_flow(world, klaviyo, clock):
    world.klaviyo.flows.prepare(METRIC)
    hand_over(klaviyo, event(backfill=True))
    clock.advance(60)
    assert len(world.klaviyo.events) == 1
    assert not world.outbox


def test_accepted_is_not_processed(world, klaviyo, clock):
    world.klaviyo.flows.prepare(METRIC)
    world.klaviyo.switches.event_processing = 30
    hand_over(klaviyo, event(), event())
    assert not world.klaviyo.events
    clock.advance(31)
    assert len(world.outbox) == 1


@pytest.mark.parametrize(
    ("reason", "marketing", "transactional"),
    [
        (None, True, True),
        ("UNSUBSCRIBE", False, True),
        ("USER_SUPPRESSED", False, True),
        ("HARD_BOUNCE", False, False),
        ("SPAM_COMPLAINT", False, False),
    ],
)
def test_a_transactional_mail_reaches_more_people(world, klaviyo, clock, reason, marketing, transactional):
    flow = world.klaviyo.flows.prepare(METRIC)
    if reason:
        world.klaviyo.suppress(ADDRESS, reason)
    for flow.transactional, expected in ((False, marketing), (True, transactional)):
        before = len(world.outbox)
        hand_over(klaviyo, event(f"transactional {flow.transactional}"))
        clock.advance(1)
        assert len(world.outbox) - before == expected


def test_the_events_of_a_mail_name_its_flow(world, klaviyo, clock):
    flow = world.klaviyo.flows.prepare(METRIC)
    world.klaviyo.switches.bouncing_addresses = {"gone@example.org"}
    hand_over(klaviyo, event(), event("two", "gone@example.org"))
    clock.advance(1)
    for name, address in (("Received Email", ADDRESS), ("Bounced Email", "gone@example.org")):
        metric = world.klaviyo.metric_id(name)
        reply = klaviyo.get("/events", filter=f'equals(metric_id,"{metric}")', include="profile").json()
        [found] = reply["data"]
        assert found["attributes"]["event_properties"]["$flow"] == flow.id
        assert [profile["attributes"]["email"] for profile in reply["included"]] == [address]


def test_metrics_name_the_flows_that_they_start(world, klaviyo):
    flow = world.klaviyo.flows.prepare(METRIC, status="draft")
    reply = klaviyo.get("/metrics", include="flow-triggers", fields__flow="status,archived").json()
    [metric] = [row for row in reply["data"] if row["attributes"]["name"] == METRIC]
    assert metric["relationships"]["flow-triggers"]["data"] == [{"type": "flow", "id": flow.id}]
    assert [row["attributes"] for row in reply["included"]] == [{"status": "draft", "archived": False}]


def test_a_bulk_call_with_a_repeated_id_is_refused_whole(world, klaviyo):
    def bulk(*ids: str) -> int:
        rows = [
            {
                "type": "event-bulk-create",
                "attributes": {
                    "profile": {"data": {"type": "profile", "attributes": {"email": ADDRESS}}},
                    "events": {"data": [_without_profile(event(unique_id))]},
                },
            }
            for unique_id in ids
        ]
        body = {"type": "event-bulk-create-job", "attributes": {"events-bulk-create": {"data": rows}}}
        return int(klaviyo.call("POST", "/event-bulk-create-jobs", body).status_code)

    assert bulk("one", "two", "one") == 400
    assert not world.klaviyo.events
    assert bulk("one", "two") == 202
    assert len(world.klaviyo.events) == 2


def _without_profile(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "attributes": {key: value for key, value in body["attributes"].items() if key != "profile"}}
