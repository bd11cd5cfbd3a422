"""Seconds of each stage of a table: vault, rows without personal data, checks, and warehouse."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from cryptography.fernet import Fernet

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.extract.orders import content_digest as orders_digest
from pycontw_assets.load.checks import malformed_digests, personal_values
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import content_digest
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot
from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.folder_store import FolderStore
from pycontw_assets.vault.vault import Vault

T = TypeVar("T")
PARTITION = EventPartition(90001, "2031", "individual")
_SEEN = datetime(2031, 5, 1, tzinfo=timezone.utc)


def stages(attendees: int) -> dict[str, float]:
    """Return the CPU seconds of all threads by stage, in the order of a load."""
    records = _records(attendees)
    snapshot = OrderSnapshot(PARTITION, {record.attendee.attendee_id: record for record in records})
    table = attendee_tables(load_policy().columns)["individual"]
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], T]) -> T:
        started = time.process_time()
        result = work()
        seconds[stage] = time.process_time() - started
        return result

    with tempfile.TemporaryDirectory(prefix="pycontw-benchmark-") as folder:
        store, keys = FolderStore(Path(folder) / "vault"), [Fernet.generate_key().decode()]
        warehouse = DuckDBWarehouse(Path(folder) / "warehouse.duckdb")
        timed("vault: write", lambda: Vault(store, keys).write(snapshot))
        timed("vault: read", lambda: Vault(store, keys).read(PARTITION.key))
        timed("orders: digest", lambda: orders_digest(snapshot, "rules"))
        rows = timed("de-identify", lambda: deidentify(records, PARTITION, Pseudonymizer("a key")).frame)
        timed("checks", lambda: (personal_values(rows), malformed_digests(rows)))
        digest = timed("table: digest", lambda: content_digest(rows))
        timed(
            "table: replace partition", lambda: warehouse.replace_partition(table, PARTITION.key, rows, digest=digest)
        )
    return seconds


def _records(attendees: int) -> list[AttendeeRecord]:
    """Return records of different people, each with a different phone number."""
    world = World()
    event_id = world.add_event("PyCon TW 2031 Registration: Individual", PARTITION.event_id)
    for _ in range(attendees):
        world.sell(event_id)
    return [
        AttendeeRecord(
            Attendee(
                attendee_id=ticket.attendee_id,
                is_paid=True,
                state="activated",
                answers=tuple((label, _own_phone(label, value, position)) for label, value in ticket.answers),
                ticket_name="Regular 一般票",
                reg_no=ticket.reg_no,
                price=ticket.price,
                order_no=ticket.order_no,
                updated_at=ticket.updated_at.timestamp(),
            ),
            first_seen_at=_SEEN,
            read_at=_SEEN,
        )
        for position, ticket in enumerate(world.kktix.tickets.values())
    ]


def _own_phone(label: str, value: object, position: int) -> object:
    return f"0900-{position // 1000:03d}-{position % 1000:03d}" if label == "聯絡人 手機" else value
