"""The people of a letter as ledger and vault know them now: holders of a usable ticket, and of no doubtful one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.letters.audience import Audience, ListsUnfit, recorded_audience
from pycontw_assets.vault.vault import OrdersStore


def events_of_letter(ledger: Ledger, edition: str, families: Collection[str]) -> list[EventPartition]:
    """Return the events of these families. Ended ones count: their holders still hold tickets."""
    partitions = [p for p in known_events(ledger).values() if p.edition == edition and p.family in families]
    return sorted(partitions, key=lambda partition: partition.key)


def current_audience(ledger: Ledger, vault: OrdersStore, partitions: Sequence[EventPartition]) -> Audience:
    """Return whom a letter may go to now. Raise ``ListsUnfit`` while a list is behind, or a refund may be under way.

    An attendee whom the book lacks stays a holder until the next poll has asked about them.
    """
    if missing := sum(_count_missing(ledger, vault, partition) for partition in partitions):
        raise ListsUnfit(
            f"{missing} attendees are missing from KKTIX's attendance books, as after a refund, and still on the "
            "lists; run `pycontw-assets poll` first. If they stay, the poll says what to do"
        )
    return recorded_audience(ledger, partitions)


def _count_missing(ledger: Ledger, vault: OrdersStore, partition: EventPartition) -> int:
    snapshot = AgreedOrders(vault, ledger).read(partition.key)
    return sum(record.ticket_state == "missing" for record in snapshot.records.values()) if snapshot else 0
