"""Files of the data folder that only their owner may read: new ones by the process's mask, old ones by their modes.

The folder may hold other people's files, too. Those are left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Names under the data folder, and whether what is in the folder of that name is ours, too. Dagster's is closed as one.
_OURS = {
    "vault": True,
    "vault.key*": False,
    "ledger.sqlite*": False,
    "warehouse.duckdb*": False,
    "dagster": False,
    "letters": True,
}
_OTHERS = 0o077


def make_private(home: Path) -> int:
    """Let nobody but the owner read what this process makes, and what is in the data folder. Return how much changed.

    A file of another user is theirs to close.
    """
    os.umask(_OTHERS)
    changed = 0
    for path in open_to_others(home):
        with suppress(PermissionError, FileNotFoundError):
            path.chmod(path.stat().st_mode & ~_OTHERS & 0o777)
            changed += 1
    return changed


def open_to_others(home: Path) -> list[Path]:
    """Return the files and folders of ours that others on this machine may read or write."""
    return [path for path in _ours(home) if _mode(path) & _OTHERS]


def _mode(path: Path) -> int:
    """Return the mode of a file. A link has none of its own, and a file may be gone since its folder was listed."""
    try:
        return 0 if path.is_symlink() else path.stat().st_mode
    except FileNotFoundError:
        return 0


def _ours(home: Path) -> Iterator[Path]:
    found = [path for pattern in _OURS for path in sorted(home.glob(pattern))] if home.is_dir() else []
    if found and set(home.iterdir()) == set(found):
        yield home
    yield from found
    for name, is_deep in _OURS.items():
        if is_deep and (home / name).is_dir():
            yield from sorted((home / name).iterdir())
