"""The encrypted store of orders: one object per partition, packed by ``layout`` and encrypted by Fernet.

The first key encrypts, all keys decrypt. An object is replaced atomically and only over the version that was read, so
no update is lost between two writers. An object that is not there is ``None``. One that cannot be read is an error,
never an empty snapshot.
"""

from __future__ import annotations

import base64
import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pycontw_assets.records import AttendeeRecord, Leftovers, OrderSnapshot
from pycontw_assets.vault.layout import damaged, object_name, pack, unpack
from pycontw_assets.vault.object_store import SUFFIX, ObjectStore
from pycontw_assets.vault.object_store import VaultError as VaultError

_ROTATION_ATTEMPTS = 5
_TOKEN_VERSION, _TOKEN_FRAME, _TOKEN_BLOCK = b"\x80", 1 + 8 + 16 + 32, 16  # of Fernet's tokens, in bytes


class OrdersStore(Protocol):
    """The part of a vault that the pipeline uses: snapshots by partition key. A dry run has one in memory."""

    def read(self, key: str) -> OrderSnapshot | None:
        """Return the snapshot of a partition; ``None`` when there never was one."""

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        """Return the snapshot without its records, and the records one by one, in a fraction of the memory.

        A snapshot that is in memory anyway may come with its records.
        """

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        """Store the successor of the generation ``snapshot`` was made from, and return it as stored.

        Raises ``VaultError`` when another writer has replaced that generation.
        """


@dataclass(frozen=True)
class Rotation:
    """The result of a rotation: objects encrypted again, objects with the first key already, and unreadable ones."""

    reencrypted: int
    current: int
    unreadable: tuple[str, ...]


class Vault:
    """Snapshots by partition key, encrypted. ``keys`` are Fernet keys, the encrypting one first."""

    def __init__(self, store: ObjectStore, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = tuple(keys)
        # The snapshot that was opened or written last, with its partition key and content. One poll needs the same
        # orders several times, and opening many takes seconds. Every use compares the content with the store's.
        self._latest: tuple[str, bytes, OrderSnapshot] | None = None

    def read(self, key: str) -> OrderSnapshot | None:
        """Return the snapshot of a partition; ``None`` when there never was one."""
        stored = self._store.read(object_name(key))
        return self._open(key, stored.content) if stored else None

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        """Return the snapshot without its records, and the records one by one, in a fraction of the memory."""
        stored = self._store.read(object_name(key))
        if stored is None:
            return None
        if opened := self._opened(key, stored.content):
            return opened, iter(opened.records.values())
        return self._unpacked(key, stored.content)

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        """Store the successor of the generation that ``snapshot`` was made from, and return it as stored."""
        key = snapshot.partition.key
        name, stored = object_name(key), replace(snapshot, generation=snapshot.generation + 1)
        current = self._store.read(name)
        packed = self._decrypt(key, current.content) if current else b""
        # Only records that were opened from this very object can be the same, and have a line that is copied.
        opened = self._opened(key, current.content) if current else None
        earlier = opened or (unpack(key, packed)[0] if current else None)
        if (earlier.generation if earlier else 0) != snapshot.generation:
            raise _changed_meanwhile(key)
        content = self._encrypt(pack(stored, opened, packed))
        if not self._store.write(name, content, current.version if current else None):
            raise _changed_meanwhile(key)
        self._latest = (key, content, stored)
        return stored

    def partition_keys(self) -> list[str]:
        """Return the partition keys of everything that is stored."""
        return sorted(name.removesuffix(SUFFIX) for name in self._store.names())

    def rotate(self) -> Rotation:
        """Encrypt with the first key every object that another key encrypted. It may be interrupted and repeated."""
        counts = Counter[bool]()
        unreadable = []
        for name in self._store.names():
            try:
                counts[self._reencrypt(name)] += 1
            except VaultError as error:
                unreadable.append(str(error))
        return Rotation(counts[True], counts[False], tuple(unreadable))

    def leftovers(self) -> Leftovers | None:
        """Return what the store keeps of replaced objects: they still decrypt."""
        return self._store.leftovers()

    def _reencrypt(self, name: str) -> bool:
        """Return whether the object needed it. When another writer was faster, try with its content."""
        for _ in range(_ROTATION_ATTEMPTS):
            stored = self._store.read(name)
            if stored is None or self._is_current(stored.content):
                return False
            if self._store.write(name, self._rotated(name, stored.content), stored.version):
                return True
        raise VaultError(f"vault: {name} is written all the time; rotate again")

    def _is_current(self, content: bytes) -> bool:
        from cryptography.fernet import InvalidToken

        try:
            self._fernet(self._keys[:1]).decrypt(content)
        except InvalidToken:
            return False
        return True

    def _rotated(self, name: str, content: bytes) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            rotated: bytes = self._fernet(self._keys).rotate(content)
        except InvalidToken:
            raise _undecipherable(name.removesuffix(SUFFIX), content) from None
        return rotated

    def _open(self, key: str, content: bytes) -> OrderSnapshot:
        if opened := self._opened(key, content):
            return opened
        with _without_garbage_collection():
            empty, unpacked = self._unpacked(key, content)
            records = list(unpacked)
            snapshot = replace(empty, records={record.attendee.attendee_id: record for record in records})
        if len(records) == len(snapshot.records):  # otherwise their lines are not those of the snapshot, one by one
            self._latest = (key, content, snapshot)
        return snapshot

    def _opened(self, key: str, content: bytes) -> OrderSnapshot | None:
        return self._latest[2] if self._latest and self._latest[:2] == (key, content) else None

    def _unpacked(self, key: str, content: bytes) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]]:
        return unpack(key, self._decrypt(key, content))

    def _decrypt(self, key: str, content: bytes) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            packed: bytes = self._fernet(self._keys).decrypt(content)
        except InvalidToken:
            raise _undecipherable(key, content) from None
        return packed

    def _encrypt(self, packed: bytes) -> bytes:
        encrypted: bytes = self._fernet(self._keys).encrypt(packed)
        return encrypted

    def _fernet(self, keys: Sequence[str]) -> Any:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise VaultError("VAULT_KEY: every key must be a Fernet key (44 characters of URL-safe base64)") from None


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Pause the collection of garbage while millions of objects are made that all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _changed_meanwhile(key: str) -> VaultError:
    return VaultError(f"vault: {key} was changed by another writer meanwhile; run the partition again")


def _undecipherable(key: str, content: bytes) -> VaultError:
    """Tell an object that is not whole from one whose key is missing. Damage inside looks like another key."""
    if not _is_whole_token(content):
        return damaged(key)
    return VaultError(
        f"vault: {key} cannot be decrypted; put the key it was written with into VAULT_KEY (new,old). If it is there, "
        "the object is damaged: put an older version of it back from a backup"
    )


def _is_whole_token(content: bytes) -> bool:
    """Whether it has the shape of a Fernet token: version, time, initial value, blocks of 16 bytes, signature."""
    try:
        token = base64.urlsafe_b64decode(content)
    except ValueError:
        return False
    blocks = len(token) - _TOKEN_FRAME
    return token[:1] == _TOKEN_VERSION and blocks > 0 and blocks % _TOKEN_BLOCK == 0
