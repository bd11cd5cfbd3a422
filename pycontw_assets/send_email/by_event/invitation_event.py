"""The event that invites one person: its id and its properties. Pure.

The id follows from edition, pseudonym and access period, so whoever hands the event over again hands over the same one,
also with a rebuilt ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycontw_assets.records import Family
from pycontw_assets.send_email.names import DISCORD_EVENT_PROPERTY, invitation_event

TEST_EDITION = "test"
"""The edition of the event that lets the metric exist before anybody is invited."""


@dataclass(frozen=True, slots=True)
class Links:
    """The links that the flow's mail shows. ``video_url``: ``None`` where there is no video."""

    venue_url: str
    video_url: str | None


def event_id(edition: str, address_key: str, period: int) -> str:
    """Return the id of an invitation's event. It does not give the pseudonym away."""
    digest = hashlib.sha256(f"{edition} {address_key} {period}".encode()).hexdigest()
    return invitation_event(edition, digest[:32])


def repeated_event_id(edition: str, address_key: str, period: int, repeat_id: str) -> str:
    """Return the id of the event by which an invitation is sent once more on purpose."""
    return f"{event_id(edition, address_key, period)}-{repeat_id}"


def event_properties(
    edition: str, family: Family, *, period: int, batch_key: str, links: Links, discord_url: str | None = None
) -> dict[str, Any]:
    """Return what the flow's mail may show, and what rebuilds a lost ledger.

    Nothing in it is personal but ``discord_url``, the person's own link where Discord is a venue.
    """
    discord = {DISCORD_EVENT_PROPERTY: discord_url} if discord_url is not None else {}
    video = {"video_url": links.video_url} if links.video_url is not None else {}
    return {
        "edition": edition,
        "ticket_family": family,
        "access_period": period,
        "batch": batch_key,
        "venue_url": links.venue_url,
        **video,
        **discord,
    }


def period_of(properties: Mapping[str, Any], edition: str) -> int | None:
    """Return the access period that an event of the edition invited somebody for; ``None``: it is no such event."""
    period = properties.get("access_period")
    if properties.get("edition") != edition or not isinstance(period, int) or isinstance(period, bool) or period < 1:
        return None
    return period
