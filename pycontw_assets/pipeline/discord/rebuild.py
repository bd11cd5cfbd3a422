"""Write the invites to Discord again when the ledger was lost: read the guild and the links, decide, record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.invite_step import invite_digest
from pycontw_assets.authorize.discord.members import list_members, members_by_role
from pycontw_assets.authorize.discord.rebuild_from_links import (
    KnownLinks,
    RebuiltInvites,
    rebuild_invites,
    with_bearers,
)
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.ledger.discord.invites import enter_guild, known_bearers, open_invites
from pycontw_assets.ledger.discord.restoring import restore_invites
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.discord.invites import tickets_of
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.send_email.by_event.events_client import RecordedEvent
from pycontw_assets.send_email.names import DISCORD_EVENT_PROPERTY, discord_property
from pycontw_assets.send_email.rebuild_from_klaviyo import HolderList


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that Klaviyo and the vault know of an edition. ``holders``: partition key -> address keys."""

    edition: str
    partitions: Iterable[EventPartition]
    holders: Mapping[str, Iterable[str]]
    holder_lists: Iterable[HolderList]
    events: Iterable[RecordedEvent]
    snapshots: Mapping[str, OrderSnapshot]


def find_invites(
    evidence: Evidence,
    *,
    discord: DiscordClient,
    discord_roles: RoleRules,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
) -> RebuiltInvites:
    """Read the guild, and say whose its invites are. Nothing is changed, here or in Discord."""

    def digest(kind: str, value: str) -> str:
        return invite_digest(pseudonymizer, kind, value)

    bot_id, listed = discord.bot_id(), discord.invites()
    unused = [invite for invite in listed if invite.is_unused_of(bot_id, discord.channel_id)]
    rebuilt = rebuild_invites(
        evidence.edition,
        known_links_of(evidence, discord_roles, pseudonymizer),
        recorded=open_invites(ledger, evidence.edition),
        live={digest("invite", invite.code): invite.role_ids[0] for invite in unused},
        digest=lambda code: digest("invite", code),
        channel_link=discord.channel_link,
        now=ledger.clock(),
    )
    roles = {invite.role_id for invite in rebuilt.invites if invite.trace == "unclear"}
    members = list_members(discord, lambda user_id: digest("member", user_id)) if roles else {}
    present = None if members is None else members_by_role(members, roles)
    return with_bearers(rebuilt, known_bearers(ledger), present)


def record_invites(
    rebuilt: RebuiltInvites, *, discord: DiscordClient, ledger: Ledger, pseudonymizer: Pseudonymizer
) -> None:
    """Write them down. This comes before the rest of the ledger: without them, everybody would get a second invite."""
    enter_guild(ledger, invite_digest(pseudonymizer, "guild", discord.guild_id))
    restore_invites(ledger, rebuilt.invites, rebuilt.bearers)


def known_links_of(evidence: Evidence, roles: RoleRules, pseudonymizer: Pseudonymizer) -> dict[str, KnownLinks]:
    """Return what is known of every holder, and of everybody who was sent a link. Pure."""
    links: dict[str, list[str]] = {}
    for key, link in _links(evidence, pseudonymizer):
        links.setdefault(key, []).append(link)
    by_address: dict[str, KnownLinks] = {}
    for partition in evidence.partitions:
        snapshot = evidence.snapshots.get(partition.key)
        tickets = tickets_of(snapshot, pseudonymizer) if snapshot else {}
        for key in evidence.holders.get(partition.key, ()):
            role_id = roles.role_of(partition.family, tickets.get(key, [None]))
            of_holder = KnownLinks(partition_key=partition.key, links=tuple(links.get(key, ())), role_id=role_id)
            if key not in by_address or by_address[key].role_id is None:
                by_address[key] = of_holder
    fallback = min((partition.key for partition in evidence.partitions), default=evidence.edition)
    for key in links.keys() - by_address.keys():
        by_address[key] = KnownLinks(partition_key=fallback, links=tuple(links[key]), has_ticket=False)
    return by_address


def _links(evidence: Evidence, pseudonymizer: Pseudonymizer) -> Iterator[tuple[str, str]]:
    """Yield address keys with the links that Klaviyo knows, in properties of profiles and of events."""
    name = discord_property(evidence.edition)
    for held in evidence.holder_lists:
        for key, profile in held.members.items():
            if isinstance(link := profile.properties.get(name), str):
                yield key, link
    for record in evidence.events:
        link = record.properties.get(DISCORD_EVENT_PROPERTY)
        if record.email and isinstance(link, str):
            yield pseudonymizer.address(record.email), link


def describe_rebuilt(rebuilt: RebuiltInvites) -> Iterator[str]:
    """Yield what a person should know about the invites."""
    gone = sum(invite.state == "used" for invite in rebuilt.invites)
    if gone:
        yield (
            f"{gone} people had invites to Discord that are not there any more: used, or deleted. They get no second "
            "one. Nobody knows which members they are: when one of them loses the ticket, an alarm asks a person to "
            "remove the role"
        )
