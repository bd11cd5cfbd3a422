"""The invites to Discord, as steps of a poll: who gets which role, the step itself, and the links for the mail."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.invite_step import (
    LOOK_EVERY,
    Discord,
    InviteOutcome,
    InviteStep,
    links_of_holders,
)
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.deidentify.holders import usable_contacts
from pycontw_assets.ledger.database.tables import GrantState
from pycontw_assets.ledger.discord.invites import count_invite_work
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, Holder, OrderSnapshot
from pycontw_assets.send_email.invitation.personal import PersonalLinks
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings


def open_invite_work(partition: EventPartition, *, ledger: Ledger, settings: Settings) -> int:
    """Count what a poll can do about the event's invites now."""
    awaited = _awaited(settings)
    return count_invite_work(ledger, partition.key, partition.edition, look_every=LOOK_EVERY, awaited=awaited)


def _awaited(settings: Settings) -> tuple[GrantState, ...]:
    """Return the states of the guests who leave the guest list before their invites end.

    Where the list is switched off, those whom Gather let in before stay on it, and only assumed access ends.
    """
    return ("assumed",) if settings.gather_is_off else ("intended", "granted", "revoking", "assumed")


def sync_invites(
    partition: EventPartition,
    snapshot: OrderSnapshot,
    holders: Mapping[str, Holder],
    *,
    discord: Discord,
    discord_roles: RoleRules,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    only_add: bool = False,
) -> InviteOutcome:
    """Bring the invites of the event's holders in line. A ticket that no rule fits is a problem, and waits."""
    tickets = tickets_of(snapshot, pseudonymizer)
    roles = {key: discord_roles.role_of(partition.family, tickets.get(key, ())) for key in holders}
    step = InviteStep(
        discord,
        ledger,
        pseudonymizer,
        lambda: lock(ledger, LockName.DISCORD_INVITES, "", wait_seconds=waits.lock, sleep=waits.sleep),
        awaited=_awaited(settings),
        role_ids=discord_roles.role_ids,
    )
    outcome = step.run(partition, {key: role for key, role in roles.items() if role}, only_add=only_add)
    if unruled := sum(role is None for role in roles.values()):
        outcome.problems.append(
            f"{unruled} holders have tickets that no entry of DISCORD_ROLES fits, so they get no invite and no mail; "
            f"add an entry, for example for the family {partition.family}"
        )
    return outcome


def tickets_of(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, list[str | None]]:
    """Return address key -> names of the usable tickets."""
    tickets: dict[str, list[str | None]] = {}
    for contact in usable_contacts(snapshot):
        if contact.address is not None:
            tickets.setdefault(pseudonymizer.digest(contact.address), []).append(contact.record.attendee.ticket_name)
    return tickets


def personal_links(*, discord: DiscordClient | None, ledger: Ledger, pseudonymizer: Pseudonymizer) -> PersonalLinks:
    """Return what finds the links of people for their mail. Without Discord there are none, and nobody is asked."""

    def find(edition: str, keys: Collection[str]) -> Mapping[str, str]:
        if discord is None or not keys:
            return {}
        return links_of_holders(discord, discord, ledger, pseudonymizer, edition=edition, keys=keys)

    return find
