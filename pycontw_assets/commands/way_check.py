"""The part of ``doctor`` about the way of invitations: whom each reaches, and the set-up of the flow step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from pycontw_assets.pipeline.checks import Finding
from pycontw_assets.pipeline.steps import links_in_mail
from pycontw_assets.send_email.by_event.event_sending import Events
from pycontw_assets.send_email.by_event.flow_state import SETUP, FlowState, flow_state
from pycontw_assets.send_email.by_event.invitation_event import TEST_EDITION, event_properties
from pycontw_assets.send_email.by_event.reach import Reach
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.settings import Settings

_REASONS = {
    "who left the newsletter": "UNSUBSCRIBED",
    "suppressed by hand": "USER_SUPPRESSED",
    "whose mailbox bounced": "HARD_BOUNCE",
    "who reported spam": "SPAM_COMPLAINT",
}


class TestableEvents(Events, Protocol):
    """The calls about events, with one that starts no flow."""

    def create_event(
        self,
        email: str,
        *,
        metric: str,
        event_id: str,
        properties: Any,
        starts_flows: bool = True,
    ) -> None: ...


def check_way(events: TestableEvents, settings: Settings, *, records_event: bool) -> Iterator[Finding]:
    """Say whom the invitations reach. By event, check every step of the set-up; nothing is sent before all are done."""
    if records_event:
        yield _record_event(events, settings)
    yield from _check_reach(Reach(settings.invite_via, settings.invite_flow_is_transactional))
    if settings.invite_via == "event" or records_event:
        yield from _check_flow(flow_state(events.metrics()), settings)


def _record_event(events: TestableEvents, settings: Settings) -> Finding:
    """Record an event of ``KLAVIYO_REPLY_TO``, so that Klaviyo offers the metric as a trigger. It starts no flow."""
    links = links_in_mail(settings)
    events.create_event(
        settings.klaviyo_reply_to,
        metric=INVITATION_METRIC,
        event_id="pycontw-test-event",
        properties=event_properties(TEST_EDITION, "individual", period=1, batch_key=TEST_EDITION, links=links),
        starts_flows=False,
    )
    return Finding("ok", "test event", f"recorded for the address of KLAVIYO_REPLY_TO, metric {INVITATION_METRIC}")


def _check_reach(reach: Reach) -> Iterator[Finding]:
    """Explain on one screen who gets an invitation in the present way, and in the others."""
    others = {
        "by campaign": Reach("campaign"),
        "by event": Reach("event"),
        "by event with a transactional mail": Reach("event", is_transactional=True),
    }
    is_transactional = reach.way == "event" and reach.is_transactional
    now = f"by {reach.way}{' with a transactional mail' if is_transactional else ''}"
    yield Finding("ok", "invitations", f"{now} (INVITE_VIA, INVITE_FLOW_IS_TRANSACTIONAL)")
    for people, reason in _REASONS.items():
        ways = [name for name, other in others.items() if other.is_reached(reason)]
        state = "get the mail" if reach.is_reached(reason) else "get no mail; an alarm gives their numbers"
        elsewhere = f"; {ways[0]} they get it" if ways and not reach.is_reached(reason) else ""
        yield Finding("ok", "reach", f"buyers {people} {state}{elsewhere}")


def _check_flow(flow: FlowState, settings: Settings) -> Iterator[Finding]:
    """Yield one finding per step of the set-up. Only the first step that is not done has something to do."""
    if flow.metric_id is None:
        yield Finding("FAIL", "flow, step 1 of 4", flow.problem or "", f"see {SETUP}")
        return
    yield Finding("ok", "flow, step 1 of 4", f"Klaviyo knows the metric {INVITATION_METRIC}")
    if not flow.flow_ids:
        fix = (
            "in Klaviyo make a flow from scratch; its trigger is this metric, without filters; one mail with the "
            f"invitation's template, Smart Sending off. See {SETUP}"
        )
        yield Finding("FAIL", "flow, step 2 of 4", flow.problem or "", fix)
        return
    yield Finding("ok", "flow, step 2 of 4", "a flow starts with it")
    if flow.problem:
        yield Finding("FAIL", "flow, step 3 of 4", flow.problem, "nobody is invited before; the next poll goes on then")
        return
    yield Finding("ok", "flow, step 3 of 4", "exactly one flow is live")
    if settings.invite_flow_is_transactional:
        what = "its mail counts as transactional; whether Klaviyo approved it is not tried"
        yield Finding("ok", "flow, step 4 of 4", what)
    else:
        fix = (
            "ask Klaviyo to approve the mail as transactional, then set INVITE_FLOW_IS_TRANSACTIONAL=1, and people who "
            "left the newsletter get it, too"
        )
        yield Finding("warn", "flow, step 4 of 4", "its mail counts as marketing", fix)
