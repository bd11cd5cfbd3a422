"""Whether people of a batch may be invited again: only those whose mail is known not to have left."""

from __future__ import annotations

from pycontw_assets.api.client import NotFound
from pycontw_assets.ledger.batches import Batch
from pycontw_assets.ledger.database.tables import BatchState
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import SENT_STATUSES

_WHY_NOT: dict[BatchState, str] = {
    "open": "it is not sent yet, and the next polls go on with it",
    "accepted": "its campaign is on its way; wait until a poll says how it ended",
    "sent": "it was sent",
    "empty": "it never had a campaign: mail can reach nobody in it, or its people went into another batch",
}


def refusal(batch: Batch, remote_status: str | None) -> str | None:
    """Return why a batch must not be released; ``None``: it may be. ``remote_status``: ``None`` without a campaign."""
    if batch.way == "event" and batch.state == "sent":
        return "its events were handed over, and each person may have got the mail; see `trace`"
    if batch.state in _WHY_NOT:
        return _WHY_NOT[batch.state]
    if remote_status is None or remote_status.startswith("Cancelled"):
        return None
    if remote_status in SENT_STATUSES:
        return f"Klaviyo says that its campaign is {remote_status}"
    return (
        f"Klaviyo says that its campaign is {remote_status}, so it may still be sent; delete or cancel it there first"
    )


def campaign_status(client: KlaviyoClient, batch: Batch) -> str | None:
    """Return the present status in Klaviyo. Of several campaigns with the batch's key, one that is no draft counts."""
    if batch.campaign_id is not None:
        try:
            return client.get_campaign(batch.campaign_id).status
        except NotFound:
            return None
    key = batch.batch_key
    campaigns = (*client.find_campaigns(key), *client.find_campaigns(key, archived=True))
    statuses = [campaign.status for campaign in campaigns]
    return next((status for status in statuses if status != "Draft"), "Draft" if statuses else None)
