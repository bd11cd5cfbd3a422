"""A copy of what a poll remembers and a guest list that only exists here, for code that must change nothing.

The copy holds pseudonyms only and lives in a temporary folder; orders stay in memory. Everything is read as it is
and nothing is written: not the vault, not the ledger, no service.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.authorize.guest_list import Gather
from pycontw_assets.ledger.ledger import copy_of
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.records import OrderSnapshot
from pycontw_assets.vault.vault import Vault


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


class DryRunVault(Vault):
    """The orders as they are stored; newer ones stay in memory. ``None``: there is no vault yet."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault
        self._written: dict[str, OrderSnapshot] = {}

    def read(self, key: str) -> OrderSnapshot | None:
        return self._written.get(key) or (self._vault.read(key) if self._vault else None)

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        stored = replace(snapshot, generation=snapshot.generation + 1)
        self._written[snapshot.partition.key] = stored
        return stored


@contextmanager
def dry_run_copy(services: Services) -> Iterator[Services]:
    """Services that read what ``services`` read; what they write is gone with the block."""
    with tempfile.TemporaryDirectory(prefix="pycontw-assets-") as folder:
        ledger = copy_of(services.settings.ledger_location, Path(folder), clock=services.clock)
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
