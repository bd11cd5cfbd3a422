"""Rebuild the invitations of a lost ledger from the events that Klaviyo recorded: each names the person and the period.

An event that was recorded counts as an invitation, whether its mail was seen or not: a missing mail can be sent, a
second one cannot be taken back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pycontw_assets.api.client import Misconfigured
from pycontw_assets.ledger.batches import Batch, Invitation, known_batches
from pycontw_assets.ledger.grants import Grant
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.send_email.by_event.events_client import EventsClient, RecordedEvent
from pycontw_assets.send_email.by_event.invitation_event import event_id, period_of
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.send_email.rebuild_from_klaviyo import HolderList, RebuiltInvitations

_BATCH_KEY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RebuiltEvents:
    """The batches of events and, by batch key, their invitations. ``nameless``: events of people without an address.

    ``periods``: address key -> the last period that somebody was invited for.
    """

    batches: list[Batch] = field(default_factory=list)
    invitations: dict[str, list[Invitation]] = field(default_factory=dict)
    periods: Mapping[str, int] = field(default_factory=dict)
    nameless: int = 0


def find_events(events: EventsClient, edition: str) -> list[RecordedEvent]:
    """Return every event that invited somebody of the edition, the newest first."""
    return [
        record
        for metric_id in _metric_ids(events)
        for record in events.events_of(metric_id)
        if period_of(record.properties, edition) is not None
    ]


def count_unknown_events(events: EventsClient, ledger: Ledger, edition: str) -> int:
    """Count the events of the edition, among the newest ones, that are of no batch of this ledger.

    There are none unless the ledger was lost or is an older one, or another installation works with the account.
    """
    try:
        metric_ids = _metric_ids(events)
    except Misconfigured:  # a key that may not read metrics never invited anybody by event, which begins with that
        return 0
    latest = [record for metric_id in metric_ids for record in events.latest_events(metric_id)]
    keys = [_batch_key(record, edition) for record in latest if period_of(record.properties, edition) is not None]
    known = known_batches(ledger, set(keys)) if keys else set()
    return sum(key not in known for key in keys)


def _metric_ids(events: EventsClient) -> list[str]:
    return [metric.metric_id for metric in events.metrics() if metric.name == INVITATION_METRIC]


def rebuild_events(
    edition: str,
    recorded: Sequence[RecordedEvent],
    holder_lists: Sequence[HolderList],
    *,
    pseudonym: Callable[[str], str],
    followed: Iterable[str],
) -> RebuiltEvents:
    """Make batches and invitations of the recorded events. Pure."""
    home_of = {key: held.partition.key for held in reversed(holder_lists) for key in held.members}
    fallback = min(followed, default=None) or min((held.partition.key for held in holder_lists), default=edition)
    batches: dict[str, Batch] = {}
    found: dict[tuple[str, int], tuple[str, Invitation]] = {}
    for record in recorded:
        period = period_of(record.properties, edition)
        if period is None or not record.email:
            continue
        key = pseudonym(record.email)
        batch_key = _batch_key(record, edition)
        batches.setdefault(batch_key, _batch(batch_key, edition, home_of.get(key, fallback), record.at))
        invitation = Invitation(
            address_key=key,
            period=period,
            state="accepted",
            profile_id=record.profile_id,
            event_id=event_id(edition, key, period),
            handed_at=record.at,
        )
        found[key, period] = (batch_key, invitation)
    invitations: dict[str, list[Invitation]] = {}
    periods: dict[str, int] = {}
    for (key, period), (batch_key, invitation) in sorted(found.items()):
        invitations.setdefault(batch_key, []).append(invitation)
        periods[key] = period
    return RebuiltEvents(
        batches=[batch for key, batch in sorted(batches.items()) if key in invitations],
        invitations=invitations,
        periods=periods,
        nameless=sum(not record.email for record in recorded),
    )


def _batch_key(record: RecordedEvent, edition: str) -> str:
    key = record.properties.get("batch")
    return key if isinstance(key, str) and _BATCH_KEY.fullmatch(key) else f"events-{edition}"


def _batch(batch_key: str, edition: str, home: str, at: datetime) -> Batch:
    return Batch(
        batch_key=batch_key,
        edition=edition,
        partition_key=home,
        poll_id="rebuilt",
        state="sent",
        campaign_name="",
        created_at=at,
        accepted_at=at,
        ended_at=at,
        way="event",
    )


def merged(by_campaign: RebuiltInvitations, by_event: RebuiltEvents) -> RebuiltInvitations:
    """Return the invitations of both ways. Of a person with an event, no campaign counts beside it."""
    rest = {
        batch_key: [item for item in items if item.address_key not in by_event.periods]
        for batch_key, items in by_campaign.invitations.items()
    }
    # Profiles carry the key of a batch whose people were invited by event after all.
    empty = {batch_key for batch_key in by_campaign.unknown if not rest.get(batch_key)}
    return replace(
        by_campaign,
        batches=[*(batch for batch in by_campaign.batches if batch.batch_key not in empty), *by_event.batches],
        invitations={**{key: items for key, items in rest.items() if key not in empty}, **by_event.invitations},
        unknown=tuple(key for key in by_campaign.unknown if key not in empty),
    )


def continued(grants: Sequence[Grant], by_event: RebuiltEvents, edition: str, home: str) -> list[Grant]:
    """Return the grants with the periods that events were handed over for, and ended ones of people without a ticket.

    A next purchase then begins a period that no event was handed over for: Klaviyo drops an event that it knows.
    """
    present = {grant.address_key for grant in grants}
    ended = [
        Grant(edition, key, period, home, "revoked", added_by_us=True)
        for key, period in sorted(by_event.periods.items())
        if key not in present
    ]
    return [
        *(replace(grant, period=max(grant.period, by_event.periods.get(grant.address_key, 1))) for grant in grants),
        *ended,
    ]
