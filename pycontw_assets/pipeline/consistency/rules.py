"""Tables and the rules by which they were made. After a change of the rules, tables are made again from the vault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pycontw_assets.api.log import log_step
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.orders import ContentDigest
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import Busy, LockName
from pycontw_assets.ledger.polls import last_poll, record_rules
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse, WarehouseError
from pycontw_assets.pipeline.steps import exclusive, load_rows, partition_of, stored_records, table_rules
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import OrdersStore, VaultError

Outcome = Literal["made again", "unchanged", "current", "empty", "refused"]


@dataclass(frozen=True, slots=True)
class Remade:
    """The rows of one event after a reclassification. ``reason``: why they were refused."""

    partition: EventPartition
    outcome: Outcome
    rows: int = 0
    reason: str = ""


def reclassify(
    *, vault: OrdersStore, warehouse: Warehouse, ledger: Ledger, pseudonymizer: Pseudonymizer, waits: WaitPolicy
) -> Iterator[Remade]:
    """Bring the rows of every event to the present rules, and yield what became of each.

    Events whose rows were made by these rules are left alone, so it may be interrupted and repeated. Nothing but vault,
    ledger and warehouse is used.
    """
    for partition in sorted(known_events(ledger).values(), key=lambda item: item.key):
        try:
            yield _remake(
                partition, vault=vault, warehouse=warehouse, ledger=ledger, pseudonymizer=pseudonymizer, waits=waits
            )
        except (VaultError, WarehouseError, Busy) as error:
            yield Remade(partition, "refused", reason=str(error))


def _remake(
    partition: EventPartition,
    *,
    vault: OrdersStore,
    warehouse: Warehouse,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
) -> Remade:
    if is_purged(ledger, partition.key):
        return _without_orders(partition, warehouse)
    poll = last_poll(ledger, partition.key)
    if poll is None and vault.stream(partition.key) is None:
        return Remade(partition, "empty")
    with (
        exclusive(ledger, waits, LockName.TABLE_RUN, partition.key),
        exclusive(ledger, waits, LockName.ORDERS, partition.key),
    ):
        partition_of(ledger, partition.key)  # it may have been renamed meanwhile
        rules = table_rules(pseudonymizer)
        digest = ContentDigest(rules)
        for _ in digest.passing(stored_records(vault, ledger, partition)):
            pass
        if poll is not None and poll.loaded_digest == str(digest):
            record_rules(ledger, partition.key, str(digest))  # the last time may have been cut off before it
            return Remade(partition, "current", digest.records)
        loaded = load_rows(
            partition,
            stored_records(vault, ledger, partition),
            warehouse=warehouse,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
        )
        # Otherwise the next tick would find the table behind the orders, which were digested by the former rules.
        record_rules(ledger, partition.key, str(digest))
    log_step("rows_reclassified", step="load", partition=partition.key, rows=loaded.stored, outcome=loaded.outcome)
    return Remade(partition, "made again" if loaded.outcome == "written" else "unchanged", loaded.stored)


def _without_orders(partition: EventPartition, warehouse: Warehouse) -> Remade:
    table = attendee_tables(load_policy().columns)[partition.family]
    rows = warehouse.partition_rows(table, partition.key)
    if not rows:
        return Remade(partition, "empty")
    reason = (
        "its orders left the vault after RETENTION_DAYS, so nothing can be made again; its rows stay as they are, and "
        "their policy_version says by which rules they were made"
    )
    return Remade(partition, "refused", rows, reason)
