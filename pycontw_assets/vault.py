"""The encrypted store of raw orders: the only place where personal data rests.

One object per partition: JSON, compressed, then Fernet (the first key encrypts, all decrypt). An object is
replaced atomically and only over the generation that was read, so two writers cannot lose an update.
"Not there" is ``None``; "could not read" is an error, never an empty snapshot.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined

_SLUG = re.compile(r"[a-z0-9-]+")


class VaultError(Exception):
    """The vault could not be read or written. The text names the object and the fix, never its contents."""


class ObjectStore(Protocol):
    """Bytes by name, replaced atomically. What differs between a folder and a bucket, and nothing else."""

    def read(self, name: str) -> bytes | None: ...

    def write(self, name: str, content: bytes) -> None: ...

    def exclusive(self, name: str) -> Any: ...


class FolderStore:
    """Objects as files of one folder, readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        target = self._folder / name
        staged = target.with_suffix(f".{os.getpid()}.tmp")
        with open(staged, "wb", opener=_owner_only) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, target)
        _sync_folder(self._folder)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._folder / f"{name}.lock", "wb", opener=_owner_only) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Vault:
    """Snapshots by partition key, encrypted."""

    def __init__(self, store: ObjectStore, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = tuple(keys)

    def read(self, key: str) -> OrderSnapshot | None:
        """The snapshot of a partition, ``None`` when there never was one."""
        try:
            content = self._store.read(_object_name(key))
        except OSError as error:
            raise VaultError(f"vault: {key} could not be read ({error.strerror}); mend the folder") from None
        return None if content is None else self._open(key, content)

    def write(self, snapshot: OrderSnapshot) -> OrderSnapshot:
        """Store the successor of the generation that ``snapshot`` was made from; returns it as stored."""
        key = snapshot.partition.key
        stored = replace(snapshot, generation=snapshot.generation + 1)
        content = self._encrypt(_to_document(stored))
        try:
            with self._store.exclusive(_object_name(key)):
                current = self.read(key)
                if (current.generation if current else 0) != snapshot.generation:
                    raise VaultError(f"vault: {key} was changed by another writer meanwhile; run the partition again")
                self._store.write(_object_name(key), content)
        except OSError as error:
            raise VaultError(f"vault: {key} could not be written ({error.strerror}); nothing was lost") from None
        return stored

    def _open(self, key: str, content: bytes) -> OrderSnapshot:
        document = self._decrypt(key, content)
        try:
            snapshot = _from_document(document)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise VaultError(f"vault: {key} has another shape; read it with the release that wrote it") from None
        if snapshot.partition.key != key:
            raise VaultError(f"vault: what is stored as {key} belongs to {snapshot.partition.key}; restore it anew")
        return snapshot

    def _encrypt(self, document: dict[str, Any]) -> bytes:
        plain = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        encrypted: bytes = self._fernet().encrypt(zlib.compress(plain, 3))
        return encrypted

    def _decrypt(self, key: str, content: bytes) -> dict[str, Any]:
        from cryptography.fernet import InvalidToken

        try:
            document: dict[str, Any] = json.loads(zlib.decompress(self._fernet().decrypt(content)))
        except (InvalidToken, zlib.error, ValueError):
            raise VaultError(
                f"vault: {key} cannot be decrypted; put the key it was written with into VAULT_KEY (new,old)"
            ) from None
        return document

    def _fernet(self) -> Any:
        from cryptography.fernet import Fernet, MultiFernet

        try:
            return MultiFernet([Fernet(key) for key in self._keys])
        except ValueError:
            raise VaultError("VAULT_KEY: every key must be a Fernet key (44 characters of URL-safe base64)") from None


def _object_name(key: str) -> str:
    if not _SLUG.fullmatch(key):
        raise VaultError("vault: a partition key may hold a-z, 0-9 and - only")
    return f"{key}.orders"


def _to_document(snapshot: OrderSnapshot) -> dict[str, Any]:
    partition = snapshot.partition
    return {
        "version": 1,
        "partition": asdict(partition),
        "generation": snapshot.generation,
        "rotated_at": _to_text(snapshot.rotated_at),
        "rebuilding": snapshot.rebuilding,
        "records": [_record_to_json(record) for record in snapshot.records.values()],
        "quarantine": {
            str(attendee_id): [item.reason, _to_text(item.since), item.attempts]
            for attendee_id, item in snapshot.quarantine.items()
        },
    }


def _from_document(document: dict[str, Any]) -> OrderSnapshot:
    records = [_record_from_json(item) for item in document["records"]]
    return OrderSnapshot(
        partition=EventPartition(**document["partition"]),
        records={record.attendee.attendee_id: record for record in records},
        quarantine={
            int(attendee_id): Quarantined(reason, datetime.fromisoformat(since), attempts)
            for attendee_id, (reason, since, attempts) in document["quarantine"].items()
        },
        rotated_at=_from_text(document["rotated_at"]),
        generation=document["generation"],
        rebuilding=document["rebuilding"],
    )


def _record_to_json(record: AttendeeRecord) -> dict[str, Any]:
    attendee = {name: getattr(record.attendee, name) for name in Attendee.__dataclass_fields__}
    times = {name: _to_text(getattr(record, name)) for name in ("first_seen_at", "gone_at", "read_at", "changed_at")}
    return {"attendee": attendee, "missing_polls": record.missing_polls, **times}


def _record_from_json(item: dict[str, Any]) -> AttendeeRecord:
    fields = dict(item["attendee"])
    fields["answers"] = tuple((label, value) for label, value in fields["answers"])
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
