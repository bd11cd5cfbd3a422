"""Links that are one person's own: found by somebody else, shown by the mail through a property of the profile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pycontw_assets.send_email.names import discord_property

PersonalLinks = Callable[[str, Collection[str]], Mapping[str, str]]
"""Edition and address keys -> the link of each who has one."""


def no_links(_edition: str, _keys: Collection[str]) -> Mapping[str, str]:
    return {}


def link_properties(links: PersonalLinks, edition: str, keys: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the profile properties by which the mail of a campaign shows each person's link."""
    found = links(edition, keys) if keys else {}
    return {key: {discord_property(edition): link} for key, link in found.items()}
