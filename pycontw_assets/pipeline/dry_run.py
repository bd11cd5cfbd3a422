"""A copy of what a poll remembers and a guest list that only exists here, for code that must change nothing.

The copy holds pseudonyms only and lives in a temporary folder; orders stay in memory. Everything is read as it is
and nothing is written: not the vault, not the ledger, no service.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.authorize.guest_list import Gather
from pycontw_assets.ledger.engine import open_reader
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import locks, meta
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.records import AttendeeRecord, OrderSnapshot
from pycontw_assets.vault.vault import OrdersStore, VaultError


class DryRunGuestList:
    """Gather's list as it is now; what is added or removed stays here."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._current: GuestList | None = None

    def read(self) -> GuestList:
        if self._current is None:
            real = self._gather.read()
            self._current = GuestList(dict(real.entries), real.was_object)
        return self._current

    def add(self, entries: Mapping[str, Any]) -> None:
        self._current = GuestList({**self.read().entries, **entries})

    def overwrite(self, entries: Mapping[str, Any]) -> None:
        self._current = GuestList(dict(entries))


class DryRunVault:
    """An ``OrdersStore`` that shows the stored orders and keeps newer ones in memory. ``None``: no vault yet."""

    def __init__(self, vault: OrdersStore | None) -> None:
        self._vault = vault
        self._written: dict[str, OrderSnapshot] = {}

    def read(self, key: str) -> OrderSnapshot | None:
        return self._written.get(key) or (self._vault.read(key) if self._vault else None)

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        if written := self._written.get(key):
            return written, iter(written.records.values())
        return self._vault.stream(key) if self._vault else None

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        current = self.read(snapshot.partition.key)
        if snapshot.generation != (current.generation if current else 0):
            raise VaultError(f"vault: {snapshot.partition.key} was changed meanwhile; run the partition again")
        stored = replace(snapshot, generation=snapshot.generation + 1)
        self._written[snapshot.partition.key] = stored
        return stored


@contextmanager
def dry_run_copy(services: Services) -> Iterator[Services]:
    """Services that read what ``services`` read; what they write is gone with the block."""
    with tempfile.TemporaryDirectory(prefix="pycontw-assets-") as folder:
        ledger = Ledger(f"sqlite:///{folder}/ledger.sqlite", clock=services.clock)
        _copy_ledger(services, ledger)
        ledger.check_identity(services.pseudonymizer.fingerprint)
        yield Services(
            lambda: services.settings,
            clock=services.clock,
            waits=services.waits,
            pseudonymizer=services.pseudonymizer,
            kktix=services.kktix,
            gather=DryRunGuestList(services.gather) if services.gather else None,
            klaviyo=services.klaviyo,
            vault=DryRunVault(services.vault if _has_vault(services) else None),
            ledger=ledger,
        )


def _has_vault(services: Services) -> bool:
    """Asking for a vault makes its key in a new sandbox home, which would be a change."""
    settings = services.settings
    return settings.vault_key is not None or (settings.home / "vault.key").exists()


def _copy_ledger(services: Services, target: Ledger) -> None:
    file = services.settings.ledger_file
    if file and not file.exists():
        return
    source = open_reader(services.settings.ledger_location)
    present = set(sa.inspect(source).get_table_names())
    with source.connect() as old, target.engine.begin() as new:
        for table in meta.metadata.sorted_tables:
            rows = old.execute(sa.select(table)).mappings().all() if table.name in present else []
            # Who is at work on the original does not keep anybody from the copy.
            if rows and table is not locks:
                new.execute(sa.insert(table), [dict(row) for row in rows])
    source.dispose()
