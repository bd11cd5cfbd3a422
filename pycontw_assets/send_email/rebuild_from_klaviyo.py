"""Rebuild the invitations of a lost ledger from Klaviyo alone.

Every profile that was ever in a batch has the batch's key, and every campaign has it in its name. In doubt somebody
counts as invited: a missing mail can be sent, a second one cannot be taken back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from pycontw_assets.ledger.batches import Batch, Invitation, made_campaigns
from pycontw_assets.ledger.database.tables import BatchState
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email import names
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import SENT_STATUSES, Campaign, Profile
from pycontw_assets.send_email.wait_policy import WaitPolicy

_BATCH_KEY = re.compile(r"[A-Za-z0-9-]{1,64}")
_PAGE = 100  # campaigns, as many as Klaviyo answers at once
_NO_CAMPAIGN = "no such campaign"


@dataclass(frozen=True, slots=True)
class HolderList:
    """A ticket-holder list as it was read. ``members``: pseudonym -> profile."""

    partition: EventPartition
    list_id: str
    members: Mapping[str, Profile]


@dataclass(frozen=True, slots=True)
class RebuiltInvitations:
    """The batches and, by batch key, their invitations.

    ``unsent``: names of campaigns that are drafts, whose people are not invited. ``unknown``: batch keys without a
    campaign.
    """

    batches: list[Batch] = field(default_factory=list)
    invitations: dict[str, list[Invitation]] = field(default_factory=dict)
    unsent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def find_invitations(client: KlaviyoClient, edition: str) -> list[Campaign]:
    """Return every campaign that ever invited people of the edition, with archived ones, oldest first."""
    prefix = names.campaign_prefix(edition)
    campaigns = (*client.find_campaigns(prefix), *client.find_campaigns(prefix, archived=True))
    return list({c.campaign_id: c for c in campaigns if c.name.startswith(prefix)}.values())


def count_unknown_campaigns(client: KlaviyoClient, ledger: Ledger, edition: str) -> int:
    """Count the latest campaigns of the edition that have left, or may have, and that the ledger did not make.

    There are none unless the ledger is an older one, or another installation works with the account. Whatever the
    number of campaigns, one page is read where the newest are known.
    """
    prefix = names.campaign_prefix(edition)
    unknown: set[str] = set()
    for archived in (False, True):
        for page in _in_pages(client.latest_campaigns(prefix, archived=archived)):
            keys = {c.campaign_id: names.sent_batch_key(c.name, edition) for c in page if c.status != "Draft"}
            made = made_campaigns(ledger, [key for key in keys.values() if key])
            unknown |= {campaign_id for campaign_id, key in keys.items() if key and key not in made}
            if made:
                break
    return len(unknown)


def _in_pages(campaigns: Iterable[Campaign]) -> Iterator[list[Campaign]]:
    rest = iter(campaigns)
    while page := list(islice(rest, _PAGE)):
        yield page


def look_twice(client: KlaviyoClient, waits: WaitPolicy, campaigns: Sequence[Campaign]) -> Iterator[Campaign]:
    """Yield the campaigns, with the drafts read again after a while. Only then is it sure that a draft was not sent."""
    drafts = {c.campaign_id for c in campaigns if c.status == "Draft"}
    if drafts:
        waits.sleep(waits.draft_apart)
    for campaign in campaigns:
        if campaign.campaign_id not in drafts:
            yield campaign
        elif client.send_job(campaign.campaign_id) is not None:
            yield replace(campaign, status="Unknown")
        else:
            yield replace(campaign, status=client.get_campaign(campaign.campaign_id).status)


def rebuild_invitations(
    edition: str,
    holder_lists: Sequence[HolderList],
    campaigns: Iterable[Campaign],
    *,
    followed: Collection[str],
    list_names: Mapping[str, str],
    now: datetime,
) -> RebuiltInvitations:
    """Return the batches and their invitations. A batch belongs to the event of most of its people.

    ``followed``: keys of partitions that are still polled. Only there a campaign on its way is followed to its end.
    ``list_names``: list id -> name.
    """
    campaign_of = _by_batch_key(edition, campaigns)
    unsent = {key for key, campaign in campaign_of.items() if campaign.status == "Draft"}
    people: dict[str, dict[str, Profile]] = {}
    homes: dict[str, Counter[str]] = {}
    for held in holder_lists:
        for address_key, profile in held.members.items():
            batch_key = _batch_key_of(profile, edition)
            if batch_key is not None and batch_key not in unsent:
                people.setdefault(batch_key, {}).setdefault(address_key, profile)
                homes.setdefault(batch_key, Counter())[held.partition.key] += held.partition.key in followed
    fallback = min(followed, default=None) or min((held.partition.key for held in holder_lists), default=edition)
    batches = []
    for key in sorted((campaign_of.keys() | people.keys()) - unsent):
        batch = _blank(key, edition, home=_most_common(homes.get(key), fallback), now=now)
        campaign = campaign_of.get(key)
        batches.append(_as_sent(batch, campaign, list_names) if campaign else _as_unknown(batch, people[key]))
    return RebuiltInvitations(
        batches=batches,
        invitations=_one_each({key: _invitations(people[key], campaign_of.get(key)) for key in people}),
        unsent=tuple(sorted(campaign_of[key].name for key in unsent)),
        unknown=tuple(batch.batch_key for batch in batches if batch.campaign_id is None and batch.state != "empty"),
    )


def _batch_key_of(profile: Profile, edition: str) -> str | None:
    value = profile.properties.get(names.batch_key_property(edition))
    return value if isinstance(value, str) and _BATCH_KEY.fullmatch(value) else None


def _by_batch_key(edition: str, campaigns: Iterable[Campaign]) -> dict[str, Campaign]:
    """Return one campaign per batch key. Of several, one that is no draft counts."""
    campaign_of: dict[str, Campaign] = {}
    for campaign in campaigns:
        key = names.campaign_batch_key(campaign.name, edition)
        if key not in campaign_of or campaign_of[key].status == "Draft":
            campaign_of[key] = campaign
    return campaign_of


def _most_common(homes: Counter[str] | None, fallback: str) -> str:
    ranked = sorted((homes or {}).items(), key=lambda item: (-item[1], item[0]))
    return ranked[0][0] if ranked and ranked[0][1] else fallback


def _blank(key: str, edition: str, *, home: str, now: datetime) -> Batch:
    return Batch(
        batch_key=key,
        edition=edition,
        partition_key=home,
        poll_id="rebuilt",
        state="accepted",
        campaign_name="unknown",
        created_at=now,
    )


def _as_sent(batch: Batch, campaign: Campaign, list_names: Mapping[str, str]) -> Batch:
    state, created = _state(campaign.status), campaign.created_at or batch.created_at
    list_id = campaign.included_lists[0] if campaign.included_lists else None
    return replace(
        batch,
        state=state,
        campaign_name=campaign.name,
        created_at=created,
        send_at=campaign.send_at,
        list_name=list_names.get(list_id or ""),
        list_id=list_id,
        campaign_id=campaign.campaign_id,
        message_id=campaign.message_id,
        campaign_intended_at=created,
        send_intended_at=created,
        accepted_at=created,
        ended_at=None if state == "accepted" else batch.created_at,
        remote_status=campaign.status,
    )


def _as_unknown(batch: Batch, people: Mapping[str, Profile]) -> Batch:
    """Complete a batch without a campaign. It is empty if mail reaches nobody of it. Otherwise a person decides."""
    is_unreachable = all(profile.can_receive_email is False for profile in people.values())
    return replace(
        batch,
        state="empty" if is_unreachable else "cancelled",
        ended_at=batch.created_at,
        remote_status=_NO_CAMPAIGN,
    )


def _state(status: str) -> BatchState:
    if status in SENT_STATUSES:
        return "sent"
    return "cancelled" if status.startswith("Cancelled") else "accepted"


def _invitations(people: Mapping[str, Profile], campaign: Campaign | None) -> list[Invitation]:
    """Return the invitations of one batch. The end of one that was not sent is their reason: alarms look for it."""
    stopped = campaign.status if campaign and _state(campaign.status) == "cancelled" else None
    return [
        _invitation(key, (stopped or _barred(profile)) if campaign else (_barred(profile) or _NO_CAMPAIGN), profile)
        for key, profile in sorted(people.items())
    ]


def _one_each(invitations: Mapping[str, list[Invitation]]) -> dict[str, list[Invitation]]:
    """Keep one invitation of each person, who may have profiles in several spellings: the one that was sent, if any."""
    batch_of: dict[str, str] = {}
    for state in ("accepted", "unreachable"):
        for batch_key, items in invitations.items():
            for item in items:
                if item.state == state:
                    batch_of.setdefault(item.address_key, batch_key)
    return {
        batch_key: [item for item in items if batch_of[item.address_key] == batch_key]
        for batch_key, items in invitations.items()
    }


def _barred(profile: Profile) -> str | None:
    if profile.can_receive_email is not False:
        return None
    return "; ".join(profile.suppressions) or profile.consent or "suppressed"


def _invitation(key: str, reason: str | None, profile: Profile) -> Invitation:
    return Invitation(
        address_key=key,
        period=1,
        state="unreachable" if reason else "accepted",
        profile_id=profile.profile_id,
        reason=reason,
    )
