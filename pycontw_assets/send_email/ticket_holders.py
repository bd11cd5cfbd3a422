"""The ticket-holder list of an event: equal to its holders, for announcements, never for invitations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pycontw_assets.api.client import NotFound
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.batches import find_newcomers, note_vouched, reserve_batch_key
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import (
    Answer,
    confirm_members,
    forget_members,
    intend_members,
    list_members,
    record_answers,
    unconfirmed_members,
)
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.records import EventPartition, Holder
from pycontw_assets.send_email.find_or_create import ensure_list
from pycontw_assets.send_email.invitation.personal import PersonalLinks, link_properties, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.names import batch_key_property, ticket_holder_list, ticket_property
from pycontw_assets.send_email.profiles import Profiles, ensure_profiles
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


def mark_newcomers(
    ledger: Ledger, partition: EventPartition, joining: Collection[str], may_mark: Callable[[], bool]
) -> dict[str, str]:
    """Return the key of the event's next batch for everybody of these whom it will claim."""
    newcomers = find_newcomers(ledger, partition.key, partition.edition).keys() & set(joining)
    if not newcomers or not may_mark():
        return {}
    batch_key = reserve_batch_key(ledger, partition.key, uuid.uuid4().hex[:12])
    note_vouched(ledger, partition.key)
    return dict.fromkeys(newcomers, batch_key)


def _answers(profiles: Profiles, marked: Mapping[str, str]) -> dict[str, Answer]:
    """Return what Klaviyo said of the profiles. Of some it may not say whether mail reaches them."""
    return {
        key: Answer(profile.profile_id, profiles.barred.get(key) or profile.unreachable_because, marked.get(key))
        for key, profile in profiles.accepted.items()
        if profile.can_receive_email is not None
    }


def sync_ticket_holders(
    *,
    client: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    exclusive: Callable[[], AbstractContextManager[None]],
    partition: EventPartition,
    holders: Mapping[str, Holder],
    may_mark: Callable[[], bool] = lambda: False,
    is_wave: bool = False,
    personal_links: PersonalLinks = no_links,
) -> TicketHolderOutcome:
    """Make the list equal to the event's holders. Without a difference, Klaviyo is not called.

    ``is_wave``: ``holders`` are only some of them, so nobody leaves the list.

    Where ``may_mark`` says so, the profiles of people whom the next batch will claim get its key now, which saves the
    batch a call for each. It is asked when there are such people. A ledger that was restored from a backup must not:
    who has the key of a batch counts as perhaps invited when the ledger is rebuilt.
    """
    members = list_members(ledger, partition.key)
    joining, leaving = list_changes(holders, members, unconfirmed_members(ledger, partition.key))
    if is_wave:
        leaving = {}
    if not joining and not leaving:
        return TicketHolderOutcome()
    with exclusive():
        list_id = ensure_list(client, ledger, waits, name=ticket_holder_list(partition))
    marked = mark_newcomers(ledger, partition, joining, may_mark)
    personal = link_properties(personal_links, partition.edition, marked)
    profiles = ensure_profiles(
        client,
        waits,
        joining,
        properties={ticket_property(partition.edition): partition.family},
        also={
            key: {batch_key_property(partition.edition): batch_key, **personal.get(key, {})}
            for key, batch_key in marked.items()
        },
    )
    ids = {key: profile.profile_id for key, profile in profiles.accepted.items()}
    intend_members(ledger, partition.key, {**ids, **dict.fromkeys(profiles.refused)})
    record_answers(ledger, partition.key, _answers(profiles, marked))
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
