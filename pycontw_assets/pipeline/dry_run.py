"""Find out what a poll would do outside: run its own steps on copies that are thrown away.

The copy of the ledger lives in a temporary folder and holds pseudonyms only. Orders, the guest list and the invites to
Discord stay in memory.
The vault, the ledger and the services are read as they are, and none of them is written.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pycontw_assets.authorize.discord.invite_step import Discord, InviteOutcome
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.authorize.guest_list_step import Gather
from pycontw_assets.authorize.spaces import Space
from pycontw_assets.deidentify.holders import holders_of
from pycontw_assets.ledger.batches import Batch, invitations_in, invitations_without_access, unfinished_batches
from pycontw_assets.ledger.consistency.accounts import forget_accounts
from pycontw_assets.ledger.database.tables import Way
from pycontw_assets.ledger.discord.invites import switch_discord
from pycontw_assets.ledger.ledger import Clock, Ledger, copy_of
from pycontw_assets.ledger.lists import list_members, unconfirmed_members
from pycontw_assets.pipeline.consistency.place import checked_place
from pycontw_assets.pipeline.discord.dry_run import DryRunGuild
from pycontw_assets.pipeline.discord.invites import sync_invites
from pycontw_assets.pipeline.rebuild import renew_ledger
from pycontw_assets.pipeline.steps import Venue, campaign_step, guest_list_step, reach_of, stored_orders
from pycontw_assets.pseudonyms import NORMALISATION_VERSION, Pseudonymizer, masked, normalise_address
from pycontw_assets.records import AttendeeRecord, EventPartition, Holder, OrderSnapshot
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.flow_state import flow_state
from pycontw_assets.send_email.by_event.reach import Reach
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import Profile
from pycontw_assets.send_email.ticket_holders import list_changes
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore, VaultError


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """``people`` are masked; ``unreachable`` counts, by reason, those of them whom mail cannot reach."""

    people: tuple[str, ...]
    send_at: datetime | None
    is_new: bool
    unreachable: Mapping[str, int]
    way: Way = "campaign"


@dataclass(frozen=True, slots=True)
class PlannedInvites:
    """Counts of the invites to Discord.

    ``waiting``: holders for whom the guild has no room yet. ``unknown``: people who lost the ticket and used their
    invites; a person has to take the role from them.
    """

    made: int = 0
    deleted: int = 0
    roles_removed: int = 0
    waiting: int = 0
    unknown: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.made or self.deleted or self.roles_removed)


@dataclass(frozen=True, slots=True)
class EventPlan:
    """The changes outside that a poll would make for one event; addresses are masked.

    ``invites``: ``None`` where Discord is no venue.
    """

    partition_key: str
    new_attendees: int = 0
    granted: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()
    batches: tuple[PlannedBatch, ...] = ()
    list_joining: int = 0
    list_leaving: int = 0
    withdrawn: int = 0  # from scheduled campaigns, having lost the ticket
    problems: tuple[str, ...] = ()
    invites: PlannedInvites | None = None

    @property
    def is_empty(self) -> bool:
        changes = (self.granted, self.revoked, self.batches, self.list_joining, self.list_leaving, self.withdrawn)
        return not any(changes) and (self.invites is None or self.invites.is_empty)


class DryRunGuestList:
    """Gather's list as it is now; what is added or removed stays here."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._current: GuestList | None = None

    def read(self) -> GuestList:
        if self._current is None:
            real = self._gather.read()
            self._current = GuestList(dict(real.entries), real.was_object, real.unreadable)
        return self._current

    def add(self, entries: Mapping[str, Any]) -> None:
        current = self.read()
        self._current = GuestList({**current.entries, **entries}, unreadable=current.unreadable)

    def overwrite(self, entries: Mapping[str, Any]) -> None:
        self._current = GuestList(dict(entries))


class DryRunVenue:
    """The lists of all spaces as they are now."""

    def __init__(self, gather: Venue) -> None:
        self._lists = {space: DryRunGuestList(client) for space, client in gather.each().items()}

    def each(self) -> dict[Space, DryRunGuestList]:
        return self._lists


class DryRunVault:
    """An ``OrdersStore`` that shows the stored orders and keeps newer ones in memory. ``None``: no vault yet."""

    def __init__(self, vault: OrdersStore | None) -> None:
        self._vault = vault
        self._written: dict[str, OrderSnapshot] = {}

    def read(self, key: str) -> OrderSnapshot | None:
        return self._written.get(key) or (self._vault.read(key) if self._vault else None)

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        if written := self._written.get(key):
            return written, iter(written.records.values())
        return self._vault.stream(key) if self._vault else None

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        current = self.read(snapshot.partition.key)
        if snapshot.generation != (current.generation if current else 0):
            raise VaultError(f"vault: {snapshot.partition.key} was changed meanwhile; run the partition again")
        stored = replace(snapshot, generation=snapshot.generation + 1)
        self._written[snapshot.partition.key] = stored
        return stored


@dataclass(frozen=True, slots=True)
class DryRun:
    """Copies that steps may write to. ``gather`` or ``guild`` is ``None`` where it is switched off."""

    ledger: Ledger
    gather: DryRunVenue | None
    guild: DryRunGuild | None
    vault: DryRunVault


@contextmanager
def dry_run(
    *,
    settings: Settings,
    clock: Clock,
    pseudonymizer: Pseudonymizer,
    gather: Venue | None,
    discord: Discord | None,
    vault: OrdersStore | None,
    accepts_account: bool = False,
) -> Iterator[DryRun]:
    """Yield copies of ledger, guest list, guild and vault; what is written to them is gone with the block."""
    with tempfile.TemporaryDirectory(prefix="pycontw-assets-") as folder:
        ledger = copy_of(settings.ledger_location, Path(folder), clock=clock)
        ledger.check_identity(pseudonymizer.fingerprint)
        switch_discord(ledger, is_on=discord is not None)
        checked_place(ledger, settings, accepts_account=accepts_account)
        if accepts_account:
            forget_accounts(ledger)
        if vault and ledger.normalisation < NORMALISATION_VERSION:
            renew_ledger(ledger=ledger, vault=vault, pseudonymizer=pseudonymizer)
        guild = DryRunGuild(discord, clock) if discord else None
        yield DryRun(ledger, DryRunVenue(gather) if gather else None, guild, DryRunVault(vault))


@dataclass(frozen=True, kw_only=True)
class AccessDryRuns:
    """Find out for one event after the other what the access chain would do. The systems are read and not changed."""

    gather: Venue | None
    discord: Discord | None
    discord_roles: RoleRules | None
    klaviyo: KlaviyoClient | None
    vault: OrdersStore
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings

    def plan(self, partition: EventPartition, *, poll_id: str, overrides: frozenset[str]) -> EventPlan:
        with dry_run(
            settings=self.settings,
            clock=self.ledger.clock,
            pseudonymizer=self.pseudonymizer,
            gather=self.gather,
            discord=self.discord,
            vault=self.vault,
        ) as copies:
            return plan_access(
                partition,
                copies=copies,
                discord_roles=self.discord_roles,
                klaviyo=self.klaviyo,
                pseudonymizer=self.pseudonymizer,
                waits=self.waits,
                settings=self.settings,
                poll_id=poll_id,
                overrides=overrides,
            )


def plan_access(
    partition: EventPartition,
    *,
    copies: DryRun,
    discord_roles: RoleRules | None,
    klaviyo: KlaviyoClient | None,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    poll_id: str,
    overrides: frozenset[str] = frozenset(),
    new_attendees: int = 0,
) -> EventPlan:
    """Plan from the stored orders on: the guest list, the invites to Discord, the ticket-holder list, the batches."""
    ledger = copies.ledger
    snapshot = stored_orders(copies.vault, ledger, partition)
    holders = holders_of(snapshot, pseudonymizer)
    before = _guests(copies.gather)
    step = guest_list_step(
        gather=copies.gather,
        ledger=ledger,
        pseudonymizer=pseudonymizer,
        waits=waits,
        revoke_limit=settings.revoke_limit,
        poll_id=poll_id,
        overrides=overrides,
    )
    outcome = step.run(partition, holders)
    after = _guests(copies.gather)
    entered, left = tuple(map(masked, sorted(after - before))), tuple(map(masked, sorted(before - after)))
    invites, problems = None, tuple(outcome.problems)
    if copies.guild is not None and discord_roles is not None:
        synced = sync_invites(
            partition,
            snapshot,
            holders,
            discord=copies.guild,
            discord_roles=discord_roles,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
        )
        invites, problems = _planned_invites(synced), (*problems, *synced.problems)
    planned = EventPlan(partition.key, new_attendees, granted=entered, revoked=left, problems=problems, invites=invites)
    if klaviyo is None:
        return planned
    return _with_mail(
        planned,
        partition,
        holders,
        klaviyo=klaviyo,
        ledger=ledger,
        waits=waits,
        settings=settings,
        poll_id=poll_id,
        overrides=overrides,
    )


def _planned_invites(outcome: InviteOutcome) -> PlannedInvites:
    return PlannedInvites(**{name: getattr(outcome, name) for name in PlannedInvites.__dataclass_fields__})


def _with_mail(
    planned: EventPlan,
    partition: EventPartition,
    holders: Mapping[str, Holder],
    *,
    klaviyo: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    settings: Settings,
    poll_id: str,
    overrides: frozenset[str],
) -> EventPlan:
    """Add the ticket-holder list and the batches to the plan. Access was planned on the same copies before."""
    joining, leaving = list_changes(
        holders, list_members(ledger, partition.key), unconfirmed_members(ledger, partition.key)
    )
    campaign = campaign_step(
        partition,
        klaviyo=klaviyo,
        ledger=ledger,
        waits=waits,
        settings=settings,
        template_id=lambda: "",
        poll_id=poll_id,
        overrides=overrides,
    )
    campaign.give_up_unbegun(partition)
    unsent = unfinished_batches(ledger, partition.key)
    due = [(batch, False) for batch in unsent if batch.state == "open"]
    due += [(batch, True) for batch in campaign.claim_all(partition, holders, unsent)]
    reach = reach_of(settings)
    batches = tuple(
        _planned(batch, holders, is_new, ledger=ledger, klaviyo=klaviyo, reach=reach) for batch, is_new in due
    )
    return replace(
        planned,
        batches=batches,
        list_joining=len(joining),
        list_leaving=len(leaving),
        withdrawn=_count_withdrawn(ledger, partition),
        problems=(*planned.problems, *campaign.outcome.problems, *_flow_problems(batches, klaviyo)),
    )


def _flow_problems(batches: Iterable[PlannedBatch], klaviyo: KlaviyoClient) -> Iterator[str]:
    """Yield why no event can be handed over. Klaviyo is asked where there are any."""
    if any(batch.way == "event" and batch.people for batch in batches):
        problem = flow_state(EventsClient(klaviyo).metrics()).problem
        if problem:
            yield f"nobody would be invited: {problem}"


def _count_withdrawn(ledger: Ledger, partition: EventPartition) -> int:
    """People of scheduled campaigns who lost their access since."""
    now = ledger.clock()
    unfinished = unfinished_batches(ledger, partition.key)
    scheduled = [batch for batch in unfinished if batch.send_at and batch.send_at > now]
    return sum(len(invitations_without_access(ledger, batch)) for batch in scheduled)


def _guests(gather: DryRunVenue | None) -> set[str]:
    """Return the addresses on the copied guest lists."""
    return {address for dry in gather.each().values() for address in dry.read().entries} if gather else set()


def _planned(
    batch: Batch,
    holders: Mapping[str, Holder],
    is_new: bool,
    *,
    ledger: Ledger,
    klaviyo: KlaviyoClient,
    reach: Reach,
) -> PlannedBatch:
    invitations = invitations_in(ledger, batch.batch_key)
    people = [
        holders[item.address_key] for item in invitations if item.state == "claimed" and item.address_key in holders
    ]
    profiles = klaviyo.find_profiles([spelling for holder in people for spelling in (holder.spelled, *holder.former)])
    reasons = {
        normalise_address(profile.email or ""): reason for profile in profiles if (reason := _left_out(profile, reach))
    }
    masks = tuple(masked(holder.address) for holder in people)
    return PlannedBatch(masks, batch.send_at, is_new, dict(Counter(reasons.values())), batch.way)


def _left_out(profile: Profile, reach: Reach) -> str | None:
    """Return why a poll would leave a person out. An event is handed over also where Klaviyo does not say."""
    if profile.can_receive_email is None and reach.way == "campaign":
        return "Klaviyo does not say"
    return reach.unreachable_because(profile)


def would_do(planned: EventPlan) -> dict[str, int | str]:
    """Return the counts that a dry run shows as metadata of its assets."""
    people = [len(batch.people) for batch in planned.batches]
    unreachable = sum(sum(batch.unreachable.values()) for batch in planned.batches)
    return {
        "would_let_in": len(planned.granted),
        "would_take_off": len(planned.revoked),
        "would_join_the_list": planned.list_joining,
        "would_leave_the_list": planned.list_leaving,
        "would_invite": sum(people) - unreachable,
        "would_not_reach": unreachable,
        "would_send_batches": len(people),
        **(_invites_to_do(planned.invites) if planned.invites else {}),
    }


def _invites_to_do(invites: PlannedInvites) -> dict[str, int | str]:
    return {
        "would_make_invites": invites.made,
        "would_delete_invites": invites.deleted,
        "would_remove_roles": invites.roles_removed,
        "would_wait_for_an_invite": invites.waiting,
        "would_need_a_person": invites.unknown,
    }
