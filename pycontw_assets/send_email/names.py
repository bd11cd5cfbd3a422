"""The names of everything this pipeline makes in Klaviyo, and how each is read back. Pure.

Names are the only way to find these things again when the ledger is lost. So a name is put together and taken apart
here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from pycontw_assets.records import FAMILIES, EventPartition, Family

_TICKET_HOLDER_LIST = re.compile(rf"pycontw-(20[0-9]{{2}})-({'|'.join(FAMILIES)})-([0-9]{{1,18}})-ticket-holders")


def ticket_holder_list(partition: EventPartition) -> str:
    """Return the name of an event's cumulative list of ticket holders."""
    return f"pycontw-{partition.key}-ticket-holders"


def ticket_holder_list_partition(list_name: str) -> EventPartition | None:
    """Return the event of a ticket-holder list. The name keeps the event's key, whatever the event is called now."""
    match = _TICKET_HOLDER_LIST.fullmatch(list_name)
    if match is None:
        return None
    family = next(family for family in FAMILIES if family == match[2])
    return EventPartition(int(match[3]), match[1], family)


def pool_list(edition: str, number: int) -> str:
    """Return the name of one list of the pool, counted from 1. A batch reserves one of them for its campaign."""
    return f"{_pool_prefix(edition)}{number:02d}"


def is_pool_list(list_name: str, edition: str) -> bool:
    return list_name.startswith(_pool_prefix(edition))


def _pool_prefix(edition: str) -> str:
    return f"pycontw-{edition}-invitations-"


def campaign(edition: str, created_at: datetime, batch_key: str) -> str:
    """Return the name of a batch's campaign. It ends with the batch key, by which the campaign is looked up."""
    return f"{campaign_prefix(edition)}{created_at:%Y%m%dT%H%MZ}-{batch_key}"


def campaign_prefix(edition: str) -> str:
    return f"pycontw-{edition}-invite-"


def campaign_batch_key(campaign_name: str, edition: str) -> str:
    return campaign_name.removeprefix(campaign_prefix(edition)).rpartition("-")[2]


def sent_batch_key(campaign_name: str, edition: str) -> str | None:
    """Return the batch key of a name exactly as ``campaign`` makes it; ``None`` for copies that people made."""
    match = re.fullmatch(rf"{campaign_prefix(edition)}[0-9]{{8}}T[0-9]{{4}}Z-([0-9a-f]{{12}})", campaign_name)
    return match[1] if match else None


def letter(edition: str, families: Collection[Family], letter_key: str) -> str:
    """Return the name of a letter's campaign: a lost ledger finds the letter by it, and for whom it was."""
    return f"{letter_prefix(edition)}{'-'.join(sorted(families))}-{letter_key}"


def letter_prefix(edition: str) -> str:
    return f"pycontw-{edition}-letter-"


def read_letter(campaign_name: str, edition: str) -> tuple[str, str] | None:
    """Return families (with blanks between) and key of a name exactly as ``letter`` makes it; ``None``: another."""
    family = f"(?:{'|'.join(FAMILIES)})"
    match = re.fullmatch(rf"{letter_prefix(edition)}({family}(?:-{family})*)-([0-9a-f]{{12}})", campaign_name)
    return (match[1].replace("-", " "), match[2]) if match else None


def letter_template(edition: str, letter_key: str, version: str) -> str:
    """Return the name of the template of one version of a letter: the same words may have another look."""
    return f"{letter_prefix(edition)}{letter_key}-{version}"


def left_out_list(edition: str, letter_key: str) -> str:
    """Return the name of the list of profiles that a letter leaves out: second ones of somebody who has another."""
    return f"{letter_prefix(edition)}{letter_key}-left-out"


def template(edition: str, version: str) -> str:
    """Return the name of the template of one version of the invitation."""
    return f"pycontw-{edition}-invitation-{version}"


def batch_key_property(edition: str) -> str:
    """Return the profile property that holds the batch key of somebody's invitation."""
    return f"pycontw_{edition}_invite_key"


def ticket_property(edition: str) -> str:
    """Return the profile property that holds the ticket family."""
    return f"pycontw_{edition}_ticket"


def discord_property(edition: str) -> str:
    """Return the profile property that holds the person's own link to the Discord guild."""
    return f"pycontw_{edition}_discord_url"


DISCORD_EVENT_PROPERTY = "discord_url"
"""The property of an invitation's event that holds the person's own link to the Discord guild."""

INVITATION_METRIC = "pycontw-ticket-usable"
"""The metric of the events that invite people. It is the same in every edition, so that its flow is made once."""


def invitation_event(edition: str, digest: str) -> str:
    """Return the unique id of the event that invites one person. ``digest``: of the person and the access period."""
    return f"pycontw-{edition}-invite-{digest}"
