"""The events of one person's invitations, as Klaviyo records them about a profile: delivered, opened, clicked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from pycontw_assets.ledger.batches import Batch
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.flow_state import flow_state
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import ProfileEvent
from pycontw_assets.send_email.recipients import is_about

_MARGIN = timedelta(days=1)  # between Klaviyo's clock and ours
# The name of a metric -> what it says of a mail, in the order in which things happen.
_WORDS = {
    "Received Email": "delivered",
    "Bounced Email": "bounced",
    "Dropped Email": "dropped before it left",
    "Opened Email": "opened (or its mail program did)",
    "Clicked Email": "a link in it clicked",
    "Unsubscribed": "unsubscribed by way of it",
}


def describe_mails(klaviyo: KlaviyoClient, invited: Sequence[tuple[str | None, Batch]]) -> Iterator[str]:
    """Yield a line per invitation: profile id and batch. Without a profile id nobody can be asked about.

    An event may show a while after it happened, so a word that is missing says little.
    """
    metrics = klaviyo.metrics()
    flow_ids = _flow_ids(klaviyo) if any(batch.way == "event" for _, batch in invited) else frozenset[str]()
    for profile_id, batch in invited:
        if profile_id is None:
            continue
        events = klaviyo.profile_events(profile_id, _since(batch))
        names = {metrics.get(event.metric_id or "", "") for event in events if _concerns(event, batch, flow_ids)}
        yield f"Klaviyo: the mail of batch {batch.batch_key}: {describe_events(names)}"


def describe_events(names: Collection[str]) -> str:
    """Return what the metrics of a mail's events say of it. Pure."""
    return ", ".join(word for name, word in _WORDS.items() if name in names) or "nothing recorded (yet)"


def _concerns(event: ProfileEvent, batch: Batch, flow_ids: Iterable[str]) -> bool:
    return is_about(event, batch) or (batch.way == "event" and not event.texts.isdisjoint(flow_ids))


def _flow_ids(klaviyo: KlaviyoClient) -> frozenset[str]:
    return flow_state(EventsClient(klaviyo).metrics()).flow_ids


def _since(batch: Batch) -> datetime:
    return batch.created_at - _MARGIN
