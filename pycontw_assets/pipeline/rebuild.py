"""What to do when the ledger does not know: refuse to go on, rebuild it, or take a person's word.

Composition only: services are asked here, the stages say what their answers mean, ``restoration`` writes it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pycontw_assets.api.client import ServiceError
from pycontw_assets.authorize.guest_list import is_our_writing
from pycontw_assets.authorize.rebuild_from_gather import rebuild_grants
from pycontw_assets.extract.events import Discovery, discover
from pycontw_assets.ledger.batches import Batch, invitations_in, release_invitations
from pycontw_assets.ledger.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.polls import Poll, last_poll
from pycontw_assets.ledger.restoration import Restoration, begin, find_batch, has_begun, mark_invited, restore
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.send_email.rebuild_from_klaviyo import (
    HolderList,
    RebuiltInvitations,
    find_invitations,
    holder_list_partition,
    look_twice,
    rebuild_invitations,
)
from pycontw_assets.send_email.release import campaign_status, refusal
from pycontw_assets.send_email.ticket_holders import list_name

_UNREADABLE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class RebuildReport:
    edition: str
    counts: dict[str, int]
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MarkInvitedReport:
    """``known`` are those that counted as invited before: mailed, about to be, or marked before."""

    edition: str
    marked: int
    known: int
    invalid_lines: list[int]


@dataclass(frozen=True, slots=True)
class _Remains:
    """What the outside still holds of a lost ledger."""

    discovery: Discovery
    edition: str
    partitions: list[EventPartition]
    list_names: Mapping[str, str]  # id -> name
    snapshots: Mapping[str, OrderSnapshot]
    holder_lists: list[HolderList]
    present: Mapping[str, Any] | None

    @property
    def followed(self) -> set[str]:
        """Partition keys that polls look after: the listed ones, and ended ones whose orders are still here."""
        return {partition.key for partition in self.discovery.partitions} | self.snapshots.keys()


def refuse_lost_ledger(services: Services, edition: str) -> None:
    """An empty ledger beside invitations that went out: everybody would look new. Klaviyo is asked only once."""
    if has_begun(services.ledger, edition):
        return
    if campaigns := find_invitations(services.klaviyo, edition):
        raise LedgerError(
            f"the ledger knows nothing of edition {edition}, but Klaviyo has {len(campaigns)} campaigns that invited "
            "its people: it was lost, or this is another installation's account. Nothing was done. Put the old "
            "ledger back, or run `pycontw-assets rebuild-ledger`"
        )
    begin(services.ledger, edition)


def refuse_lost_ledger_if_known(services: Services, discovery: Discovery) -> None:
    """The same at the start of a tick, where Klaviyo being down must not keep buyers out and tables empty.

    Without its word a new installation goes on (no invitation starts before it was asked); orders in the vault
    that the ledger never heard of look like a lost ledger, so there the tick waits.
    """
    if discovery.edition is None:
        return
    try:
        refuse_lost_ledger(services, discovery.edition)
    except ServiceError:
        if any(
            last_poll(services.ledger, partition.key) is None and services.vault.read(partition.key)
            for partition in discovery.partitions
        ):
            raise


def live_edition(services: Services) -> str:
    """The edition a tick would work on now."""
    return _edition_of(_discover(services, known_events(services.ledger)))


def _discover(services: Services, known: Mapping[int, EventPartition]) -> Discovery:
    listed = services.kktix.list_events().events
    return discover(listed, known, services.mapped_events(), services.settings.edition)


def _edition_of(discovery: Discovery) -> str:
    if discovery.edition is None:
        raise LedgerError("which edition is live cannot be told: KKTIX lists no event of ours. Set EDITION")
    return discovery.edition


# -- a lost ledger ----------------------------------------------------------------------------------


def rebuild_ledger(services: Services) -> RebuildReport:
    """Read everything, then write it in one transaction. Changes nothing outside."""
    remains = _read_remains(services)
    campaigns = list(look_twice(services.klaviyo, services.waits, find_invitations(services.klaviyo, remains.edition)))
    rebuilt = rebuild_invitations(
        remains.edition,
        remains.holder_lists,
        campaigns,
        remains.followed,
        remains.list_names,
        services.clock(),
    )
    restoration = _restoration(services, remains, rebuilt)
    restore(services.ledger, restoration)
    return RebuildReport(
        remains.edition, _counts(restoration), list(_problems(services, remains, rebuilt, restoration))
    )


def _read_remains(services: Services) -> _Remains:
    # Lists made by hand may bear another name at Klaviyo than the one they serve under here.
    names = {found.list_id: found.name for found in services.klaviyo.find_lists()}
    names |= {list_id: name for name, list_id in services.settings.klaviyo_lists.items()}
    named = [(list_id, partition) for list_id, name in names.items() if (partition := holder_list_partition(name))]
    # The name of its list keeps an event's key, whatever the event is called now. Of several, the oldest list's.
    known = {partition.event_id: partition for _, partition in reversed(named)}
    discovery = _discover(services, known)
    edition = _edition_of(discovery)
    if has_begun(services.ledger, edition):
        raise LedgerError(f"the ledger of edition {edition} is not lost; nothing was changed")
    mine = [(list_id, known[p.event_id]) for list_id, p in named if known[p.event_id].edition == edition]
    partitions = {p.key: p for p in (*discovery.partitions, *(partition for _, partition in mine))}
    return _Remains(
        discovery,
        edition,
        [partition for _, partition in sorted(partitions.items())],
        names,
        {key: snapshot for key in partitions if (snapshot := services.vault.read(key))},
        [HolderList(partition, list_id, _members(services, list_id)) for list_id, partition in mine],
        _guests(services),
    )


def _members(services: Services, list_id: str) -> dict[str, Any]:
    profiles = services.klaviyo.list_members(list_id, details=True)
    return {services.pseudonymizer.address(profile.email): profile for profile in profiles if profile.email}


def _guests(services: Services) -> dict[str, Any] | None:
    if services.gather is None:
        return None
    found: dict[str, Any] = {}
    for address, listed in services.gather.read().entries.items():
        key = services.pseudonymizer.address(address)
        # Of several spellings, one that somebody else wrote speaks for all.
        if key not in found or is_our_writing(found[key]):
            found[key] = listed
    return found


def _restoration(services: Services, remains: _Remains, rebuilt: RebuiltInvitations) -> Restoration:
    holders = {partition.key: _holders(services, remains, partition.key) for partition in remains.partitions}
    events_of = {key: partition_key for partition_key, keys in reversed(holders.items()) for key in keys}
    lists = {partition.key: _fullest(remains, partition) for partition in remains.partitions}
    leased = {
        batch.list_name: batch for batch in rebuilt.batches if batch.state == "accepted" and batch.list_name is not None
    }
    pool = [name for name in remains.list_names.values() if name.startswith(f"pycontw-{remains.edition}-invitations-")]
    list_ids = {list_name(held.partition): held.list_id for held in lists.values() if held}
    return Restoration(
        edition=remains.edition,
        partitions=remains.partitions,
        polls=[poll for key in sorted(remains.followed) if (poll := _poll(services, remains, key, len(holders[key])))],
        holders=holders,
        members={
            key: {address_key: profile.profile_id for address_key, profile in held.members.items()}
            for key, held in lists.items()
            if held
        },
        grants=rebuild_grants(remains.edition, events_of, remains.present),
        batches=rebuilt.batches,
        invitations=rebuilt.invitations,
        list_ids=list_ids | {name: batch.list_id for name, batch in leased.items() if batch.list_id},
        pool={name: leased[name].batch_key if name in leased else None for name in pool},
    )


def _holders(services: Services, remains: _Remains, partition_key: str) -> set[str]:
    """As of the last poll that came far enough: whoever lost the ticket since is found by the next one."""
    listed = {key for held in remains.holder_lists if held.partition.key == partition_key for key in held.members}
    snapshot = remains.snapshots.get(partition_key)
    return listed | set(snapshot.holders(services.pseudonymizer) if snapshot else ())


def _fullest(remains: _Remains, partition: EventPartition) -> HolderList | None:
    """Names are not unique: an empty namesake must not become the list that is kept up."""
    named = [held for held in remains.holder_lists if held.partition == partition]
    return max(named, key=lambda held: len(held.members), default=None)


def _poll(services: Services, remains: _Remains, key: str, holders: int) -> Poll | None:
    """So much is known of an event that a book which shows far fewer attendees is not believed."""
    snapshot = remains.snapshots.get(key)
    known = len(snapshot.present) if snapshot else holders
    if not known:
        return None
    return Poll(key, services.clock(), None, known, 0, None, "", loaded_digest="")


def _counts(written: Restoration) -> dict[str, int]:
    grants = Counter("let in" if g.state != "intended" else "to be let in again" for g in written.grants)
    invitations = Counter(item.state for items in written.invitations.values() for item in items)
    return {
        "events": len(written.partitions),
        "ticket holders": len(written.grants),
        **grants,
        "guests of others": sum(not grant.added_by_us for grant in written.grants),
        "invited": invitations["accepted"],
        "unreachable": invitations["unreachable"],
        "batches": len(written.batches),
        "batches on their way": sum(batch.state == "accepted" for batch in written.batches),
    }


def _problems(
    services: Services, remains: _Remains, rebuilt: RebuiltInvitations, written: Restoration
) -> Iterable[str]:
    for name in rebuilt.unsent:
        yield f"campaign {name} was never sent; its people are invited anew: delete it in Klaviyo, never send it"
    for batch in rebuilt.batches:
        if batch.state == "cancelled":
            yield _cancelled(batch, len(rebuilt.invitations.get(batch.batch_key, ())))
    granted = {grant.address_key for grant in written.grants}
    strays = [key for key, listed in (remains.present or {}).items() if key not in granted and is_our_writing(listed)]
    if strays:
        yield f"{len(strays)} guests look like ours and hold no ticket known here; they stay. Look at them in Gather"


def _cancelled(batch: Batch, people: int) -> str:
    what = f"campaign {batch.campaign_name} ended as {batch.remote_status}" if batch.campaign_id else "has no campaign"
    return (
        f"batch {batch.batch_key} ({people} people): {what}; they count as invited. If they got no mail, run "
        f"`pycontw-assets release {batch.batch_key}`"
    )


# -- a person's word --------------------------------------------------------------------------------


def mark_people_invited(services: Services, edition: str, lines: Iterable[str]) -> MarkInvitedReport:
    """People who were invited by other means: let in as usual, not mailed for their present or next ticket."""
    keys: set[str] = set()
    invalid: list[int] = []
    for number, line in enumerate(lines, start=1):
        address = normalise_address(line)
        if is_mailable(address) and _UNREADABLE not in address:
            keys.add(services.pseudonymizer.digest(address))
        elif address:
            invalid.append(number)
    marked = mark_invited(services.ledger, edition, keys)
    return MarkInvitedReport(edition, marked, len(keys) - marked, invalid)


def release_batch(services: Services, batch_key: str) -> int:
    """Take the people out of a batch that ended unsent, so that the next poll invites them; how many."""
    batch = find_batch(services.ledger, batch_key)
    with services.exclusive(LockName.INVITATIONS, batch.partition_key):
        reason = refusal(find_batch(services.ledger, batch_key), campaign_status(services.klaviyo, batch))
        if reason:
            raise LedgerError(f"batch {batch_key} is not released: {reason}. Nothing was changed")
        # Who was adopted meanwhile was invited by other means.
        items = invitations_in(services.ledger, batch_key)
        people = [item.address_key for item in items if item.state != "marked"]
        release_invitations(services.ledger, batch_key, people)
    return len(people)
