"""Flows of the account that a metric starts, made by a person in the web interface, and events on their way to them.

An accepted event is processed later. A repeat of its ``unique_id`` is dropped then: the first one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from pycontw_assets.sandbox.context import SimulationContext, locked
from pycontw_assets.sandbox.klaviyo.rendering import fill_in, render

FlowStatus = Literal["draft", "manual", "live"]

# Klaviyo's help article on transactional mails names these as the suppressions that hold for them, too.
_ALWAYS_SUPPRESSED = frozenset({"HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "SOFT_BOUNCE"})
_HTML = '<p><a href="{{ event.venue_url }}">Enter</a> <a href="{{ event.video_url }}">Watch</a></p>'


@dataclass(kw_only=True)
class Flow:
    """A flow with one mail. ``smart_sending`` skips whoever got another mail a few hours ago."""

    id: str
    message_id: str
    name: str
    metric_id: str
    status: FlowStatus = "live"
    transactional: bool = False
    smart_sending: bool = False
    archived: bool = False
    subject: str = "Your way in"
    html: str = _HTML
    created: datetime
    updated: datetime


@dataclass(frozen=True, kw_only=True)
class SentEvent:
    """An event as the interface took it. ``backfill``: it is recorded, and starts no flow."""

    metric: str
    properties: Mapping[str, Any]
    at: datetime
    unique_id: str | None
    backfill: bool


class Profile(Protocol):
    """The part of a profile that a flow looks at."""

    id: str
    attributes: dict[str, Any]
    properties: dict[str, Any]

    @property
    def email(self) -> str | None: ...

    @property
    def suppressions(self) -> Sequence[tuple[str, datetime]]: ...

    @property
    def can_receive_mail(self) -> bool: ...


class Switches(Protocol):
    event_processing: float
    flow_delay: float


class Account(Protocol):
    """The part of the account that flows use."""

    context: SimulationContext
    metrics: dict[str, str]

    @property
    def switches(self) -> Switches: ...

    def new_id(self, length: int) -> str: ...

    def metric_id(self, name: str) -> str: ...

    def later(self, seconds: float, act: Callable[[datetime], None], start: datetime | None = None) -> None: ...

    def record(self, metric: str, *, profile_id: str, properties: dict[str, Any], at: datetime) -> None: ...

    def was_mailed_lately(self, profile_id: str, at: datetime) -> bool: ...

    def deliver_from_flow(self, flow: Flow, profile_id: str, *, subject: str, html: str, at: datetime) -> None: ...


class Flows:
    """All flows, and the events that were accepted."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.context: SimulationContext = account.context
        self.by_id: dict[str, Flow] = {}
        self._seen: set[tuple[str, str, str]] = set()

    # -- by hand --------------------------------------------------------------------------------------

    @locked
    def make(self, /, metric: str, *, name: str = "Way in", **options: Any) -> Flow:
        """Make a flow as a person does. The web interface offers only metrics that have occurred."""
        if metric not in self._account.metrics.values():
            raise ValueError(f"no event of {metric} has occurred yet")
        now, new_id = self.context.now(), self._account.new_id
        flow = Flow(
            id=new_id(6),
            message_id=new_id(6),
            name=name,
            metric_id=self._account.metric_id(metric),
            created=now,
            updated=now,
            **options,
        )
        self.by_id[flow.id] = flow
        return flow

    @locked
    def prepare(self, /, metric: str, **options: Any) -> Flow:
        """Let the metric have occurred, and make a flow on it."""
        self._account.metric_id(metric)
        return self.make(metric, **options)

    def of(self, metric_id: str) -> list[Flow]:
        return [flow for flow in self.by_id.values() if flow.metric_id == metric_id]

    # -- events ---------------------------------------------------------------------------------------

    def accept(self, event: SentEvent, profile: Profile) -> None:
        """Take an event. It is processed after a while; what is wrong with it then, nobody hears."""
        delay = self._account.switches.event_processing
        if delay:
            self._account.later(delay, lambda at: self._process(event, profile, at))
        else:
            self._process(event, profile, self.context.now())

    def _process(self, event: SentEvent, profile: Profile, at: datetime) -> None:
        """Record an event once per profile, metric and ``unique_id``; without ``unique_id``, once per second."""
        mark = (profile.id, event.metric, event.unique_id or str(int(event.at.timestamp())))
        if mark in self._seen:
            return
        self._seen.add(mark)
        self._account.record(event.metric, profile_id=profile.id, properties=dict(event.properties), at=event.at)
        if event.backfill:
            return
        for flow in self.of(self._account.metric_id(event.metric)):
            if flow.status == "live" and not flow.archived:
                self._start(flow, event, profile, at)

    def _start(self, flow: Flow, event: SentEvent, profile: Profile, at: datetime) -> None:
        self._account.later(
            self._account.switches.flow_delay, lambda due: self._mail(flow, event, profile, due), start=at
        )

    def _mail(self, flow: Flow, event: SentEvent, profile: Profile, at: datetime) -> None:
        """Send the flow's mail, unless the flow was stopped meanwhile or the person may not be mailed."""
        is_stopped = flow.id not in self.by_id or flow.status != "live" or flow.archived
        if is_stopped or not profile.email or not _may_get(flow, profile):
            return
        if flow.smart_sending and self._account.was_mailed_lately(profile.id, at):
            return
        person = {**profile.attributes, **profile.properties}
        person |= {f"event.{name}": value for name, value in event.properties.items()}
        self._account.deliver_from_flow(
            flow,
            profile.id,
            subject=fill_in(flow.subject, person, as_html=False)[0],
            html=render(flow.html, person, as_html=True),
            at=at,
        )


def _may_get(flow: Flow, profile: Profile) -> bool:
    """Return whether the flow mails the person: a transactional mail reaches those who left the newsletter, too."""
    if not flow.transactional:
        return profile.can_receive_mail
    return not {reason for reason, _ in profile.suppressions} & _ALWAYS_SUPPRESSED
