"""The encrypted store of raw orders: the only place where personal data rests.

One object per partition: lines of JSON (what is said of the event, then one attendee each), compressed, then
Fernet (the first key encrypts, all decrypt). An object is replaced atomically and only over the version that was
read, so two writers cannot lose an update.
"Not there" is ``None``; "could not read" is an error, never an empty snapshot.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import json
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined

_SLUG = re.compile(r"[a-z0-9-]+")
_SUFFIX = ".orders"
_ROTATION_ATTEMPTS = 5
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class VaultError(Exception):
    """The vault could not be read or written. The text names the object and the fix, never its contents."""


class Stored(NamedTuple):
    """An object as it was read. ``version`` names exactly this content to a later write."""

    content: bytes
    version: str


class ObjectStore(Protocol):
    """Bytes by name. What differs between a folder and a bucket, and nothing else; trouble is a ``VaultError``."""

    def read(self, name: str) -> Stored | None:
        """``None``: the store was reached, and the object is not there."""

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        """Replace, atomically, the version that is ``expected`` (``None``: no object). False: another one is there."""

    def names(self) -> list[str]: ...


class FolderStore:
    """Objects as files of one folder, readable by their owner only. A version is the digest of the content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Stored | None:
        with self._told(f"{name} could not be read"):
            return self._read(name)

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        with self._told(f"{name} could not be written"), self._exclusive(name):
            current = self._read(name)
            if (current.version if current else None) != expected:
                return False
            self._replace(name, content)
            return True

    def names(self) -> list[str]:
        with self._told("the folder could not be listed"):
            return sorted(path.name for path in self._folder.iterdir() if path.suffix == _SUFFIX)

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
    def _told(self, trouble: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise VaultError(f"vault: {trouble} ({error.strerror}); mend the folder of VAULT_URL") from None


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Rotation:
    """What a rotation of the keys did, object by object."""

    reencrypted: int
    current: int
    unreadable: tuple[str, ...]


class Vault:
    """Snapshots by partition key, encrypted."""

    def __init__(self, store: ObjectStore, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = tuple(keys)
        # What was opened or written last. One poll needs the same orders several times, and opening takes seconds
        # where they are many; whether they are still those is asked of the store every time.
        self._latest: tuple[str, bytes, OrderSnapshot] | None = None

    def read(self, key: str) -> OrderSnapshot | None:
        """The snapshot of a partition, ``None`` when there never was one."""
        return self._current(key)[0]

    def stream(self, key: str) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]] | None:
        """The snapshot without its records, and these one by one: for who looks once, at a fraction of the memory."""
        stored = self._store.read(_object_name(key))
        if stored is None:
            return None
        if opened := self._opened(key, stored.content):
            return opened, iter(opened.records.values())
        return self._parsed(key, stored.content)

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        """Store the successor of the generation that ``snapshot`` was made from; returns it as stored."""
        key = snapshot.partition.key
        stored = replace(snapshot, generation=snapshot.generation + 1)
        content = self._encrypt(_to_lines(stored))
        current, version = self._current(key)
        generation = current.generation if current else 0
        if generation != snapshot.generation or not self._store.write(_object_name(key), content, version):
            raise VaultError(f"vault: {key} was changed by another writer meanwhile; run the partition again")
        self._latest = (key, content, stored)
        return stored

    def rotate(self) -> Rotation:
        """Encrypt with the first key whatever another one encrypted. May be interrupted and repeated at any point."""
        counts = Counter[bool]()
        unreadable = []
        for name in self._store.names():
            try:
                counts[self._reencrypt(name)] += 1
            except VaultError as error:
                unreadable.append(str(error))
        return Rotation(counts[True], counts[False], tuple(unreadable))

    def _reencrypt(self, name: str) -> bool:
        """Whether there was something to do. When another writer was faster, look again what it left."""
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
            raise _undecipherable(name.removesuffix(_SUFFIX)) from None
        return rotated

    def _current(self, key: str) -> tuple[OrderSnapshot | None, str | None]:
        stored = self._store.read(_object_name(key))
        return (self._open(key, stored.content), stored.version) if stored else (None, None)

    def _open(self, key: str, content: bytes) -> OrderSnapshot:
        if opened := self._opened(key, content):
            return opened
        with _without_garbage_collection():
            empty, records = self._parsed(key, content)
            snapshot = replace(empty, records={record.attendee.attendee_id: record for record in records})
        self._latest = (key, content, snapshot)
        return snapshot

    def _opened(self, key: str, content: bytes) -> OrderSnapshot | None:
        return self._latest[2] if self._latest and self._latest[:2] == (key, content) else None

    def _parsed(self, key: str, content: bytes) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]]:
        lines = self._decrypt(key, content)
        with _understood(key):
            event: dict[str, Any] = next(lines, {})
            snapshot = _event_from_json(event)
            # Version 1 was one line, with the attendees in it.
            records = event["records"] if event["version"] == 1 else lines
        if snapshot.partition.key != key:
            raise VaultError(f"vault: what is stored as {key} belongs to {snapshot.partition.key}; restore it anew")
        return snapshot, _records_from_json(key, records)

    def _encrypt(self, lines: Iterable[Any]) -> bytes:
        packer = zlib.compressobj(3)
        packed = [packer.compress(_JSON.encode(line).encode() + b"\n") for line in lines]
        encrypted: bytes = self._fernet(self._keys).encrypt(b"".join([*packed, packer.flush()]))
        return encrypted

    def _decrypt(self, key: str, content: bytes) -> Iterator[Any]:
        """Line by line: an event as one document of JSON takes several times what it is made into."""
        from cryptography.fernet import InvalidToken

        try:
            plain = zlib.decompress(self._fernet(self._keys).decrypt(content))
        except (InvalidToken, zlib.error):
            raise _undecipherable(key) from None
        return map(json.loads, BytesIO(plain))

    def _fernet(self, keys: Sequence[str]) -> Any:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise VaultError("VAULT_KEY: every key must be a Fernet key (44 characters of URL-safe base64)") from None


@contextmanager
def _understood(key: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise VaultError(f"vault: {key} has another shape; read it with the release that wrote it") from None


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """While millions of things are made that all stay, Python would look for garbage among them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _undecipherable(key: str) -> VaultError:
    return VaultError(f"vault: {key} cannot be decrypted; put the key it was written with into VAULT_KEY (new,old)")


def _object_name(key: str) -> str:
    if not _SLUG.fullmatch(key):
        raise VaultError("vault: a partition key may hold a-z, 0-9 and - only")
    return f"{key}{_SUFFIX}"


def _to_lines(snapshot: OrderSnapshot) -> Iterator[dict[str, Any]]:
    yield {
        "version": 2,
        "partition": asdict(snapshot.partition),
        "generation": snapshot.generation,
        "rotated_at": _to_text(snapshot.rotated_at),
        "rebuilding": snapshot.rebuilding,
        "quarantine": {
            str(attendee_id): [item.reason, _to_text(item.since), item.attempts]
            for attendee_id, item in snapshot.quarantine.items()
        },
    }
    yield from map(_record_to_json, snapshot.records.values())


def _event_from_json(event: dict[str, Any]) -> OrderSnapshot:
    return OrderSnapshot(
        partition=EventPartition(**event["partition"]),
        quarantine={
            int(attendee_id): Quarantined(reason, datetime.fromisoformat(since), attempts)
            for attendee_id, (reason, since, attempts) in event["quarantine"].items()
        },
        rotated_at=_from_text(event["rotated_at"]),
        generation=event["generation"],
        rebuilding=event["rebuilding"],
    )


def _records_from_json(key: str, items: Iterable[Any]) -> Iterator[AttendeeRecord]:
    with _understood(key):
        yield from map(_record_from_json, items)


def _record_to_json(record: AttendeeRecord) -> dict[str, Any]:
    attendee = {name: getattr(record.attendee, name) for name in Attendee.__dataclass_fields__}
    times = {name: _to_text(getattr(record, name)) for name in ("first_seen_at", "gone_at", "read_at", "changed_at")}
    return {"attendee": attendee, "missing_polls": record.missing_polls, **times}


def _record_from_json(item: dict[str, Any]) -> AttendeeRecord:
    fields = dict(item["attendee"])
    # Thousands of attendees answer the same questions: one text for all of them.
    fields["answers"] = tuple((sys.intern(label), value) for label, value in fields["answers"])
    return AttendeeRecord(
        attendee=Attendee(**fields),
        first_seen_at=datetime.fromisoformat(item["first_seen_at"]),
        gone_at=_from_text(item["gone_at"]),
        read_at=_from_text(item["read_at"]),
        changed_at=_from_text(item["changed_at"]),
        missing_polls=item["missing_polls"],
    )


def _to_text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _from_text(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
