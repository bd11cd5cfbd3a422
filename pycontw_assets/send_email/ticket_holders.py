"""The ticket-holder list of an event: equal to its holders, for announcements, never for invitations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pycontw_assets.api.client import NotFound
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import (
    confirm_members,
    forget_members,
    intend_members,
    list_members,
    unconfirmed_members,
)
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.find_or_create import ensure_list
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.names import ticket_holder_list, ticket_property
from pycontw_assets.send_email.profiles import ensure_profiles
from pycontw_assets.send_email.wait_policy import WaitPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketHolderOutcome:
    """Counts of one step. ``refused``: addresses that Klaviyo does not take."""

    list_id: str | None = None
    added: int = 0
    removed: int = 0
    refused: int = 0


def list_changes(
    holders: Mapping[str, Holder], members: Mapping[str, str | None], unconfirmed: Collection[str]
) -> tuple[dict[str, Holder], dict[str, str | None]]:
    """Return the holders to add, and the members to remove with their profile ids.

    ``members``: pseudonym -> profile id, as the ledger knows them. ``unconfirmed``: members that are perhaps not on the
    list.
    """
    joining = {key: holder for key, holder in holders.items() if key not in members or key in unconfirmed}
    return joining, {key: profile_id for key, profile_id in members.items() if key not in holders}


def sync_ticket_holders(
    *,
    client: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    exclusive: Callable[[], AbstractContextManager[None]],
    partition: EventPartition,
    holders: Mapping[str, Holder],
) -> TicketHolderOutcome:
    """Make the list equal to the event's holders. Without a difference, Klaviyo is not called."""
    members = list_members(ledger, partition.key)
    joining, leaving = list_changes(holders, members, unconfirmed_members(ledger, partition.key))
    if not joining and not leaving:
        return TicketHolderOutcome()
    with exclusive():
        list_id = ensure_list(client, ledger, waits, name=ticket_holder_list(partition))
    profiles = ensure_profiles(
        client, waits, joining, properties={ticket_property(partition.edition): partition.family}
    )
    ids = {key: profile.profile_id for key, profile in profiles.accepted.items()}
    intend_members(ledger, partition.key, {**ids, **dict.fromkeys(profiles.refused)})
    try:
        unknown = change_members(client, client.add_to_list, list_id=list_id, profile_ids=set(ids.values()))
        # Klaviyo may know a mailbox in two spellings by one profile, which stays then.
        staying = {*ids.values(), *(profile_id for key, profile_id in members.items() if key not in leaving)}
        gone = {profile_id for profile_id in leaving.values() if profile_id} - staying
        change_members(client, client.remove_from_list, list_id=list_id, profile_ids=gone)
    except NotFound:  # somebody deleted the list: the next poll creates it again and adds everybody
        record_remote_id(ledger, "list", ticket_holder_list(partition), remote_id=None)
        forget_members(ledger, partition.key, list_members(ledger, partition.key))
        raise
    added = {key for key, profile_id in ids.items() if profile_id not in unknown}
    confirm_members(ledger, partition.key, added | set(profiles.refused))
    forget_members(ledger, partition.key, leaving)
    log_step(
        "list_changed",
        step="send_email",
        partition=partition.key,
        added=len(added),
        removed=len(leaving),
        refused=len(profiles.refused),
    )
    return TicketHolderOutcome(list_id=list_id, added=len(added), removed=len(leaving), refused=len(profiles.refused))
