"""Copies of an installation's stores, to be put back when everything else has gone on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Literal

from pycontw_assets.vault.layout import object_name
from pycontw_assets_tests.pipeline.harness import Pipeline

Store = Literal["vault", "ledger", "warehouse"]
_COMPANIONS = ("-wal", "-shm", ".wal")  # what databases keep next to their files
_FILES: dict[Store, str] = {"vault": "vault", "ledger": "ledger.sqlite", "warehouse": "warehouse.duckdb"}


class Backup:
    """The embedded stores of a home, as they were at one moment. Take and restore it while no poll runs."""

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        for store, name in _FILES.items():
            source = pipeline.home / name
            if store == "ledger":
                # As docs/production.md says: what is in the log of the database belongs to it.
                with closing(sqlite3.connect(source)) as ledger, closing(sqlite3.connect(folder / name)) as copy:
                    ledger.backup(copy)
            elif source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                shutil.copy2(source, folder / name)

    def has_orders_of(self, keys: Iterable[str]) -> bool:
        """Return whether orders of all these events are in it. A vault without any is not older, but lost."""
        return all((self._folder / _FILES["vault"] / object_name(key)).exists() for key in keys)

    def restore(self, *machines: Pipeline, stores: tuple[Store, ...]) -> None:
        """Put stores back, and start all machines that work with them again."""
        for machine in machines:
            machine.ledger.engine.dispose()  # an open database would write its log over the restored one
        home = machines[0].home
        for store in stores:
            _remove(home, _FILES[store])
            if (copy := self._folder / _FILES[store]).exists():
                shutil.copytree(copy, home / copy.name) if copy.is_dir() else shutil.copy2(copy, home / copy.name)
        for machine in machines:
            machine.restart()


def _remove(home: Path, name: str) -> None:
    shutil.rmtree(home / name, ignore_errors=True)
    for suffix in ("", *_COMPANIONS):
        (home / f"{name}{suffix}").unlink(missing_ok=True)
