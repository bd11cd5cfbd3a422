"""Orders do not stay for ever: long after its event was last listed, an event's orders leave the vault.

Nothing outside changes by it. Access, lists and tables stay as they are, and nothing more is done for the event. KKTIX
hides an event from the listing when it has ended and tells no other end, so the last poll of it stands for the end.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta

from pycontw_assets.ledger.events import is_purged, known_events, record_purge
from pycontw_assets.ledger.locks import Busy, LockName
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.records import EventPartition, OrderSnapshot
from pycontw_assets.vault.vault import VaultError


def purge_expired(services: Services, listed: Collection[int]) -> None:
    """``listed`` are ids of events that KKTIX shows: never those. What cannot be removed now is tried by the next tick,
    which has more urgent things to do than to stop for it; ``doctor`` tells what is overdue.
    """
    for partition in expired(services):
        if partition.event_id not in listed:
            with suppress(VaultError, Busy):
                _purge(services, partition)


def expired(services: Services) -> list[EventPartition]:
    """Events whose time is over and whose orders are still here."""
    before = services.clock() - timedelta(days=services.settings.retention_days)
    polls = {p: last_poll(services.ledger, p.key) for p in known_events(services.ledger).values()}
    old = [partition for partition, poll in polls.items() if poll and poll.polled_at <= before]
    return [partition for partition in old if not is_purged(services.ledger, partition.key)]


def _purge(services: Services, partition: EventPartition) -> None:
    """What is left counts as a snapshot being read again: that somebody is not in it says nothing about them."""
    with services.exclusive(LockName.ORDERS, partition.key):
        snapshot = services.vault.read(partition.key)
        if snapshot is not None:
            services.vault.write(OrderSnapshot(partition, rebuilding=True, generation=snapshot.generation))
        record_purge(services.ledger, partition.key)
