"""The vault's objects as files of one folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycontw_assets.records import Leftovers
from pycontw_assets.vault.object_store import SUFFIX, Stored, VaultError


class FolderStore:
    """An ``ObjectStore`` of files that only their owner can read. A version is the digest of the content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Stored | None:
        with self._explained(f"{name} could not be read"):
            return self._read(name)

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        with self._explained(f"{name} could not be written"), self._exclusive(name):
            current = self._read(name)
            if (current.version if current else None) != expected:
                return False
            self._replace(name, content)
            return True

    def names(self) -> list[str]:
        with self._explained("the folder could not be listed"):
            return sorted(path.name for path in self._folder.iterdir() if path.suffix == SUFFIX)

    def leftovers(self) -> Leftovers | None:
        return None

    def _read(self, name: str) -> Stored | None:
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return Stored(content, hashlib.sha256(content).hexdigest())

    def _replace(self, name: str, content: bytes) -> None:
        target = self._folder / name
        staged = target.with_suffix(".tmp")
        with open(staged, "wb", opener=_owner_only) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, target)
        _sync_folder(self._folder)

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._folder / f"{name}.lock", "wb", opener=_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _explained(self, problem: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise VaultError(f"vault: {problem} ({error.strerror}); mend the folder of VAULT_URL") from None


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
