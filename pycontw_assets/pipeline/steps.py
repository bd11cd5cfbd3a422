"""The steps of one event: read orders, load rows, guest list, ticket-holder list, campaign.

Assets, ``plan`` and dry runs call the same functions, so none of them has logic of its own. Each function takes the
systems it uses. What is due belongs to ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from pycontw_assets.api.client import ServiceError
from pycontw_assets.authorize.guest_list_step import Gather, GuestListStep
from pycontw_assets.authorize.space_steps import SpacesStep
from pycontw_assets.authorize.spaces import Space, are_shared, split_spaces
from pycontw_assets.deidentify.holders import Contacts, contact_answer, count_unmailable, holders_of
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import Deidentified, deidentify
from pycontw_assets.extract.events import Discovery, discover, live_edition
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.orders import (
    BookReading,
    ContentDigest,
    MalformedAttendee,
    content_digest,
    count_reread_every_poll,
    next_refresh,
    parse_attendee,
    reread_interval,
)
from pycontw_assets.extract.snapshot import SnapshotOutcome, read_books, take_snapshot
from pycontw_assets.extract.waves import Wave, WaveSize
from pycontw_assets.ledger.batches import find_newcomers, vouched_at
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import cancel_purge, known_events
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName, check_locks, lock
from pycontw_assets.ledger.people import (
    ErasedAttendee,
    end_refresh_requests,
    erased_attendees_of,
    erased_ids,
    forget_erased,
    recognise,
    record_look,
    requested_refreshes,
)
from pycontw_assets.ledger.polls import (
    Poll,
    last_poll,
    record_load,
    record_poll,
    record_table_state,
    recorded_holders,
    table_state,
)
from pycontw_assets.ledger.reporting.unreachable import refused_addresses
from pycontw_assets.ledger.restoration import unmailed_since
from pycontw_assets.load.checks import refuse_misleading
from pycontw_assets.load.readers.daily_sales import refresh_sales
from pycontw_assets.load.readers.returning import refresh_editions
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import Outcome, Warehouse, WarehouseError, replace_rows
from pycontw_assets.pipeline.consistency.orders import AgreedOrders, refuse_older_ledger
from pycontw_assets.pseudonyms import NORMALISATION_VERSION, Pseudonymizer, is_mailable, normalise_address
from pycontw_assets.records import AttendeeRecord, Event, EventPartition, Holder, OrderSnapshot, refuse_imported
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.invitation_event import Links
from pycontw_assets.send_email.by_event.reach import Reach, resumable
from pycontw_assets.send_email.campaign import CampaignStep, MailOfSpace
from pycontw_assets.send_email.campaign_sending import Sender
from pycontw_assets.send_email.find_or_create import ensure_template
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.invitation.template import InvitationTemplate, render_invitation
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.ticket_holders import TicketHolderOutcome, sync_ticket_holders
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets.vault.vault import OrdersStore, VaultError

_USUAL_SIZE = WaveSize()


class UnknownPartition(LookupError):
    """No event has this partition key."""


@dataclass(frozen=True, slots=True)
class OrdersRead:
    outcome: SnapshotOutcome
    digest: str


@dataclass(frozen=True, slots=True)
class RowsLoaded:
    """``attendees`` went in; ``stored`` is what the table holds of the event afterwards.

    ``people``: whether somebody is new in ``attendee_editions``, or not there any more. ``sales``: whether a day of
    ``daily_sales`` changed.
    """

    result: Deidentified
    outcome: Outcome
    attendees: int
    stored: int
    people: Outcome
    sales: Outcome


def exclusive(
    ledger: Ledger, waits: WaitPolicy, name: LockName, partition_key: str = ""
) -> AbstractContextManager[None]:
    """Hold a lock of the ledger for a block, waiting as long as ``waits`` allows."""
    return lock(ledger, name, partition_key, wait_seconds=waits.lock, sleep=waits.sleep)


def partition_of(ledger: Ledger, key: str) -> EventPartition:
    """Return the event or import of a partition key. Unknown keys are refused before they reach a file or a query."""
    for partition in known_partitions(ledger):
        if partition.key == key:
            return partition
    raise UnknownPartition("no event has this partition key; the sensor and `poll` register events")


def known_partitions(ledger: Ledger) -> list[EventPartition]:
    """Return all that has orders and rows: the events that polls found, then the imports. Access is about events."""
    return [*known_events(ledger).values(), *known_imports(ledger).values()]


def mapped_events(settings: Settings) -> dict[int, EventPartition | None]:
    """Return what ``KKTIX_EVENTS`` says of events by id; ``None``: the event is to be ignored."""
    return {
        int(event_id): EventPartition(int(event_id), mapping.edition, mapping.family) if mapping else None
        for event_id, mapping in settings.kktix_events.items()
    }


def discover_events(
    listed: Sequence[Event],
    known: Mapping[int, EventPartition],
    settings: Settings,
    *,
    edition: str | None = None,
) -> Discovery:
    """Sort KKTIX's listing by what is to be polled. In production only a person says which edition begins."""
    is_production = settings.pycontw_env == "production"
    discovery = discover(
        listed,
        known=known,
        mapped=mapped_events(settings),
        edition=edition or settings.edition,
        may_begin=not is_production,
    )
    if is_production and discovery.edition is None:
        raise unknown_edition(event.edition for event in discovery.unmatched if event.edition)
    return discovery


def unknown_edition(seen: Iterable[str]) -> InvalidSettings:
    """Return the refusal of a production ledger without a live edition. ``seen``: the editions to choose from."""
    shown = ", ".join(sorted(set(seen))) or "none"
    return InvalidSettings(
        "EDITION: is not set, and the ledger has no event of any edition yet; set it to the year whose ticket holders "
        f"are to be let in and mailed (events are listed of: {shown})"
    )


def recorded_edition(ledger: Ledger, settings: Settings) -> str | None:
    """Return the live edition as the settings and the ledger have it. KKTIX is not asked."""
    return live_edition(settings.edition, known_events(ledger), mapped_events(settings))


# -- orders -----------------------------------------------------------------------------------------


def stored_snapshots(ledger: Ledger, vault: OrdersStore) -> Iterator[tuple[EventPartition, OrderSnapshot]]:
    """Yield every known event whose orders are in the vault, with them. Imports are not among them."""
    for partition in known_events(ledger).values():
        if snapshot := vault.read(partition.key):
            yield partition, snapshot


def without_erased(ledger: Ledger, partition: EventPartition, book: BookReading) -> BookReading:
    """Leave out the attendees who asked to be forgotten, whatever KKTIX lists. It may be repeated."""
    erased = erased_ids(ledger, partition.key)
    if not erased and not book.erased:
        return book
    listed = book.ids | book.erased
    return replace(book, ids=listed - erased, erased=listed & erased)


def let_new_owners_in(
    partition: EventPartition,
    book: BookReading,
    *,
    kktix: KktixClient,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    refresh: timedelta,
) -> None:
    """Let tickets of erased people that are somebody else's by now be read like all others.

    They are looked at as rarely as other tickets, and nothing of the answers is kept. In doubt a ticket stays erased.
    An erasure may know its person by an older pseudonym: their orders were gone when the normal form changed.
    """
    now = ledger.clock()
    listed = [item for item in erased_attendees_of(ledger, partition.key) if item.attendee_id in book.erased]
    keys = {item.attendee_id: item.address_key for item in listed if next_look(item, refresh, now) <= now}
    if not keys:
        return
    owners: dict[int, str | None] = {}
    for number, answer in kktix.fetch_attendees(partition.event_id, sorted(keys)):
        spelling = None if isinstance(answer, ServiceError) else _owner(answer)
        owners[number] = pseudonymizer.address(spelling) if spelling else None
        if spelling and keys[number] in pseudonymizer.former_keys(spelling):
            recognise(ledger, pseudonymizer, [spelling])
            keys[number] = owners[number]
    record_look(ledger, partition.key, owners)
    others = [number for number, owner in owners.items() if None not in (owner, keys[number]) and owner != keys[number]]
    forget_erased(ledger, partition.key, others)


def next_look(attendee: ErasedAttendee, refresh: timedelta, now: datetime) -> datetime:
    """Return when to look whose the ticket of an erased attendee is: now, if nobody has or a clock was wrong then."""
    if attendee.checked_at is None or attendee.checked_at > now:
        return now
    stable_for = attendee.checked_at - (attendee.erased_at or attendee.checked_at)
    return attendee.checked_at + reread_interval(stable_for, refresh)


def _owner(payload: dict[str, Any]) -> str | None:
    """Return the contact address as it was typed, if it is one that mail could reach."""
    try:
        address = contact_answer(parse_attendee(payload)[0])
    except MalformedAttendee:
        return None
    is_certain = address is not None and is_mailable(normalise_address(address))
    return address if is_certain else None


def stored_orders(vault: OrdersStore, ledger: Ledger, partition: EventPartition) -> OrderSnapshot:
    """Return the stored orders; ``VaultError`` when there are none, for empty lists and tables would follow.

    Orders of another time than the ledger are refused, too.
    """
    snapshot = AgreedOrders(vault, ledger).read(partition.key)
    if snapshot is None:
        raise VaultError(f"vault: there are no orders of {partition.key} yet; materialize raw_kktix_orders first")
    if snapshot.rebuilding and not snapshot.records:
        raise VaultError(f"vault: the orders of {partition.key} are not there (any more); nothing is done without them")
    return snapshot


def stored_records(vault: OrdersStore, ledger: Ledger, partition: EventPartition) -> Iterator[AttendeeRecord]:
    """Return the same orders one by one, for a caller that looks at each of them once."""
    stored = AgreedOrders(vault, ledger).stream(partition.key)
    if stored is None or stored[0].rebuilding:
        return iter(stored_orders(vault, ledger, partition).records.values())
    return stored[1]


def table_rules(pseudonymizer: Pseudonymizer) -> str:
    """Name the rules by which orders become rows: another policy, key or normal form makes every table due."""
    return f"{load_policy().version} {pseudonymizer.fingerprint} {NORMALISATION_VERSION}"


def read_orders(
    partition: EventPartition,
    *,
    kktix: KktixClient,
    vault: OrdersStore,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    refresh: timedelta,
    overrides: frozenset[str] = frozenset(),
    book: BookReading | None = None,
    serve: Callable[[Wave], None] | None = None,
    wave_size: WaveSize = _USUAL_SIZE,
) -> OrdersRead:
    """Poll the event, keep its orders, and only then record the poll in the ledger. KKTIX knows no import.

    ``book``: what this tick already read of the attendance books; ``None``: read them now. ``serve``: serves the buyers
    read so far while others are unread (``waves``).
    """
    refuse_imported(partition.key)
    earlier, requested = last_poll(ledger, partition.key), requested_refreshes(ledger, partition.key)
    with exclusive(ledger, waits, LockName.ORDERS, partition.key):
        partition_of(ledger, partition.key)  # it may have been renamed while this run waited
        book = without_erased(ledger, partition, book or read_books(kktix, partition.event_id))
        let_new_owners_in(partition, book, kktix=kktix, ledger=ledger, pseudonymizer=pseudonymizer, refresh=refresh)
        book = without_erased(ledger, partition, book)
        erased = [item for item in erased_attendees_of(ledger, partition.key) if item.attendee_id in book.erased]
        outcome = take_snapshot(
            kktix,
            AgreedOrders(vault, ledger, is_reading=True, may_start_over="re-read" in overrides),
            partition,
            book=book,
            now=ledger.clock(),
            refresh=refresh,
            known_before=earlier.known if earlier else 0,
            # A poll with a problem records no digest of the book: it may have missed somebody.
            last_good_poll=earlier.polled_at if earlier and earlier.book_digest is not None else None,
            contacts=Contacts(pseudonymizer, refused_addresses(ledger, partition.edition, partition.key).keys()),
            requested=requested,
            trust_book="book" in overrides,
            serve=serve,
            wave_size=wave_size,
        )
        looks = [next_look(item, refresh, ledger.clock()) for item in erased]
        snapshot, digest = outcome.snapshot, content_digest(outcome.snapshot, table_rules(pseudonymizer))
        present = holders_of(snapshot, pseudonymizer)
        recognise(ledger, pseudonymizer, [form for holder in present.values() for form in holder.former])
        holders = set(present)
        if snapshot.rebuilding:
            holders |= recorded_holders(ledger, partition.key)
        poll = Poll(
            partition_key=partition.key,
            polled_at=ledger.clock(),
            book_digest=None if outcome.problem else outcome.book.digest,
            known=len(snapshot.present),
            reread_count=count_reread_every_poll(snapshot),
            refresh_at=_earliest(next_refresh(snapshot, refresh), *looks),
            content_digest=digest,
            problem=outcome.problem,
            without_address=count_unmailable(snapshot),
        )
        check_locks()  # another poll may have recorded later facts while this machine slept
        record_poll(ledger, partition.edition, poll, holders)
        cancel_purge(ledger, partition.key)
        end_refresh_requests(ledger, partition.key, requested & outcome.book.ids if outcome.problem else requested)
    return OrdersRead(outcome, digest)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)


# -- tables -----------------------------------------------------------------------------------------


def load_rows(
    partition: EventPartition,
    records: Iterable[AttendeeRecord],
    *,
    warehouse: Warehouse,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
) -> RowsLoaded:
    """Replace the event's rows by those of its orders, then its people and days of sales.

    Only then record the load in the ledger.
    """
    digest = ContentDigest(table_rules(pseudonymizer))
    table = attendee_tables(load_policy().columns)[partition.family]
    result = deidentify(digest.passing(records), partition, pseudonymizer)
    refuse_misleading(table.name, result.frame)
    with recorded_change(table, warehouse=warehouse, ledger=ledger):
        outcome = replace_rows(warehouse, table, partition.key, result.frame)
    people = refresh_editions(warehouse, table, partition.edition, partition.family)
    sales = refresh_sales(warehouse, partition, result.frame)
    stored = warehouse.partition_rows(table, partition.key)
    record_load(ledger, partition.key, str(digest))
    return RowsLoaded(result, outcome, digest.records, stored, people, sales)


@contextmanager
def recorded_change(table: Table, *, warehouse: Warehouse, ledger: Ledger) -> Iterator[None]:
    """Record the table's state after the block, so that the next tick knows the change for ours.

    Where somebody else changed the table before it, the record stays as it was, and the next tick finds that out.
    """
    known, before = table_state(ledger, table.name), warehouse.state(table)
    yield
    if known is None or known == before:
        record_table_state(ledger, table.name, warehouse.state(table))


def changed_tables(partitions: Iterable[EventPartition], *, warehouse: Warehouse, ledger: Ledger) -> dict[str, str]:
    """Return the tables of these events that are not as our last load left them (or gone), with their states now.

    A table that cannot be looked at is left out: nobody knows. The next tick looks again, and a load that is due fails
    visibly.
    """
    tables = attendee_tables(load_policy().columns)
    states: dict[str, str] = {}
    for table in {tables[partition.family].name: tables[partition.family] for partition in partitions}.values():
        with suppress(WarehouseError):
            states[table.name] = warehouse.state(table, is_waiting=False)
    return {name: state for name, state in states.items() if state != table_state(ledger, name)}


# -- guest list -------------------------------------------------------------------------------------


class Venue(Protocol):
    """The guest lists of all spaces, in the order of ``GATHER_SPACE_ID`` (``GatherClient``)."""

    def each(self) -> Mapping[Space, Gather]: ...


def space_ids(settings: Settings) -> list[str]:
    """Return the ids of the venue's spaces as they are set, right or wrong."""
    return [space.space_id for space in split_spaces(settings.gather_space_id)]


def guest_list_step(
    *,
    gather: Venue | None,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    revoke_limit: int | None,
    poll_id: str,
    overrides: frozenset[str] = frozenset(),
) -> GuestListStep | SpacesStep:
    """Build the step. ``gather`` is ``None`` where the guest list is switched off."""
    lists = gather.each() if gather else {}

    def alone() -> AbstractContextManager[None]:
        return exclusive(ledger, waits, LockName.GUEST_LIST)

    if are_shared(lists):
        return SpacesStep(
            lists=lists,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            exclusive=alone,
            poll_id=poll_id,
            configured_limit=revoke_limit,
            overrides=overrides,
        )
    space, client = next(iter(lists.items()), (None, None))
    return GuestListStep(
        client,
        ledger,
        pseudonymizer,
        alone,
        poll_id,
        revoke_limit,
        overrides,
        space=space.digest if space else None,
    )


def assume_access(
    partition: EventPartition,
    *,
    vault: OrdersStore,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    poll_id: str,
) -> None:
    """Count the event's holders as let in, where the guest list is switched off. No service is asked."""
    step = guest_list_step(
        gather=None, ledger=ledger, pseudonymizer=pseudonymizer, waits=waits, revoke_limit=None, poll_id=poll_id
    )
    step.run(partition, holders_of(stored_orders(vault, ledger, partition), pseudonymizer))


# -- mail -------------------------------------------------------------------------------------------


_SPACE_IN_URL = "{space}"


def venue_urls(settings: Settings) -> dict[str, str]:
    """Return the venue link of each space, by the space's digest, in the order of the settings."""
    url = settings.invitation_venue_url
    return {s.digest: url.replace(_SPACE_IN_URL, s.path) for s in split_spaces(settings.gather_space_id)}


def venue_url(settings: Settings, space: str | None = None) -> str:
    """Return the venue link of a space. ``None``, or a space that is not set: that of the first one."""
    urls = venue_urls(settings)
    return urls.get(space or "") or next(iter(urls.values()))


def refuse_shared_link(settings: Settings) -> None:
    """Raise ``InvalidSettings`` where the mails of several spaces would show one link."""
    urls = venue_urls(settings)
    if len(urls) > 1 and len(set(urls.values())) == 1:
        raise InvalidSettings(
            "INVITATION_VENUE_URL: shows the same link to the people of every space of GATHER_SPACE_ID; write {space} "
            "where the address has id and name of the space, e.g. https://app.gather.town/app/{space}"
        )


def invitation(edition: str, settings: Settings, space: str | None = None) -> InvitationTemplate:
    """Render the invitation mail of an edition with the links of the settings, for the people of a space."""
    return render_invitation(
        edition,
        venue_url=venue_url(settings, space),
        video_url=settings.video_url,
        has_discord=not settings.discord_is_off,
    )


def template_id_of(mail: InvitationTemplate, *, klaviyo: KlaviyoClient, ledger: Ledger, waits: WaitPolicy) -> str:
    """Return the id of the mail's template in Klaviyo, made when there is none."""
    with exclusive(ledger, waits, LockName.MAIL_SERVICE_NAMES):
        return ensure_template(klaviyo, ledger, waits, rendered=mail)


def sync_holder_list(
    partition: EventPartition, *, klaviyo: KlaviyoClient, vault: OrdersStore, ledger: Ledger,
    pseudonymizer: Pseudonymizer, waits: WaitPolicy, settings: Settings, personal_links: PersonalLinks = no_links,
) -> TicketHolderOutcome:  # fmt: skip
    """Bring the event's cumulative list in line with its holders. An import has no list: ``ImportedPartition``."""
    refuse_imported(partition.key)
    holders = holders_of(stored_orders(vault, ledger, partition), pseudonymizer)
    return change_holder_list(
        partition,
        holders,
        klaviyo=klaviyo,
        ledger=ledger,
        waits=waits,
        settings=settings,
        personal_links=personal_links,
    )


def change_holder_list(
    partition: EventPartition, holders: Mapping[str, Holder], *, klaviyo: KlaviyoClient, ledger: Ledger,
    waits: WaitPolicy, settings: Settings, is_wave: bool = False, personal_links: PersonalLinks = no_links,
) -> TicketHolderOutcome:  # fmt: skip
    """Put these holders on the event's cumulative list, and take others off it, unless they are only a wave."""
    return sync_ticket_holders(
        client=klaviyo,
        ledger=ledger,
        waits=waits,
        exclusive=lambda: exclusive(ledger, waits, LockName.MAIL_SERVICE_NAMES),
        partition=partition,
        holders=holders,
        may_mark=lambda: _is_next(partition, ledger, settings) and _is_newest(partition.edition, klaviyo, ledger),
        is_wave=is_wave,
        personal_links=personal_links,
    )


# The list of ticket holders comes just before the invitations, which need not ask again. A ledger that is put back from
# a backup cannot be newer than that.
_VOUCHED_FOR = timedelta(minutes=1)


def _is_next(partition: EventPartition, ledger: Ledger, settings: Settings) -> bool:
    """Whether a campaign takes the event's newcomers at once. Those who wait must not carry the key of a batch yet.

    Whoever has a key without a campaign counts as perhaps invited when the ledger is rebuilt.
    """
    if settings.invite_via != "campaign" or unmailed_since(ledger, partition.edition):
        return False
    if len(space_ids(settings)) > 1:
        return False  # they may be of several batches
    return len(find_newcomers(ledger, partition.key, partition.edition)) <= settings.invite_limit


def _is_newest(edition: str, klaviyo: KlaviyoClient, ledger: Ledger) -> bool:
    """Whether Klaviyo knows nothing that this ledger does not. Where not, the step of the invitations says so."""
    try:
        refuse_older_ledger(edition, klaviyo=klaviyo, ledger=ledger)
    except (ServiceError, LedgerError):
        return False
    return True


def links_in_mail(settings: Settings, space: str | None = None) -> Links:
    """Return the links that the mail of a flow shows to the people of a space."""
    return Links(venue_url(settings, space), settings.video_url)


def reach_of(settings: Settings) -> Reach:
    """Return how people are invited, and whom that reaches."""
    return Reach(settings.invite_via, settings.invite_flow_is_transactional)


def invitations_to_resume(ledger: Ledger, partition: EventPartition, settings: Settings) -> dict[str, int]:
    """Return the invitations, by address key, that a batch of events of this event of KKTIX may go on with."""
    return resumable(ledger, partition, reach_of(settings))


def campaign_step(
    partition: EventPartition,
    *,
    klaviyo: KlaviyoClient,
    ledger: Ledger,
    waits: WaitPolicy,
    settings: Settings,
    poll_id: str,
    overrides: frozenset[str] = frozenset(),
    template_id: Callable[[], str] | None = None,
    personal_links: PersonalLinks = no_links,
) -> CampaignStep:
    """Build the step for one event. ``template_id`` replaces finding or making the template, when a campaign needs it.

    Nobody is mailed because of an import: ``ImportedPartition``.
    """
    refuse_imported(partition.key)
    mail = invitation(partition.edition, settings)
    spaces = list(venue_urls(settings)) if len(space_ids(settings)) > 1 else []
    vouched = vouched_at(ledger, partition.key)
    is_vouched = vouched is not None and timedelta(0) <= ledger.clock() - vouched <= _VOUCHED_FOR

    def of_space(space: str) -> MailOfSpace:
        mail = invitation(partition.edition, settings, space)
        made = template_id or partial(template_id_of, mail, klaviyo=klaviyo, ledger=ledger, waits=waits)
        return MailOfSpace(mail, made, links_in_mail(settings, space))

    def vouch() -> None:
        if not is_vouched:
            refuse_older_ledger(partition.edition, klaviyo=klaviyo, ledger=ledger)

    return CampaignStep(
        client=klaviyo,
        ledger=ledger,
        waits=waits,
        exclusive=lambda: exclusive(ledger, waits, LockName.MAIL_SERVICE_NAMES),
        sender=Sender(settings.klaviyo_from_email, settings.klaviyo_from_label, settings.klaviyo_reply_to),
        mail=mail,
        template_id=template_id or partial(template_id_of, mail, klaviyo=klaviyo, ledger=ledger, waits=waits),
        poll_id=poll_id,
        events=EventsClient(klaviyo),
        links=links_in_mail(settings),
        personal_links=personal_links,
        of_spaces={space: of_space(space) for space in spaces},
        reach=reach_of(settings),
        send_at=settings.invitation_send_at,
        invite_limit=settings.invite_limit,
        overrides=overrides,
        unmailed_since=unmailed_since(ledger, partition.edition),
        vouch=vouch,
    )
