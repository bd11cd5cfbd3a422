"""What the assets, ``plan`` and a dry run do for one event, so that none of them has a logic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from pycontw_assets.authorize.guest_list import GuestListStep
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import Deidentified, deidentify
from pycontw_assets.extract.orders import (
    BookReading,
    ContentDigest,
    content_digest,
    count_reread_every_poll,
    next_refresh,
)
from pycontw_assets.extract.snapshot import SnapshotOutcome, read_books, take_snapshot
from pycontw_assets.ledger.events import cancel_purge, known_events
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.people import erased_ids
from pycontw_assets.ledger.polls import Poll, last_poll, record_load, record_poll, recorded_holders
from pycontw_assets.load.checks import refuse_misleading
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Outcome
from pycontw_assets.load.warehouse import content_digest as table_digest
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.send_email.campaign import CampaignStep
from pycontw_assets.vault.vault import VaultError


@dataclass(frozen=True, slots=True)
class OrdersRead:
    outcome: SnapshotOutcome
    digest: str


@dataclass(frozen=True, slots=True)
class RowsLoaded:
    """``attendees`` went in; ``stored`` is what the table holds of the event afterwards."""

    result: Deidentified
    outcome: Outcome
    attendees: int
    stored: int


def stored_snapshots(services: Services) -> Iterator[tuple[EventPartition, OrderSnapshot]]:
    """Of every event ever known whose orders are in the vault."""
    for partition in known_events(services.ledger).values():
        if snapshot := services.vault.read(partition.key):
            yield partition, snapshot


def without_erased(services: Services, partition: EventPartition, book: BookReading) -> BookReading:
    """Whoever asked to be forgotten is not read again, whatever KKTIX lists."""
    return replace(book, ids=book.ids - erased_ids(services.ledger, partition.key))


def stored_orders(services: Services, partition: EventPartition) -> OrderSnapshot:
    snapshot = services.vault.read(partition.key)
    if snapshot is None:
        raise VaultError(f"vault: there are no orders of {partition.key} yet; materialize raw_kktix_orders first")
    if snapshot.rebuilding and not snapshot.records:
        # Empty lists and tables would follow from it.
        raise VaultError(
            f"vault: the orders of {partition.key} are not there (any more); nothing is done by their word"
        )
    return snapshot


def stored_records(services: Services, partition: EventPartition) -> Iterator[AttendeeRecord]:
    """The same orders one by one, for who looks at each of them once."""
    found = services.vault.stream(partition.key)
    if found is None or found[0].rebuilding:
        return iter(stored_orders(services, partition).records.values())
    return found[1]


def read_orders(services: Services, partition: EventPartition, overrides: frozenset[str]) -> OrdersRead:
    """Poll the event, keep its orders, and only then let the ledger know of them."""
    earlier = last_poll(services.ledger, partition.key)
    refresh = timedelta(seconds=services.settings.refresh_seconds)
    with services.exclusive(LockName.ORDERS, partition.key):
        fresh = services.fresh_books.pop(partition.event_id, None)
        outcome = take_snapshot(
            services.kktix,
            services.vault,
            partition,
            without_erased(services, partition, fresh or read_books(services.kktix, partition.event_id)),
            now=services.clock(),
            refresh=refresh,
            known_before=earlier.known if earlier else 0,
            trust_book="book" in overrides,
        )
        snapshot, digest = outcome.snapshot, content_digest(outcome.snapshot, services.table_rules)
        holders = set(snapshot.holders(services.pseudonymizer))
        if snapshot.rebuilding:
            holders |= recorded_holders(services.ledger, partition.key)
        poll = Poll(
            partition_key=partition.key,
            polled_at=services.clock(),
            book_digest=None if outcome.problem else outcome.book.digest,
            known=len(snapshot.present),
            reread_count=count_reread_every_poll(snapshot),
            refresh_at=next_refresh(snapshot, refresh),
            content_digest=digest,
            problem=outcome.problem,
            without_address=snapshot.unreachable_tickets(),
        )
        record_poll(services.ledger, partition.edition, poll, holders)
        cancel_purge(services.ledger, partition.key)
    return OrdersRead(outcome, digest)


def load_rows(services: Services, partition: EventPartition, records: Iterable[AttendeeRecord]) -> RowsLoaded:
    """Replace the event's rows by those of its orders, and only then let the ledger know of them."""
    digest = ContentDigest(services.table_rules)
    table = attendee_tables(load_policy().columns)[partition.family]
    result = deidentify(digest.passing(records), partition, services.pseudonymizer)
    refuse_misleading(table.name, result.frame)
    outcome = services.warehouse.replace_partition(table, partition.key, result.frame, table_digest(result.frame))
    stored = services.warehouse.partition_rows(table, partition.key)
    record_load(services.ledger, partition.key, str(digest))
    return RowsLoaded(result, outcome, digest.records, stored)


def guest_list_step(services: Services, poll_id: str, overrides: frozenset[str]) -> GuestListStep:
    return GuestListStep(
        services.gather,
        services.ledger,
        services.pseudonymizer,
        lambda: services.exclusive(LockName.GUEST_LIST),
        poll_id,
        services.settings.revoke_limit,
        overrides,
    )


def campaign_step(
    services: Services, partition: EventPartition, poll_id: str, overrides: frozenset[str], template: Callable[[], str]
) -> CampaignStep:
    return CampaignStep(
        services.klaviyo,
        services.ledger,
        services.waits,
        lambda: services.exclusive(LockName.MAIL_SERVICE_NAMES),
        services.sender,
        services.mail(partition.edition),
        template,
        poll_id,
        services.settings.invitation_send_at,
        services.settings.invite_limit,
        overrides,
    )
