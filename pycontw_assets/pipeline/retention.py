"""Orders leave the vault long after their event was last listed.

Nothing outside changes by it. Access, lists and tables stay as they are, and nothing more is done for the event. KKTIX
hides an event from the listing when it has ended and tells no other end, so the last poll of it stands for the end.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.events import is_purged, known_events, note_expired, record_purge
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.steps import exclusive
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import OrdersStore, VaultError

CONFIRMED_FOR = timedelta(days=1)


def purge_expired(
    listed: Collection[int], *, ledger: Ledger, vault: OrdersStore, waits: WaitPolicy, retention_days: int
) -> None:
    """Empty the orders of expired events, except those whose ids KKTIX still lists (``listed``).

    A day passes between the first tick that finds an event expired and the one that empties it: what a clock that was
    ahead for one tick deletes, nobody brings back. An event that cannot be emptied now is left to the next tick;
    ``doctor`` shows which are overdue.
    """
    expired = [p for p in expired_events(ledger, retention_days) if p.event_id not in listed]
    since = note_expired(ledger, [partition.key for partition in expired])
    for partition in expired:
        if ledger.clock() - since[partition.key] >= CONFIRMED_FOR:
            with suppress(VaultError, Busy):
                _purge(partition, ledger=ledger, vault=vault, waits=waits)


def expired_events(ledger: Ledger, retention_days: int) -> list[EventPartition]:
    """Return the events past their retention whose orders are still in the vault."""
    before = ledger.clock() - timedelta(days=retention_days)
    polls = {partition: last_poll(ledger, partition.key) for partition in known_events(ledger).values()}
    old = [partition for partition, poll in polls.items() if poll and poll.polled_at <= before]
    return [partition for partition in old if not is_purged(ledger, partition.key)]


def _purge(partition: EventPartition, *, ledger: Ledger, vault: OrdersStore, waits: WaitPolicy) -> None:
    """Leave a snapshot that is "being read again": an attendee's absence from it says nothing about its holder."""
    with exclusive(ledger, replace(waits, lock=0), LockName.ORDERS, partition.key):
        orders = AgreedOrders(vault, ledger)
        snapshot = orders.read(partition.key)
        if snapshot is not None:
            empty = OrderSnapshot(partition, rebuilding=True, generation=snapshot.generation, mark=snapshot.mark)
            orders.write(empty)
        record_purge(ledger, partition.key)
    log_step("orders_purged", step="maintenance", partition=partition.key)
