"""Find letters in Klaviyo by the names of their campaigns, where the ledger does not know them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pycontw_assets.ledger.letters.letters import Letter
from pycontw_assets.send_email import names
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import SENT_STATUSES, Campaign
from pycontw_assets.send_email.rebuild_from_klaviyo import look_twice
from pycontw_assets.send_email.wait_policy import WaitPolicy


def find_letters(
    client: KlaviyoClient, waits: WaitPolicy, edition: str, *, letter_key: str = "", now: datetime
) -> list[Letter]:
    """Return the letters of the edition that left, or may have: all, or those of one key.

    Drafts are left out: nobody was mailed by them, and a letter that is announced again takes its draft up.
    """
    text = letter_key or names.letter_prefix(edition)
    found = [*client.find_campaigns(text), *client.find_campaigns(text, archived=True)]
    campaigns = {c.campaign_id: c for c in found if names.read_letter(c.name, edition)}
    return recovered(edition, look_twice(client, waits, list(campaigns.values())), now)


def recovered(edition: str, campaigns: Iterable[Campaign], now: datetime) -> list[Letter]:
    """Return one letter per key. Of several campaigns, one whose mail may have left counts. Pure."""
    letters: dict[str, Letter] = {}
    for campaign in campaigns:
        named = names.read_letter(campaign.name, edition)
        if named is None or campaign.status == "Draft":
            continue
        letter = _letter(edition, *named, campaign=campaign, now=now)
        if letter.letter_key not in letters or letters[letter.letter_key].state == "cancelled":
            letters[letter.letter_key] = letter
    return list(letters.values())


def _letter(edition: str, families: str, letter_key: str, *, campaign: Campaign, now: datetime) -> Letter:
    created = campaign.created_at or now
    has_ended = campaign.status in SENT_STATUSES or campaign.status.startswith("Cancelled")
    is_sent = campaign.status in SENT_STATUSES
    return Letter(
        edition=edition,
        letter_key=letter_key,
        families=families,
        state="sent" if is_sent else "cancelled" if has_ended else "accepted",
        campaign_name=campaign.name,
        created_at=created,
        campaign_intended_at=created,
        campaign_id=campaign.campaign_id,
        message_id=campaign.message_id,
        send_intended_at=created,
        accepted_at=created,
        ended_at=now if has_ended else None,
        remote_status=campaign.status,
    )
