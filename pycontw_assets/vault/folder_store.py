"""The vault's objects as files of one folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pycontw_assets.records import Leftovers
from pycontw_assets.vault.object_store import SUFFIX, Stored, VaultError


class FolderStore:
    """An ``ObjectStore`` of files that only their owner can read. A version is the digest of the content."""

    def __init__(self, folder: Path, *, lock_seconds: float = 30) -> None:
        self._folder = folder
        self._lock_seconds = lock_seconds

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
            self._wait_for(lock, name)
            yield

    def _wait_for(self, lock: IO[bytes], name: str) -> None:
        """Wait for a process that writes now. One that hangs must not hold up the others for ever."""
        deadline = time.monotonic() + self._lock_seconds
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    waited = f"for over {self._lock_seconds:.0f} s"
                    raise VaultError(
                        f"vault: another process is writing {name} {waited}; look for one that hangs, and end it"
                    ) from None
            time.sleep(0.02)

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
