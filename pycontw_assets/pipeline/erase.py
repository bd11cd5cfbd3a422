"""Forgetting one person: out of vault, tables, guest list and mailing lists; and what has to remain, where and why.

Every step is safe to repeat, and the order makes a crash harmless: the ledger first learns which attendees are not to
be read again, then their orders go; whoever runs it once more finishes what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pycontw_assets.api.client import NotFound, ServiceError
from pycontw_assets.api.log import log_step
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.authorize.guest_list_step import GuestListStep
from pycontw_assets.deidentify.holders import contact_address, holders_of, spellings_of
from pycontw_assets.extract.orders import content_digest, count_reread_every_poll
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.grants import current_grants, grants_without_ticket
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import forget_members
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.people import (
    entitlements_of,
    invitations_of,
    memberships_of,
    periods_of,
    recognise,
    remember_erased,
)
from pycontw_assets.ledger.polls import last_poll, record_poll, recorded_holders
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.pipeline.reconcile import new_poll_id
from pycontw_assets.pipeline.steps import exclusive, guest_list_step, load_rows, stored_snapshots, table_rules
from pycontw_assets.pseudonyms import Pseudonymizer, former_addresses, masked, normalise_address
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.list_membership import change_members
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import OrdersStore


@dataclass(frozen=True, slots=True)
class Found:
    """All there is to erase. ``mentioned`` are attendees of other buyers whose form names the address.

    ``spellings``: the forms of the mailbox in which ledger and services may know it.
    """

    who: str
    spellings: tuple[str, ...] = field(default=(), repr=False)
    tickets: Mapping[EventPartition, frozenset[int]] = field(default_factory=dict)
    usable: int = 0
    mentioned: tuple[int, ...] = ()
    is_in_ledger: bool = False

    @property
    def is_nothing(self) -> bool:
        return not (self.tickets or self.mentioned or self.is_in_ledger)


@dataclass(slots=True)
class Erased:
    """The result of an erasure: things done, things that remain where and why, and things that failed now.

    ``profiles``: the ids of the person's profiles in Klaviyo, one for each spelling.
    """

    done: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    profiles: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """Forget one person in everything the pipeline writes to, in an order that a crash cannot turn against them."""

    gather: GatherClient | None
    klaviyo: KlaviyoClient
    vault: OrdersStore
    warehouse: Warehouse
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings

    def find(self, wanted: str) -> Found:
        address, typed = normalise_address(wanted), {wanted}
        tickets: dict[EventPartition, frozenset[int]] = {}
        usable, mentioned = 0, []
        for partition, snapshot in stored_snapshots(self.ledger, self.vault):
            mine = [record for record in snapshot.records.values() if _is_of(record, address)]
            if mine:
                tickets[partition] = frozenset(record.attendee.attendee_id for record in mine)
                usable += sum(record.is_usable for record in mine)
                typed |= spellings_of(mine)
            others = [
                record for record in snapshot.records.values() if record not in mine and _mentions(record, address)
            ]
            mentioned += [record.attendee.attendee_id for record in others]
        spellings = (address, *sorted({form for spelling in typed for form in former_addresses(spelling)}))
        facts = (periods_of, invitations_of, entitlements_of, memberships_of)
        keys = map(self.pseudonymizer.digest, spellings)
        is_in_ledger = any(facts_of(self.ledger, key) for key in keys for facts_of in facts)
        return Found(masked(address), spellings, tickets, usable, tuple(mentioned), is_in_ledger)

    def run(self, wanted: str) -> Erased:
        """Forget the person wherever we can, in an order that a crash cannot turn against them."""
        address, result = normalise_address(wanted), Erased()
        key = self.pseudonymizer.digest(address)
        found = self.find(wanted)
        recognise(self.ledger, self.pseudonymizer, found.spellings)
        held = entitlements_of(self.ledger, key)
        touched = [p for p in known_events(self.ledger).values() if p in found.tickets or p.key in held]
        for partition in sorted(touched, key=lambda partition: partition.key):
            self._erase_orders(partition, address, key, result)
        for service, step in (("Gather", self._take_off), ("Klaviyo", self._leave_lists)):
            try:
                step(key, found, result)
            except ServiceError as error:
                result.problems.append(f"{error}. Run `erase` again when {service} answers")
        self._explain_rest(key, found, result)
        return result

    def _erase_orders(self, partition: EventPartition, address: str, key: str, result: Erased) -> None:
        with exclusive(self.ledger, self.waits, LockName.ORDERS, partition.key):
            snapshot = self.vault.read(partition.key)
            if snapshot is None or is_purged(self.ledger, partition.key):
                result.remains.append(
                    f"{partition.key}: its orders left the vault before; a hashed row stays in its table"
                )
                return
            mine = {number for number, record in snapshot.records.items() if _is_of(record, address)}
            remember_erased(self.ledger, partition.key, mine)
            rest = {number: record for number, record in snapshot.records.items() if number not in mine}
            if mine:
                snapshot = self.vault.write(replace(snapshot, records=rest))
            self._record_without(partition, snapshot, key)
        load_rows(
            partition,
            snapshot.records.values(),
            warehouse=self.warehouse,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
        )
        log_step("attendees_erased", step="erase", partition=partition.key, deleted=len(mine))
        result.done.append(f"{partition.key}: {len(mine)} attendees are out of the vault and the table")

    def _record_without(self, partition: EventPartition, snapshot: OrderSnapshot, key: str) -> None:
        """As a poll would that no longer saw them."""
        poll = last_poll(self.ledger, partition.key)
        if poll is None:
            return
        left = replace(
            poll,
            known=len(snapshot.present),
            reread_count=count_reread_every_poll(snapshot),
            book_digest=None,
            content_digest=content_digest(snapshot, table_rules(self.pseudonymizer)),
        )
        holders = set(holders_of(snapshot, self.pseudonymizer))
        if snapshot.rebuilding:
            holders |= recorded_holders(self.ledger, partition.key) - {key}
        record_poll(self.ledger, partition.edition, left, holders)

    def _take_off(self, key: str, _found: Found, result: Erased) -> None:
        """Run the step of a poll that has nobody to let in: the same cautions, the same one writer."""
        if self.settings.pycontw_dry_run:
            result.problems.append("PYCONTW_DRY_RUN is set: the guest list and the mailing lists were left alone")
            return
        known = {partition.edition: partition for partition in known_events(self.ledger).values()}
        for edition in sorted({period.edition for period in periods_of(self.ledger, key)} & known.keys()):
            if key not in grants_without_ticket(self.ledger, edition):
                periods = [period for period in periods_of(self.ledger, key) if period.edition == edition]
                is_added_by_us = any(period.state != "revoked" and period.added_by_us for period in periods)
                if is_added_by_us and not entitlements_of(self.ledger, key):
                    result.problems.append(
                        f"edition {edition}: not taken off the guest list, because the orders of some event are not "
                        "read and the person may hold a ticket there. The poll that reads them takes care of it"
                    )
                continue
            outcome = self._guest_list_step().run(known[edition], {})
            result.problems += outcome.problems
            if key not in current_grants(self.ledger, edition):
                result.done.append(f"edition {edition}: off the Gather guest list")
        if any(period.state == "granted" and not period.added_by_us for period in periods_of(self.ledger, key)):
            result.remains.append("Gather: an entry somebody else made, or made their own. Remove it there if wanted")

    def _leave_lists(self, key: str, found: Found, result: Erased) -> None:
        if self.settings.pycontw_dry_run:
            return
        result.profiles |= {profile.profile_id for profile in self.klaviyo.find_profiles(found.spellings)}
        keys = [self.pseudonymizer.digest(spelling) for spelling in found.spellings]
        joined = {partition_key for each in keys for partition_key in memberships_of(self.ledger, each)}
        for partition in known_events(self.ledger).values():
            if partition.key not in joined and partition not in found.tickets:
                continue
            list_id = remembered_id(self.ledger, "list", ticket_holder_list(partition))
            left = self._leave_list(list_id, key) if list_id else set()
            forget_members(self.ledger, partition.key, keys)
            result.profiles |= left
            if left or partition.key in joined:
                result.done.append(f"{partition.key}: off the ticket-holder list in Klaviyo")

    def _leave_list(self, list_id: str, key: str) -> set[str]:
        """Remove the person's profiles in whatever spelling, and return them; none when the list is gone."""
        profile_ids: set[str] = set()
        with suppress(NotFound):
            for member in self.klaviyo.list_members(list_id):
                if member.email and self.pseudonymizer.address(member.email) == key:
                    profile_ids.add(member.profile_id)
            change_members(self.klaviyo, self.klaviyo.remove_from_list, list_id=list_id, profile_ids=profile_ids)
        return profile_ids

    def _explain_rest(self, key: str, found: Found, result: Erased) -> None:
        invited = {item.profile_id for item in invitations_of(self.ledger, key) if item.profile_id}
        profiles = sorted(result.profiles | invited)
        if profiles or found.is_in_ledger:
            named = f" {' and '.join(profiles)}" if profiles else ""
            result.remains.append(
                f"Klaviyo: the profile{named} with its history. The interface we use cannot delete it: open it in "
                "Klaviyo and choose “Delete profile” (a request under data protection law)"
            )
            result.remains.append(
                "ledger: a pseudonym with the times of access and invitation, needed so that nobody is mailed twice"
            )
        if found.mentioned:
            numbers = ", ".join(map(str, found.mentioned))
            result.remains.append(
                f"vault: forms of other buyers name the address (attendees {numbers}): correct in KKTIX"
            )
        result.remains.append(
            "KKTIX: the order itself; ask KKTIX. Whoever was erased here is not read from there again"
        )
        result.remains.append("backups of the vault, until they expire")

    def _guest_list_step(self) -> GuestListStep:
        return guest_list_step(
            gather=self.gather,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self.waits,
            revoke_limit=self.settings.revoke_limit,
            poll_id=new_poll_id(self.ledger.clock()),
        )


def _is_of(record: AttendeeRecord, address: str) -> bool:
    return normalise_address(contact_address(record.attendee) or "") == address


def _mentions(record: AttendeeRecord, address: str) -> bool:
    values = (value for _, value in record.attendee.answers if isinstance(value, str))
    return any(normalise_address(value) == address for value in values)
