"""The recipients of a campaign: Klaviyo's report says how many there are, the events of each profile say who.

Both may be late, so one proves the other. In doubt nobody is said to have got no mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from pycontw_assets.api.client import Malformed
from pycontw_assets.ledger.batches import Batch, Invitation
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient, Timeframe
from pycontw_assets.send_email.klaviyo_records import UNMAILED_ENDS, ProfileEvent
from pycontw_assets.send_email.wait_policy import WaitPolicy

_UNDELIVERED = frozenset({"Bounced Email", "Dropped Email"})
_MARGIN = timedelta(days=1)  # between Klaviyo's clock and ours
_AT_ONCE = 4  # people asked about at a time
_MONTH = timedelta(days=29)
_REPORTED_WITHIN = timedelta(hours=1)  # of the end. Assumed: the reference does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The people of a batch, by address key, whose mail left.

    ``reported``: how many Klaviyo's report counts; ``None``: it does not show the campaign. ``unasked``: people who may
    have got the mail and have no profile to ask about.
    """

    received: frozenset[str] = frozenset()
    bounced: frozenset[str] = frozenset()
    reported: int | None = None
    unasked: int = 0


def is_unmailed_end(remote_status: str | None) -> bool:
    """Whether a campaign with this status certainly ended before its first mail."""
    return remote_status in UNMAILED_ENDS


def describe_end(remote_status: str | None) -> str:
    """Return what the end of a campaign that was not sent means for its people, in the words of every view."""
    if is_unmailed_end(remote_status):
        return "its people got no mail"
    return "some of its people may have got the mail"


def read_recipients(client: KlaviyoClient, batch: Batch, people: Sequence[Invitation], now: datetime) -> Recipients:
    """Ask Klaviyo who of the batch got its mail. Everybody is asked about, also people marked as invited."""
    metrics = client.metrics()
    if not metrics:
        raise Malformed("Klaviyo", "read metrics", "the answer names no metric")
    created_at = min(batch.created_at, now)
    timeframe: Timeframe = "last_30_days" if now - created_at < _MONTH else "last_365_days"
    ids = [batch.campaign_id] if batch.campaign_id else []
    reported = client.count_recipients(ids, metric_id=min(metrics), timeframe=timeframe)
    undelivered = {metric_id for metric_id, name in metrics.items() if name in _UNDELIVERED}
    asked = {person.address_key: person.profile_id for person in people if person.profile_id}

    def metrics_about(profile_id: str) -> set[str | None]:
        """Return the metrics of the events that name the campaign."""
        events = client.profile_events(profile_id, created_at - _MARGIN)
        return {event.metric_id for event in events if _is_about(event, batch)}

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        about = dict(zip(asked, pool.map(metrics_about, asked.values()), strict=True))
    mailed = {key for key, seen in about.items() if seen}
    received = {key for key in mailed if about[key] - undelivered}
    return Recipients(
        received=frozenset(received),
        bounced=frozenset(mailed - received),
        reported=reported.get(batch.campaign_id or ""),
        unasked=sum(_may_be_mailed(person, batch) for person in people if not person.profile_id),
    )


def read_recipients_twice(
    client: KlaviyoClient, waits: WaitPolicy, batch: Batch, people: Sequence[Invitation], *, now: datetime
) -> tuple[Recipients, Recipients]:
    """Return two readings a while apart. Mails that left at the last moment show in the second."""
    first = read_recipients(client, batch, people, now)
    waits.sleep(waits.draft_apart)
    return first, read_recipients(client, batch, people, now)


def doubt_about(
    batch: Batch, remote_status: str | None, readings: tuple[Recipients, Recipients], now: datetime
) -> str | None:
    """Return why the readings do not prove who got no mail; ``None``: they do. ``remote_status``: ``None`` if gone."""
    first, second = readings
    named = len(second.received | second.bounced)
    if first != second:
        return "what Klaviyo says of it still changes; run this again in ten minutes"
    if second.unasked:
        return f"{second.unasked} of its people have no profile that Klaviyo could be asked about"
    if second.reported is None and remote_status is None:
        return "Klaviyo does not know its campaign any more"
    if second.reported is None and now - (batch.ended_at or now) < _REPORTED_WITHIN:
        return "Klaviyo's report does not show its campaign yet; run this again in an hour"
    if named != (second.reported or 0):
        counted = "does not show it" if second.reported is None else f"counts {second.reported} recipients"
        return (
            f"Klaviyo's report {counted}, and the events of its people name {named}. One of them may be late; run "
            "this again in an hour"
        )
    return None


def _may_be_mailed(person: Invitation, batch: Batch) -> bool:
    """Whether the person was still in the batch when its campaign ended."""
    return person.state in ("claimed", "accepted") or person.reason == batch.remote_status


def _is_about(event: ProfileEvent, batch: Batch) -> bool:
    """Whether an event names the campaign: by its id, by its message's id, or by its name, which has the batch key."""
    ids = {batch.campaign_id, batch.message_id}
    return any(text in ids or text.endswith(f"-{batch.batch_key}") for text in event.texts)
