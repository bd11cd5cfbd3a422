"""Give an event that was recorded under a wrong edition or family its right partition key.

The orders are copied first, then the ledger moves in one transaction, then the rows follow and the old copy is emptied.
A crash leaves the event whole under one of the two keys. Running it again, or the next load of the event, ends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pycontw_assets.api.log import log_step
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.ledger.consistency.renaming import expect_key, forget_key, other_keys, rename
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.load.readers.daily_sales import refresh_sales
from pycontw_assets.load.readers.returning import refresh_editions
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse, replace_rows
from pycontw_assets.pipeline.consistency.orders import AgreedOrders
from pycontw_assets.pipeline.steps import exclusive, load_rows, mapped_events, stored_records
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import FAMILIES, EventPartition, OrderSnapshot
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets.vault.vault import OrdersStore

_KEY = re.compile(rf"(20[0-9]{{2}})-({'|'.join(FAMILIES)})-([0-9]{{1,18}})")


@dataclass(frozen=True, slots=True)
class Renamed:
    """The event's key before and now, and the rows of its table. ``is_mapped``: ``KKTIX_EVENTS`` says the same."""

    before: str
    key: str
    rows: int
    is_mapped: bool


def partition_named(key: str) -> EventPartition:
    """Return the event of a partition key as a person wrote it."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise InvalidSettings(f"NEW_KEY: needs the form 2031-individual-90001; the families are {', '.join(FAMILIES)}")
    family = next(family for family in FAMILIES if family == match[2])
    return EventPartition(int(match[3]), match[1], family)


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """Move one event in vault, ledger and tables. Nobody outside notices, and nobody is mailed again by it."""

    vault: OrdersStore
    warehouse: Warehouse
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    waits: WaitPolicy
    settings: Settings

    def run(self, event: str, new: EventPartition) -> Renamed:
        """Rename the event, which a person named by its number or recorded key. Repeat it to end it after a crash."""
        old = self._recorded(event, new)
        if old != new:
            with (
                exclusive(self.ledger, self.waits, LockName.INVITATIONS, old.key),
                exclusive(self.ledger, self.waits, LockName.ORDERS, old.key),
                exclusive(self.ledger, self.waits, LockName.GUEST_LIST),
            ):
                self._copy_orders(old, new)
                rename(self.ledger, old, new, list_names=(ticket_holder_list(old), ticket_holder_list(new)))
            log_step("event_renamed", step="repair", partition=new.key)
        rows = self._load(new)
        self.clear_other_keys(new)
        return Renamed(old.key, new.key, rows, mapped_events(self.settings).get(new.event_id) == new)

    def clear_other_keys(self, partition: EventPartition) -> None:
        """Empty what vault and tables hold under other keys of the event. Its rows must be loaded under the right one.

        An event without other keys, as nearly all are, costs one question to the ledger.
        """
        if not other_keys(self.ledger, partition.event_id):
            return
        with exclusive(self.ledger, self.waits, LockName.ORDERS, partition.key):
            # Another process may have renamed the event meanwhile.
            if known_events(self.ledger).get(partition.event_id) != partition:
                return
            for key in sorted(other_keys(self.ledger, partition.event_id) - {partition.key}):
                other = partition_named(key)
                table = attendee_tables(load_policy().columns)[other.family]
                nobody = deidentify([], other, self.pseudonymizer).frame
                replace_rows(self.warehouse, table, other.key, nobody)
                refresh_editions(self.warehouse, table, other.edition, other.family)
                refresh_sales(self.warehouse, other, nobody)
                if snapshot := self.vault.read(key):
                    self.vault.write(OrderSnapshot(other, rebuilding=True, generation=snapshot.generation))
                forget_key(self.ledger, key)

    def _recorded(self, event: str, new: EventPartition) -> EventPartition:
        known: Mapping[int, EventPartition] = known_events(self.ledger)
        old = known.get(new.event_id)
        if old is None or event not in (str(old.event_id), old.key, new.key):
            raise LedgerError(
                f"{event}: no event is recorded under this number or key, or NEW_KEY has another number; nothing was "
                f"changed. Recorded are: {', '.join(sorted(p.key for p in known.values())) or 'none'}"
            )
        if old != new and is_purged(self.ledger, old.key):
            raise LedgerError(f"{old.key}: its orders left the vault, so its rows cannot move; nothing was changed")
        if old != new and last_poll(self.ledger, old.key) and not self._has_orders(old.key):
            raise LedgerError(
                f"{old.key}: its orders are not all in the vault, so nothing was changed; try again after the next poll"
            )
        return old

    def _has_orders(self, key: str) -> bool:
        snapshot = self.vault.read(key)
        return snapshot is not None and not snapshot.rebuilding

    def _copy_orders(self, old: EventPartition, new: EventPartition) -> None:
        snapshot = AgreedOrders(self.vault, self.ledger).read(old.key)
        if snapshot is None:
            return
        expect_key(self.ledger, new)
        before = self.vault.read(new.key)  # of an attempt that was cut off
        self.vault.write(replace(snapshot, partition=new, generation=before.generation if before else 0))

    def _load(self, partition: EventPartition) -> int:
        if self.vault.read(partition.key) is None:
            return 0
        loaded = load_rows(
            partition,
            stored_records(self.vault, self.ledger, partition),
            warehouse=self.warehouse,
            ledger=self.ledger,
            pseudonymizer=self.pseudonymizer,
        )
        return loaded.stored
