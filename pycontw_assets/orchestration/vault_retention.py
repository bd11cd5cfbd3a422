"""Orders do not stay for ever: long after its event was last listed, an event's orders leave the vault.

Nothing outside changes by it. Access, lists and tables stay as they are, and nothing more is done for the event. KKTIX
hides an event from the listing when it has ended and tells no other end, so the last poll of it stands for the end.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from pycontw_assets.orchestration.resources import Services
from pycontw_assets.records import EventPartition, OrderSnapshot


def purge_expired(services: Services, listed: Collection[int]) -> list[str]:
    """Keys of the events whose orders were removed now. ``listed`` are ids of events that KKTIX shows: never those."""
    before = services.clock() - timedelta(days=services.settings.retention_days)
    purged = []
    for event_id, partition in services.ledger.known_events().items():
        poll = services.ledger.poll_of(partition.key)
        if event_id in listed or poll is None or poll.polled_at > before or is_purged(services, partition.key):
            continue
        _purge(services, partition)
        purged.append(partition.key)
    return purged


def is_purged(services: Services, partition_key: str) -> bool:
    return bool(services.ledger.noted(_purged(partition_key)))


def no_longer_purged(services: Services, partition_key: str) -> None:
    """The event is listed again, so its orders are read again."""
    if is_purged(services, partition_key):
        services.ledger.note(_purged(partition_key), "")


def _purge(services: Services, partition: EventPartition) -> None:
    """What is left counts as a snapshot being read again: that somebody is not in it says nothing about them."""
    with services.exclusive(f"orders of {partition.key}"):
        services.ledger.note(_purged(partition.key), services.clock().isoformat())
        snapshot = services.vault.read(partition.key)
        if snapshot is not None:
            services.vault.write(OrderSnapshot(partition, rebuilding=True, generation=snapshot.generation))


def _purged(partition_key: str) -> str:
    return f"purged {partition_key}"
