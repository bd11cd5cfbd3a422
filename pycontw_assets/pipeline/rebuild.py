"""Help a ledger that does not know: refuse to go on, renew or rebuild it, let a person mark people, release batches.

Composition only: services are asked here, the stages say what their answers mean, ``restoration`` writes it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.log import log_step
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.rebuild_from_links import RebuiltInvites
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.authorize.guest_list import is_our_writing
from pycontw_assets.authorize.rebuild_from_gather import rebuild_grants
from pycontw_assets.deidentify.holders import holders_of, spellings_of
from pycontw_assets.extract.events import Discovery
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.orders import content_digest
from pycontw_assets.ledger.batches import Batch, Invitation, invitations_in, release_unmailed
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.letters.letters import restore_letters
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.people import recognise, renew_pseudonyms
from pycontw_assets.ledger.polls import Poll, last_poll, recorded_holders
from pycontw_assets.ledger.restoration import (
    Restoration,
    begin,
    end_unmailed,
    find_batch,
    has_begun,
    mark_invited,
    restore,
)
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.consistency.orders import signs_of_older_ledger
from pycontw_assets.pipeline.discord.rebuild import Evidence, describe_rebuilt, find_invites, record_invites
from pycontw_assets.pipeline.steps import (
    discover_events,
    exclusive,
    mapped_events,
    recorded_edition,
    stored_snapshots,
    table_rules,
    unknown_edition,
)
from pycontw_assets.pseudonyms import Pseudonymizer, is_mailable, normalise_address
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.send_email.by_event.events_client import EventsClient, RecordedEvent
from pycontw_assets.send_email.by_event.rebuild_from_events import (
    RebuiltEvents,
    continued,
    count_unknown_events,
    find_events,
    merged,
    rebuild_events,
)
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.letters.find_letters import find_letters
from pycontw_assets.send_email.names import (
    batch_key_property,
    is_pool_list,
    ticket_holder_list,
    ticket_holder_list_partition,
)
from pycontw_assets.send_email.rebuild_from_klaviyo import (
    HolderList,
    RebuiltInvitations,
    find_invitations,
    look_twice,
    rebuild_invitations,
)
from pycontw_assets.send_email.recipients import (
    Recipients,
    describe_end,
    doubt_about,
    is_unmailed_end,
    read_recipients_twice,
)
from pycontw_assets.send_email.release import campaign_status, refusal
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore, VaultError

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
class ReleaseReport:
    """``freed`` people may be invited again. ``received`` ones got the mail, and those of ``bounced`` came back."""

    freed: int
    _: KW_ONLY
    received: int
    bounced: int


@dataclass(frozen=True, slots=True)
class _Remains:
    """All that vault and services still hold of a lost ledger."""

    discovery: Discovery
    edition: str
    partitions: list[EventPartition]
    list_names: Mapping[str, str]  # id -> name
    snapshots: Mapping[str, OrderSnapshot]
    holder_lists: list[HolderList]
    present: Mapping[str, Any] | None
    spaces: Mapping[str, str]  # of those present: the digest of the space on whose list they are
    pseudonymizer: Pseudonymizer

    @property
    def followed(self) -> set[str]:
        """Partition keys that polls look after: the listed ones, and ended ones whose orders are still here."""
        return {partition.key for partition in self.discovery.partitions} | self.snapshots.keys()


def refuse_lost_ledger(edition: str, *, klaviyo: KlaviyoClient, ledger: Ledger) -> None:
    """Refuse an empty ledger beside invitations that went out: everybody would look new. Klaviyo is asked only once."""
    if not has_begun(ledger, edition):
        _refuse_known_invitations(edition, klaviyo, ledger)
        begin(ledger, edition)


def is_beginning(discovery: Discovery, *, klaviyo: KlaviyoClient | None, vault: OrdersStore, ledger: Ledger) -> bool:
    """Return whether this ledger may begin the edition; raise ``LedgerError`` where it looks lost. Writes nothing.

    Where all mail is switched off (``klaviyo`` is ``None``), there is nobody to ask who was invited. Before the first
    mail leaves, Klaviyo is asked in any case.

    Klaviyo being down must not keep buyers out and tables empty: a new installation goes on without its answer, since
    no invitation starts before it was asked. Orders in the vault that the ledger never heard of look like a lost
    ledger, so there the tick waits: the ``ServiceError`` is raised.
    """
    edition = discovery.edition
    if edition is None or has_begun(ledger, edition):
        return False
    if klaviyo is None:
        return True
    try:
        _refuse_known_invitations(edition, klaviyo, ledger)
    except ServiceError:
        if any(last_poll(ledger, p.key) is None and vault.read(p.key) for p in discovery.partitions):
            raise
        return False
    return True


def _refuse_known_invitations(edition: str, klaviyo: KlaviyoClient, ledger: Ledger) -> None:
    campaigns = len(find_invitations(klaviyo, edition))
    known = f"{campaigns} campaigns" if campaigns else ""
    if not campaigns and (events := count_unknown_events(EventsClient(klaviyo), ledger, edition)):
        known = f"{events} events"
    if known:
        raise LedgerError(
            f"the ledger knows nothing of edition {edition}, but Klaviyo has {known} that invited its people: it was "
            "lost, or this is another installation's account. Nothing was done. Put the old ledger back, or run "
            "`pycontw-assets rebuild-ledger`"
        )


def find_live_edition(*, kktix: KktixClient, ledger: Ledger, settings: Settings) -> str:
    """Return the edition that a tick would work on now."""
    return _edition_of(discover_events(kktix.list_events().events, known_events(ledger), settings))


def _edition_of(discovery: Discovery) -> str:
    if discovery.edition is None:
        raise LedgerError("the live edition is not known: KKTIX lists no event of the conference. Set EDITION")
    return discovery.edition


# -- a lost ledger ----------------------------------------------------------------------------------


def rebuild_ledger(
    *,
    kktix: KktixClient,
    gather: GatherClient | None,
    discord: DiscordClient | None,
    discord_roles: RoleRules | None,
    klaviyo: KlaviyoClient,
    vault: OrdersStore,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
) -> RebuildReport:
    """Read everything the services still know, then write the ledger. Changes nothing outside.

    Letters and invites to Discord have transactions of their own. The ledger counts as rebuilt when all the rest is
    written, so the invites come before.
    """
    lists = {held.list_id: held.name for held in klaviyo.find_lists()}
    # Lists made by hand may have another name in Klaviyo than the one they serve under here.
    lists |= {list_id: name for name, list_id in settings.klaviyo_lists.items()}
    named = [
        (list_id, partition) for list_id, name in lists.items() if (partition := ticket_holder_list_partition(name))
    ]
    # The name of its list keeps an event's key, whatever the event is called now. Of several, the oldest list's. A
    # renamed event has its list under the old name: there KKTIX_EVENTS knows better.
    mapped = mapped_events(settings)
    known = {p.event_id: mapped.get(p.event_id) or p for _, p in reversed(named)}
    discovery = discover_events(
        kktix.list_events().events, known, settings, edition=_edition_to_rebuild(known, ledger, settings)
    )
    edition = _edition_of(discovery)
    is_older = has_begun(ledger, edition)
    if is_older and not list(signs_of_older_ledger(edition, klaviyo=klaviyo, vault=vault, ledger=ledger)):
        raise LedgerError(f"the ledger of edition {edition} is not lost; nothing was changed")
    of_edition = [(list_id, known[p.event_id]) for list_id, p in named if known[p.event_id].edition == edition]
    partitions = {p.key: p for p in (*discovery.partitions, *(partition for _, partition in of_edition))}
    remains = _Remains(
        discovery,
        edition,
        [partition for _, partition in sorted(partitions.items())],
        lists,
        {key: snapshot for key in partitions if (snapshot := vault.read(key))},
        [HolderList(p, list_id, _members(list_id, p, klaviyo, pseudonymizer)) for list_id, p in of_edition],
        *_guests(gather, pseudonymizer),
        pseudonymizer,
    )
    campaigns = list(look_twice(klaviyo, waits, find_invitations(klaviyo, edition)))
    events = find_events(EventsClient(klaviyo), edition)
    by_event = rebuild_events(
        edition,
        events,
        remains.holder_lists,
        pseudonym=pseudonymizer.address,
        followed=remains.followed,
    )
    by_campaign = rebuild_invitations(
        edition,
        remains.holder_lists,
        campaigns,
        followed=remains.followed,
        list_names=remains.list_names,
        now=ledger.clock(),
    )
    rebuilt = merged(by_campaign, by_event)
    restoration = _restoration(remains, rebuilt, by_event, ledger.clock())
    letters = find_letters(klaviyo, waits, edition, now=ledger.clock())
    invites = RebuiltInvites()
    if discord is not None and discord_roles is not None:
        invites = find_invites(
            _evidence(remains, restoration, events),
            discord=discord,
            discord_roles=discord_roles,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
        )
        record_invites(invites, discord=discord, ledger=ledger, pseudonymizer=pseudonymizer)
    restore(ledger, restoration, replaces_older=is_older)
    restore_letters(ledger, letters)
    log_step("ledger_rebuilt", step="repair", edition=edition, events=len(restoration.partitions))
    problems = [*_problems(remains, rebuilt, restoration), *_nameless(by_event), *describe_rebuilt(invites)]
    counts = _counts(restoration) | ({"letters": len(letters)} if letters else {})
    if invites.invites:
        counts["invites to Discord"] = len(invites.invites)
    return RebuildReport(edition, counts, problems)


def _evidence(remains: _Remains, restoration: Restoration, events: Iterable[RecordedEvent]) -> Evidence:
    return Evidence(
        edition=remains.edition,
        partitions=remains.partitions,
        holders=restoration.holders,
        holder_lists=remains.holder_lists,
        events=events,
        snapshots=remains.snapshots,
    )


def _edition_to_rebuild(known: Mapping[int, EventPartition], ledger: Ledger, settings: Settings) -> str | None:
    """Return the edition that a person or the ledger names. Only in the sandbox Klaviyo's lists may name it."""
    edition = recorded_edition(ledger, settings)
    if edition is None and settings.pycontw_env == "production":
        raise unknown_edition(partition.edition for partition in known.values())
    return edition


def _members(
    list_id: str, partition: EventPartition, klaviyo: KlaviyoClient, pseudonymizer: Pseudonymizer
) -> dict[str, Any]:
    """Return one profile per person. Of several spellings, one that was in a batch speaks for all."""
    members: dict[str, Any] = {}
    for profile in klaviyo.list_members(list_id, details=True):
        key = pseudonymizer.address(profile.email or "")
        if profile.email and (key not in members or batch_key_property(partition.edition) in profile.properties):
            members[key] = profile
    return members


def _guests(gather: GatherClient | None, pseudonymizer: Pseudonymizer) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Return the entry and the space of every guest, by pseudonym."""
    if gather is None:
        return None, {}
    guests: dict[str, Any] = {}
    spaces: dict[str, str] = {}
    for space, client in gather.each().items():
        for address, entry in client.read().entries.items():
            key = pseudonymizer.address(address)
            # Of several spellings, one that somebody else wrote speaks for all.
            if key not in guests or is_our_writing(guests[key]):
                guests[key], spaces[key] = entry, space.digest
    return guests, spaces


def _restoration(remains: _Remains, rebuilt: RebuiltInvitations, by_event: RebuiltEvents, now: datetime) -> Restoration:
    holders = {partition.key: _holders(remains, partition.key) for partition in remains.partitions}
    events_of = {key: partition_key for partition_key, keys in reversed(holders.items()) for key in keys}
    lists = {partition.key: _fullest(remains, partition) for partition in remains.partitions}
    leased = {
        batch.list_name: batch for batch in rebuilt.batches if batch.state == "accepted" and batch.list_name is not None
    }
    pool = [name for name in remains.list_names.values() if is_pool_list(name, remains.edition)]
    home = min(holders, default=remains.edition)
    list_ids = {ticket_holder_list(held.partition): held.list_id for held in lists.values() if held}
    return Restoration(
        edition=remains.edition,
        partitions=remains.partitions,
        polls=[poll for key in sorted(remains.followed) if (poll := _poll(remains, key, len(holders[key]), now))],
        holders=holders,
        members={
            key: {address_key: profile.profile_id for address_key, profile in held.members.items()}
            for key, held in lists.items()
            if held
        },
        grants=continued(
            rebuild_grants(remains.edition, events_of, remains.present, remains.spaces),
            by_event,
            remains.edition,
            home,
        ),
        batches=rebuilt.batches,
        invitations=rebuilt.invitations,
        list_ids=list_ids | {name: batch.list_id for name, batch in leased.items() if batch.list_id},
        stored=remains.snapshots.keys(),
        pool={name: leased[name].batch_key if name in leased else None for name in pool},
    )


def _holders(remains: _Remains, partition_key: str) -> set[str]:
    """As of the last poll that came far enough: whoever lost the ticket since is found by the next one.

    The vault may be older than that: of its holders only those count whom we let in and who are in still.
    """
    listed = {key for held in remains.holder_lists if held.partition.key == partition_key for key in held.members}
    snapshot = remains.snapshots.get(partition_key)
    stored = holders_of(snapshot, remains.pseudonymizer) if snapshot else {}
    present = remains.present or {}
    return listed | {key for key in stored if key in present and is_our_writing(present[key])}


def _fullest(remains: _Remains, partition: EventPartition) -> HolderList | None:
    """Names are not unique: an empty namesake must not become the list that is kept up."""
    named = [held for held in remains.holder_lists if held.partition == partition]
    return max(named, key=lambda held: len(held.members), default=None)


def _poll(remains: _Remains, key: str, holders: int, now: datetime) -> Poll | None:
    """So much is known of an event that a book which shows far fewer attendees is not believed."""
    snapshot = remains.snapshots.get(key)
    known = len(snapshot.present) if snapshot else holders
    if not known:
        return None
    return Poll(key, now, None, known, 0, None, "", loaded_digest="")


def _counts(written: Restoration) -> dict[str, int]:
    current = [grant for grant in written.grants if grant.state != "revoked"]
    grants = Counter("let in" if g.state != "intended" else "to be let in again" for g in current)
    invitations = Counter(item.state for items in written.invitations.values() for item in items)
    return {
        "events": len(written.partitions),
        "ticket holders": len(current),
        **grants,
        "guests of others": sum(not grant.added_by_us for grant in written.grants),
        "invited": invitations["accepted"],
        "unreachable": invitations["unreachable"],
        "batches": len(written.batches),
        "batches on their way": sum(batch.state == "accepted" for batch in written.batches),
    }


def _problems(remains: _Remains, rebuilt: RebuiltInvitations, written: Restoration) -> Iterable[str]:
    for name in rebuilt.unsent:
        yield f"campaign {name} was never sent; its people are invited again: delete it in Klaviyo, never send it"
    for batch in rebuilt.batches:
        if batch.state == "cancelled":
            yield _cancelled(batch, len(rebuilt.invitations.get(batch.batch_key, ())))
    granted = {grant.address_key for grant in written.grants if grant.state != "revoked"}
    strays = [key for key, listed in (remains.present or {}).items() if key not in granted and is_our_writing(listed)]
    if strays:
        yield (
            f"{len(strays)} guests look as if this pipeline had added them and hold no ticket known here; they stay. "
            "Look at them in Gather"
        )


def _nameless(by_event: RebuiltEvents) -> Iterable[str]:
    if by_event.nameless:
        yield (
            f"{by_event.nameless} events that invited people name nobody any more; if these people still hold a "
            "ticket, the same events are handed over again, and Klaviyo counts them once"
        )


def _cancelled(batch: Batch, people: int) -> str:
    what = f"campaign {batch.campaign_name} ended as {batch.remote_status}" if batch.campaign_id else "has no campaign"
    return (
        f"batch {batch.batch_key} ({people} people): {what}; {describe_end(batch.remote_status)}, and nobody of it is "
        f"mailed again before `pycontw-assets release {batch.batch_key}`"
    )


# -- an older ledger --------------------------------------------------------------------------------


def renew_ledger(*, ledger: Ledger, vault: OrdersStore, pseudonymizer: Pseudonymizer) -> None:
    """Bring a ledger of an older normal form of addresses to today's, before anything is decided with it.

    The ledger knows no address, so the stored orders say which older pseudonyms are whose. People without stored
    orders follow when they are met again (``recognise``). All tables become due once, because their digests change.
    """
    new_keys: dict[str, str] = {}
    digests: dict[str, str] = {}
    try:
        for partition, snapshot in stored_snapshots(ledger, vault):
            if snapshot.records:
                digests[partition.key] = content_digest(snapshot, table_rules(pseudonymizer))
            for spelling in spellings_of(snapshot.records.values()):
                new_keys |= pseudonymizer.former_keys(spelling)
    except VaultError as error:
        raise LedgerError(
            f"the ledger is of an older version, and the orders that say who is who in it cannot be read ({error}). "
            "Nothing was changed. Bring the vault back, then run the command again"
        ) from None
    renew_pseudonyms(ledger, new_keys, digests)
    log_step("ledger_renewed", step="repair", events=len(digests))


# -- a person's word --------------------------------------------------------------------------------


def mark_people_invited(
    edition: str, lines: Iterable[str], *, ledger: Ledger, pseudonymizer: Pseudonymizer
) -> MarkInvitedReport:
    """Mark people who were invited by other means: let in as usual, not mailed for their present or next ticket."""
    keys: set[str] = set()
    invalid: list[int] = []
    lines = list(lines)
    recognise(ledger, pseudonymizer, lines)
    for number, line in enumerate(lines, start=1):
        address = normalise_address(line)
        if is_mailable(address) and _UNREADABLE not in address:
            keys.add(pseudonymizer.digest(address))
        elif address:
            invalid.append(number)
    marked = mark_invited(ledger, edition, keys)
    return MarkInvitedReport(edition, marked, len(keys) - marked, invalid)


def mark_all_holders(edition: str, *, ledger: Ledger) -> tuple[int, int]:
    """Mark everybody who holds a ticket of the edition now. Return how many were marked, and how many had been before.

    It decides whom to invite where mail was switched off: those who buy from now on.
    """
    partitions = [partition for partition in known_events(ledger).values() if partition.edition == edition]
    keys = {key for partition in partitions for key in recorded_holders(ledger, partition.key)}
    marked = mark_invited(ledger, edition, keys)
    end_unmailed(ledger, edition)
    return marked, len(keys) - marked


def release_batch(
    batch_key: str,
    *,
    klaviyo: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    settings: Settings,
    by_hand: bool = False,
) -> ReleaseReport:
    """Let the next poll invite the people of a cancelled campaign whose mail did not leave; the others stay invited.

    ``by_hand``: a person looked, and marked the recipients as invited. Then Klaviyo need not prove it.
    """
    find_batch(ledger, batch_key)
    refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
    with exclusive(ledger, waits, LockName.INVITATIONS, find_batch(ledger, batch_key).partition_key):
        batch = find_batch(ledger, batch_key)
        status = campaign_status(klaviyo, batch)
        if reason := refusal(batch, status):
            raise LedgerError(f"batch {batch_key} is not released: {reason}. Nothing was changed")
        people = invitations_in(ledger, batch_key)
        known = _recipients(batch, status, people, by_hand, klaviyo=klaviyo, waits=waits, now=ledger.clock())
        freed = release_unmailed(ledger, batch_key, received=known.received, bounced=known.bounced)
    log_step("batch_released", step="repair", batch=batch_key, people=freed)
    return ReleaseReport(freed, received=len(known.received), bounced=len(known.bounced))


def _recipients(
    batch: Batch, status: str | None, people: list[Invitation], by_hand: bool,
    *, klaviyo: KlaviyoClient, waits: WaitPolicy, now: datetime,
) -> Recipients:  # fmt: skip
    """Return who certainly got the mail. Raise ``LedgerError`` where it is not certain that these are all."""
    if is_unmailed_end(batch.remote_status) and (status is None or is_unmailed_end(status)):
        return Recipients()
    try:
        readings = read_recipients_twice(klaviyo, waits, batch, people, now=now)
        doubt = doubt_about(batch, status, readings, now)
    except ServiceError as error:
        readings, doubt = (Recipients(), Recipients()), f"Klaviyo cannot say who got its mail ({error.reason})"
    if doubt and not by_hand:
        raise LedgerError(
            f"batch {batch.batch_key} is not released: {doubt}. Nothing was changed. If it stays, mark the people who "
            'got the mail as docs/runbook.md says ("A cancelled campaign"), then run '
            f"`pycontw-assets release {batch.batch_key} --by-hand`"
        )
    return readings[1]
