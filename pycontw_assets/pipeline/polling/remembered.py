"""A file next to Dagster's history holds the last poll's findings there, so that an idle poll need not ask again.

It holds only while the files of that history are the same: whoever starts a run, deletes history or runs a daemon
changes them. It is a cache: without it, or in doubt, a poll asks Dagster.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pycontw_assets.pipeline.reconcile import Attempts, RunHistory
from pycontw_assets.records import EventPartition

_FILE = "last-poll.json"
_RUNS = "history/runs.db"
# Where Dagster keeps runs and what they and ticks reported, in a folder of its own.
_DATABASES = (_RUNS, "history/runs/index.db", "history/event_log.db", "history/runs/event_log.db")
_SETTINGS = "dagster.yaml"
_ASKED_EVERY = timedelta(hours=1)  # "nothing new" is recorded in Dagster this often

Stamp = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The state of Dagster at the end of a poll.

    ``keys`` are the partition keys with their families, which Dagster has. ``shown`` is a digest of the problems that
    it shows. ``history_stamp`` and ``warehouse_stamp`` tell the files that this holds for from changed ones.
    ``asked_at``: when Dagster was asked. ``ticked_at``: when a poll looked at KKTIX last.
    """

    materialized: dict[str, tuple[str, ...]]
    template_was_made: bool
    keys: tuple[str, ...]
    shown: str
    history_stamp: Stamp
    warehouse_stamp: Stamp | None
    asked_at: datetime
    ticked_at: datetime

    @property
    def history(self) -> RunHistory:
        """Return the run history: nothing runs, and nothing failed since its last success."""
        materialized = {asset: frozenset(keys) for asset, keys in self.materialized.items()}
        return RunHistory(materialized=materialized, template_was_made=self.template_was_made)


def is_plain(history: RunHistory) -> bool:
    """Whether nothing in it runs, died or failed since its last success, so that ``Remembered`` can hold it."""
    is_calm = all(attempts == Attempts() for attempts in history.attempts_by.values())
    return is_calm and not history.running and not history.dead_runs


def keys_of(partitions: Iterable[EventPartition]) -> tuple[str, ...]:
    return tuple(sorted({f"{partition.key} {partition.family}" for partition in partitions}))


def digest_of(problems: Iterable[str]) -> str:
    """Return a digest of texts that Dagster shows: the texts themselves stay there."""
    return hashlib.sha256("\n".join(problems).encode()).hexdigest()


def history_stamp(folder: Path) -> Stamp | None:
    """Return what changes with every write to Dagster's history; ``None``: it is not in files of this folder."""
    if not (folder / _RUNS).exists():
        return None
    return stamp_of([folder / _SETTINGS, *(folder / name for name in _DATABASES)])


def stamp_of(files: Collection[Path]) -> Stamp:
    """Return what changes with every write to these files, and to the log of writes that belongs to each."""
    names = [f"{file}{suffix}" for file in files for suffix in ("", "-wal", ".wal")]
    return tuple(map(_stamp, names))


def _stamp(name: str) -> str:
    try:
        status = os.stat(name)
    except OSError:
        return ""
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}" if status.st_size else ""


def remember(folder: Path, remembered: Remembered) -> None:
    """Write it down. Where that fails, the next poll asks Dagster."""
    fields = {name: getattr(remembered, name) for name in Remembered.__dataclass_fields__}
    text = json.dumps(fields, default=lambda moment: moment.isoformat())
    staged = folder / f"{_FILE}.new"
    with suppress(OSError):
        with open(staged, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)
        os.replace(staged, folder / _FILE)


def forget(folder: Path) -> None:
    with suppress(OSError):
        (folder / _FILE).unlink(missing_ok=True)


def note_tick(folder: Path, remembered: Remembered, now: datetime) -> None:
    """Record that KKTIX was looked at, which no file of Dagster's shows."""
    remember(folder, replace(remembered, ticked_at=now))


def read_remembered(folder: Path, now: datetime) -> Remembered | None:
    """Return what still holds; ``None``: Dagster has to be asked."""
    remembered = _read(folder)
    if remembered is None or not timedelta(0) <= now - remembered.asked_at < _ASKED_EVERY:
        return None
    return remembered if remembered.history_stamp == history_stamp(folder) else None


def last_tick(folder: Path) -> datetime | None:
    """Return when a poll that did not ask Dagster looked at KKTIX last."""
    remembered = _read(folder)
    return remembered.ticked_at if remembered else None


def _read(folder: Path) -> Remembered | None:
    try:
        fields = json.loads((folder / _FILE).read_text())
        warehouse = fields["warehouse_stamp"]
        return Remembered(
            materialized={asset: tuple(keys) for asset, keys in fields["materialized"].items()},
            template_was_made=bool(fields["template_was_made"]),
            keys=tuple(fields["keys"]),
            shown=str(fields["shown"]),
            history_stamp=tuple(fields["history_stamp"]),
            warehouse_stamp=None if warehouse is None else tuple(warehouse),
            asked_at=datetime.fromisoformat(fields["asked_at"]),
            ticked_at=datetime.fromisoformat(fields["ticked_at"]),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # none is there, or one of another version
