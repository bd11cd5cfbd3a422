"""Forgetting one person: out of vault, tables, guest list and mailing lists; and what has to remain, where and why.

The request is remembered in the ledger, with the places that have not confirmed it, until all of them have. Polls go on
with it. Every step is safe to repeat, and the order makes a crash harmless: the ledger first learns which attendees are
not to be read again, then their orders go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.log import log_step
from pycontw_assets.api.stopping import OF_THIS_PROCESS, Stop
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.authorize.guest_list_step import GuestListStep
from pycontw_assets.authorize.space_steps import SpacesStep
from pycontw_assets.deidentify.holders import contact_address, holders_of, spellings_of
from pycontw_assets.deidentify.policy import CONTACT_ADDRESS_COLUMN, load_policy
from pycontw_assets.extract.orders import book_digest, content_digest, count_reread_every_poll
from pycontw_assets.ledger.consistency.renaming import other_keys
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.discord.invites import open_editions
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.grants import grants_of, grants_without_ticket
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName
from pycontw_assets.ledger.people import (
    entitlements_of,
    erased_attendees_of,
    erased_ids,
    erasure_requests,
    invitations_of,
    memberships_of,
    move_people,
    note_profiles,
    periods_of,
    record_erasure,
    remember_erased,
    request_erasure,
)
from pycontw_assets.ledger.polls import drop_entitlement, last_poll, record_poll, recorded_holders
from pycontw_assets.load.readers.returning import ATTENDEE_EDITIONS
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import Warehouse, WarehouseError
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.erasing.guild import withdraw_invites
from pycontw_assets.pipeline.erasing.mail_service import MailServiceErasure, NotYet, profiles_in_ledger
from pycontw_assets.pipeline.reconcile import new_poll_id
from pycontw_assets.pipeline.steps import (
    exclusive,
    guest_list_step,
    known_partitions,
    load_rows,
    recorded_change,
    table_rules,
)
from pycontw_assets.pseudonyms import Pseudonymizer, masked
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.object_store import VaultError
from pycontw_assets.vault.vault import Vault

Place = Literal["the vault", "the tables", "the guest list", "Discord", "the mailing lists", "Klaviyo's profiles"]
_TURNS = 3  # of polls, before an erasure that is not finished becomes an alarm
_PROFILES: Place = "Klaviyo's profiles"  # only where the settings say so
_DISCORD: Place = "Discord"  # only where the person has an invite
# In the order of the work.
PLACES: tuple[Place, ...] = tuple(place for place in get_args(Place) if place not in (_PROFILES, _DISCORD))


@dataclass(frozen=True, slots=True)
class Found:
    """All there is to erase. ``mentioned`` are attendees of other buyers whose form names the address.

    ``rows`` are those of the tables. ``unseen``: places that could not be looked at, and why. ``former``: older
    pseudonyms of the person's spellings, which rows of purged events and memberships of lists keep. ``spellings``: the
    addresses themselves, for this process only.
    """

    who: str
    tickets: Mapping[EventPartition, frozenset[int]] = field(default_factory=dict)
    usable: int = 0
    mentioned: tuple[int, ...] = ()
    is_in_ledger: bool = False
    rows: int = 0
    unseen: tuple[str, ...] = ()
    requested_at: datetime | None = None
    former: frozenset[str] = frozenset()
    spellings: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def is_nothing(self) -> bool:
        return not (
            self.tickets or self.mentioned or self.is_in_ledger or self.rows or self.unseen or self.requested_at
        )


@dataclass(slots=True)
class Erased:
    """The result of an erasure.

    - ``done``: lines about what was removed now.
    - ``places``: those to erase the person from.
    - ``unfinished``: those that the person is not gone from, and why. Polls go on with them.
    - ``remains``: lines about what stays, and why.
    - ``goes``: what goes by itself, and when. ``todo``: what a person has to do.
    """

    places: tuple[Place, ...] = PLACES
    done: list[str] = field(default_factory=list)
    unfinished: dict[Place, str] = field(default_factory=dict)
    remains: list[str] = field(default_factory=list)
    goes: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    profiles: set[str] = field(default_factory=set)  # of the person, in Klaviyo

    @property
    def problems(self) -> list[str]:
        return [f"{place}: {reason}" for place, reason in self.unfinished.items()]

    def leave(self, line: str, *, todo: str = "", goes: str = "") -> None:
        """Note something that stays, and what becomes of it."""
        self.remains.append(line)
        self.todo += [todo] if todo else []
        self.goes += [goes] if goes else []


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """Forget one person in everything the pipeline writes to, in an order that a crash cannot turn against them."""

    gather: GatherClient | None
    klaviyo: KlaviyoClient | None
    vault: Vault
    warehouse: Warehouse
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings
    discord: DiscordClient | None = None  # None: Discord is no venue, or polls go on with it
    stop: Stop = OF_THIS_PROCESS

    # -- looking ----------------------------------------------------------------------------------

    def find(self, wanted: str) -> Found:
        """Look for the person in vault, tables and ledger, in whatever spelling."""
        return replace(self._find(self.pseudonymizer.address(wanted), {wanted}), who=masked(wanted))

    def _find(self, key: str, spellings: Set[str] = frozenset()) -> Found:
        typed = set(spellings)
        tickets: dict[EventPartition, frozenset[int]] = {}
        usable, mentioned, unseen = 0, [], []
        for partition in known_partitions(self.ledger):
            try:
                snapshot = self.vault.read(partition.key)
            except VaultError as error:
                unseen.append(str(error))
                continue
            for record in snapshot.records.values() if snapshot else ():
                if self._is_of(record, key):
                    tickets[partition] = tickets.get(partition, frozenset()) | {record.attendee.attendee_id}
                    usable += record.is_usable and not partition.is_imported
                    typed |= spellings_of([record])
                elif self._mentions(record, key):
                    mentioned.append(record.attendee.attendee_id)
        former = frozenset(old for spelling in typed for old in self.pseudonymizer.former_keys(spelling))
        keys, rows = (key, *former), 0
        try:
            rows = sum(self.warehouse.count(_tables(), CONTACT_ADDRESS_COLUMN, each) for each in keys)
        except WarehouseError as error:
            unseen.append(str(error))
        facts = (periods_of, invitations_of, entitlements_of, memberships_of)
        is_in_ledger = any(facts_of(self.ledger, each) for each in keys for facts_of in facts)
        requests = {request.address_key: request.requested_at for request in erasure_requests(self.ledger)}
        return Found(
            who="",
            tickets=tickets,
            usable=usable,
            mentioned=tuple(mentioned),
            is_in_ledger=is_in_ledger,
            rows=rows,
            unseen=tuple(unseen),
            requested_at=requests.get(key),
            former=former,
            spellings=frozenset(typed),
        )

    def _is_of(self, record: AttendeeRecord, key: str) -> bool:
        address = contact_address(record.attendee)
        return address is not None and self.pseudonymizer.address(address) == key

    def _mentions(self, record: AttendeeRecord, key: str) -> bool:
        values = (value for _, value in record.attendee.answers if isinstance(value, str) and value)
        return any(self.pseudonymizer.address(value) == key for value in values)

    # -- erasing ----------------------------------------------------------------------------------

    def run(self, wanted: str) -> Erased:
        """Forget the person wherever we can now, and remember the rest for the next polls."""
        key = self.pseudonymizer.address(wanted)
        found = self._find(key, {wanted})
        move_people(self.ledger, dict.fromkeys(found.former, key))
        numbers = {partition.key: ids for partition, ids in found.tickets.items()}
        places = (*PLACES, _PROFILES) if self.settings.klaviyo_delete_profiles else PLACES
        if open_editions(self.ledger, key):
            places = (*places, _DISCORD)
        request_erasure(self.ledger, key, places, numbers)
        note_profiles(self.ledger, key, profiles_in_ledger(self.ledger, (key, *found.former)))
        result = self.go_on(key, places, self.ledger.clock(), former=found.former, spellings=found.spellings)
        self._explain_rest(key, found, result)
        return result

    def go_on(
        self,
        key: str,
        places: Collection[str],
        requested_at: datetime,
        *,
        former: Collection[str] = (),
        spellings: Collection[str] = (),
    ) -> Erased:
        """Erase the person from these places, look whether they are gone, and remember what is left.

        Orders that were first read after ``requested_at`` are those of a new buyer. ``former``: older pseudonyms.
        ``spellings``: addresses of the person, while whoever asked for it is here.
        """
        result = Erased(places=tuple(place for place in get_args(Place) if place in places))
        steps: dict[Place, Callable[[], None]] = {
            "the vault": lambda: self._erase_orders(key, requested_at, result),
            "the tables": lambda: self._erase_rows(key, former, result),
            "the guest list": lambda: self._take_off(key, result),
            _DISCORD: lambda: self._leave_guild(key, result),
            "the mailing lists": lambda: self._leave_lists(key, former, result),
            _PROFILES: lambda: self._delete_profiles(key, former, spellings, result),
        }
        for place, step in steps.items():
            if place in places:
                self.stop.check()
                with _noted(place, result):
                    step()
        record_erasure(self.ledger, key, result.unfinished)
        log_step(
            "person_erased",
            step="erase",
            outcome="waiting" if result.unfinished else "done",
            waiting=len(result.unfinished),
        )
        return result

    def _erase_orders(self, key: str, requested_at: datetime, result: Erased) -> None:
        """Remove the orders event by event. One that is at work or cannot be read now holds up no other."""
        held = entitlements_of(self.ledger, key)
        for partition in sorted(known_partitions(self.ledger), key=lambda partition: partition.key):
            with _noted("the vault", result):
                self._erase_orders_of(partition, key, requested_at, result, is_held=partition.key in held)

    def _erase_orders_of(
        self, partition: EventPartition, key: str, requested_at: datetime, result: Erased, *, is_held: bool
    ) -> None:
        if is_purged(self.ledger, partition.key):
            return drop_entitlement(self.ledger, partition.key, key)
        snapshot = self.vault.read(partition.key)
        if snapshot is None and is_held:
            result.leave(
                f"{partition.key}: its orders are not in the vault now, so nobody knows which are theirs",
                todo=f"run `erase` again when the orders of {partition.key} were read again",
            )
        if snapshot is None or not (is_held or self._theirs(snapshot, key, requested_at)):
            return None
        with exclusive(self.ledger, self.waits, LockName.ORDERS, partition.key):
            if partition not in known_partitions(self.ledger):
                raise NotYet(f"{partition.key} got another key just now")
            self._empty_copies(partition)
            orders = AgreedOrders(self.vault, self.ledger)
            snapshot = orders.read(partition.key) or snapshot
            numbers = self._theirs(snapshot, key, requested_at)
            remember_erased(self.ledger, partition.key, numbers, key)
            before = snapshot
            if numbers:
                rest = {number: record for number, record in before.records.items() if number not in numbers}
                snapshot = orders.write(replace(before, records=rest))
            self._record_without(key, before, snapshot)
        log_step("attendees_erased", step="erase", partition=partition.key, deleted=len(numbers))
        result.done.append(f"{partition.key}: {len(numbers)} attendees are out of the vault")
        return None

    def _empty_copies(self, partition: EventPartition) -> None:
        """Empty orders that a renaming left under another key. The next load of the event would do it, perhaps late."""
        for key in sorted(other_keys(self.ledger, partition.event_id) - {partition.key}):
            if (copy := self.vault.read(key)) and copy.records:
                self.vault.write(OrderSnapshot(copy.partition, rebuilding=True, generation=copy.generation))

    def _theirs(self, snapshot: OrderSnapshot, key: str, requested_at: datetime) -> set[int]:
        """Return the numbers of the attendees to erase, noted ones included: their order may name nobody any more."""
        noted = erased_ids(self.ledger, snapshot.partition.key)
        return {
            number
            for number, record in snapshot.records.items()
            if number in noted or (record.first_seen_at <= requested_at and self._is_of(record, key))
        }

    def _record_without(self, key: str, before: OrderSnapshot, snapshot: OrderSnapshot) -> None:
        """As a poll would that no longer saw them. Where the orders were up to date, they are so still."""
        partition = snapshot.partition
        poll = last_poll(self.ledger, partition.key)
        if poll is None:
            return
        is_current = poll.book_digest == book_digest(_listed(before))
        left = replace(
            poll,
            known=len(snapshot.present),
            reread_count=count_reread_every_poll(snapshot),
            book_digest=book_digest(_listed(snapshot)) if is_current else None,
            content_digest=content_digest(snapshot, table_rules(self.pseudonymizer)),
        )
        holders = set(holders_of(snapshot, self.pseudonymizer))
        if snapshot.rebuilding:
            holders |= recorded_holders(self.ledger, partition.key) - {key}
        record_poll(self.ledger, partition.edition, left, holders)

    def _erase_rows(self, key: str, former: Collection[str], result: Erased) -> None:
        """Load the events without the person, then delete what other rows have the address.

        Those are of events whose orders left the vault before, and of a table that was behind.
        """
        if "the vault" in result.unfinished:
            result.unfinished["the tables"] = "they follow their orders"
            return
        for partition in known_partitions(self.ledger):
            if key in {item.address_key for item in erased_attendees_of(self.ledger, partition.key)}:
                self._load(partition)
        tables = _tables()
        with ExitStack() as changes:
            for table in tables:
                changes.enter_context(recorded_change(table, warehouse=self.warehouse, ledger=self.ledger))
            deleted = sum(self.warehouse.forget(tables, CONTACT_ADDRESS_COLUMN, each) for each in (key, *former))
        if deleted:
            result.done.append(f"{deleted} more rows with the address are out of the tables")
        newer = self._find(key).tickets
        for partition in newer:
            self._load(partition)
        left = 0 if newer else self.warehouse.count(tables, CONTACT_ADDRESS_COLUMN, key)
        if left:
            result.unfinished["the tables"] = f"{left} rows came back while they were deleted"

    def _load(self, partition: EventPartition) -> None:
        snapshot = None if is_purged(self.ledger, partition.key) else self.vault.read(partition.key)
        if snapshot is not None:
            load_rows(
                partition,
                snapshot.records.values(),
                warehouse=self.warehouse,
                ledger=self.ledger,
                pseudonymizer=self.pseudonymizer,
            )

    def _take_off(self, key: str, result: Erased) -> None:
        """Run the step of a poll that has nobody to let in: the same cautions, the same one writer. Then look."""
        self._refuse_in_dry_run()
        known = {partition.edition: partition for partition in known_events(self.ledger).values()}
        periods = [period for period in periods_of(self.ledger, key) if period.edition in known]
        for edition in sorted({period.edition for period in periods}):
            if key not in grants_without_ticket(self.ledger, edition):
                if any(p.edition == edition and p.state != "revoked" and p.added_by_us for p in periods):
                    raise NotYet(
                        f"edition {edition}: not taken off the guest list, because the orders of some event are not "
                        "read and the person may hold a ticket there"
                    )
                continue
            outcome = self._guest_list_step().run(known[edition], {})
            if self.gather is not None and grants_of(self.ledger, edition, [key]):
                raise NotYet("; ".join(outcome.problems) or f"edition {edition}: Gather has not confirmed it")
            result.done.append(f"edition {edition}: off the Gather guest list")
        self._look_at_guest_list(key, result)

    def _look_at_guest_list(self, key: str, result: Erased) -> None:
        """Look for an entry that is not ours to remove: the step has seen ours go."""
        if self.gather is not None:
            lists = [client.read().entries for client in self.gather.each().values()]
            if any(self.pseudonymizer.address(address) == key for entries in lists for address in entries):
                line = "Gather: an entry somebody else made, or made their own. Remove it there if wanted"
                result.leave(line, todo="remove the entry in Gather that somebody else made, if it should go")
        elif any(period.state == "granted" for period in periods_of(self.ledger, key)):
            line = "Gather: an entry that nobody can remove from here, because GATHER_API_URL is `off`"
            result.leave(line, todo="remove the entry in Gather")

    def _leave_guild(self, key: str, result: Erased) -> None:
        self._refuse_in_dry_run()
        result.done += withdraw_invites(
            key,
            discord=self.discord,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self.waits,
        )
        line = "Discord: the account stays a member of the guild, without the role"
        result.leave(line, todo="remove the account from the guild in Discord, if it should go")

    def _in_klaviyo(self, key: str, former: Collection[str]) -> MailServiceErasure:
        self._refuse_in_dry_run()
        if self.klaviyo is None:
            raise NotYet(
                "KLAVIYO_API_URL is off, so it was left alone. Set it, or remove the person in Klaviyo by hand"
            )
        try:
            refuse_other_klaviyo_account(klaviyo=self.klaviyo, ledger=self.ledger, settings=self.settings)
        except LedgerError as error:
            raise NotYet(str(error)) from None
        return MailServiceErasure(
            klaviyo=self.klaviyo,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self.waits,
            key=key,
            former=former,
        )

    def _leave_lists(self, key: str, former: Collection[str], result: Erased) -> None:
        if self.klaviyo is None and not profiles_in_ledger(self.ledger, (key, *former)):
            return  # mail is switched off, and no list ever held the person
        in_klaviyo = self._in_klaviyo(key, former)
        try:
            result.done += in_klaviyo.leave_lists()
        finally:
            result.profiles |= in_klaviyo.profiles()

    def _delete_profiles(self, key: str, former: Collection[str], spellings: Collection[str], result: Erased) -> None:
        """Delete the profiles once they are off the lists, where somebody with them could still be found."""
        if "the mailing lists" in result.unfinished:
            raise NotYet("they follow the mailing lists")
        if not self.settings.klaviyo_delete_profiles:
            raise NotYet(
                "KLAVIYO_DELETE_PROFILES is not set any more. Set it again, or run `erase` again and delete the "
                "profile in Klaviyo by hand"
            )
        result.done += self._in_klaviyo(key, former).delete_profiles(spellings)

    def _refuse_in_dry_run(self) -> None:
        if self.settings.pycontw_dry_run:
            raise NotYet("PYCONTW_DRY_RUN is set, so it was left alone")

    # -- what stays -------------------------------------------------------------------------------

    def _explain_rest(self, key: str, found: Found, result: Erased) -> None:
        self._explain_profiles(sorted(result.profiles), found, result)
        result.leave(
            "ledger: a pseudonym with the times of access and invitation, needed so that nobody is mailed twice and "
            "their orders are not read again"
        )
        if found.mentioned:
            numbers = ", ".join(map(str, found.mentioned))
            result.leave(
                f"vault: forms of other buyers name the address (attendees {numbers}): correct in KKTIX",
                todo=f"correct the forms of attendees {numbers} in KKTIX, which name the address",
            )
        if any(partition.is_imported for partition in found.tickets):
            result.leave(
                "the exported files that were imported: they are not kept here",
                todo="remove the person from the exported files that you keep; importing them again brings nobody back",
            )
        for kept in (self.vault.leftovers(), self.warehouse.leftovers):
            if kept:
                result.leave(kept.line, todo=kept.todo, goes=kept.goes)
        result.leave(
            "KKTIX: the order itself; ask KKTIX. It is looked at there now and then, to see whether the ticket is "
            "somebody else's by now, and nothing of it is kept",
            todo="ask KKTIX to delete the order",
        )
        result.leave("backups of vault and tables, until they expire", goes="your own backups go when they expire")

    def _explain_profiles(self, profiles: list[str], found: Found, result: Erased) -> None:
        if _PROFILES in result.places:
            result.leave("Klaviyo: the address on its page of deleted profiles, which it keeps as a record")
        elif profiles or found.is_in_ledger:
            named = f" {' and '.join(profiles)}" if profiles else ""
            result.leave(
                f"Klaviyo: the profile{named} with its history. `erase` deletes it, also afterwards, with "
                "KLAVIYO_DELETE_PROFILES=1 and a key with the scope data-privacy:write. By hand: open it in Klaviyo "
                "and choose “Delete profile” (a request under data protection law)",
                todo=f"delete the profile{named} in Klaviyo",
            )

    def _guest_list_step(self) -> GuestListStep | SpacesStep:
        return guest_list_step(
            gather=self.gather,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
            waits=self.waits,
            revoke_limit=self.settings.revoke_limit,
            poll_id=new_poll_id(self.ledger.clock()),
        )


def _listed(snapshot: OrderSnapshot) -> frozenset[int]:
    """Return the numbers that the attendance book listed when a good poll made the snapshot."""
    return frozenset(record.attendee.attendee_id for record in snapshot.present).union(snapshot.quarantine)


@contextmanager
def _noted(place: Place, result: Erased) -> Iterator[None]:
    """Note why a place is not done, and let the others go on."""
    try:
        yield
    except (NotYet, Busy, ServiceError, VaultError, WarehouseError) as error:
        said = (result.unfinished.get(place), str(error))
        result.unfinished[place] = "; ".join(filter(None, said))


def _tables() -> list[Table]:
    """Return every table with the pseudonym of an address: the attendees, and who came to which edition."""
    return [*attendee_tables(load_policy().columns).values(), ATTENDEE_EDITIONS]


def finish_erasures(
    *,
    gather: GatherClient | None,
    klaviyo: KlaviyoClient | None,
    vault: Vault,
    warehouse: Warehouse,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    settings: Settings,
    stop: Stop = OF_THIS_PROCESS,
) -> Iterator[str]:
    """Go on with the erasures that are not finished, without waiting for anybody. Yield which of them take long.

    Raise ``Stopped`` between two places when ``stop`` was asked for: the request remembers what is left.
    """
    requests = [] if settings.pycontw_dry_run else erasure_requests(ledger)
    for request in requests:
        erasure = Erasure(
            gather=gather,
            klaviyo=klaviyo,
            vault=vault,
            warehouse=warehouse,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=replace(waits, lock=0, visible=0),
            settings=settings,
            stop=stop,
        )
        result = erasure.go_on(request.address_key, request.places, request.requested_at)
        # Polls had their turn by then. Whoever asked for it has read what is left.
        is_late = ledger.clock() - request.requested_at > _TURNS * timedelta(seconds=settings.poll_interval_seconds)
        if result.unfinished and is_late:
            yield (
                f"an erasure of {request.requested_at:%Y-%m-%d %H:%M} UTC is not finished: {'; '.join(result.problems)}"
            )
