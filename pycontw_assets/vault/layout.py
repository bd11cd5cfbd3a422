"""A snapshot as bytes and back: the name of its object, its lines of JSON, the compression. No encryption.

Version 2 is written: one line about the event, then one line per attendee. One document of JSON for a whole event
would take several times the memory of its records.
Version 1 is read: one line with the attendees in it.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined
from pycontw_assets.vault.object_store import SUFFIX, VaultError

_VERSION = 2
_PIECE = 1 << 20  # bytes that are decompressed at a time
_SLUG = re.compile(r"[a-z0-9-]+")
_LATER_TIMES = ("listed_after", "paid_seen_at", "paid_seen_after")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def object_name(key: str) -> str:
    """Return the name of a partition's object. Raise ``VaultError`` for a key that could leave the folder."""
    if not _SLUG.fullmatch(key):
        raise VaultError("vault: a partition key may hold a-z, 0-9 and - only")
    return f"{key}{SUFFIX}"


def pack(snapshot: OrderSnapshot, earlier: OrderSnapshot | None = None, earlier_packed: bytes = b"") -> bytes:
    """Return a snapshot as compressed lines.

    ``earlier``: the snapshot that ``earlier_packed`` holds. Most of its records are in the new one, too. Their lines
    are copied, because to write a record as JSON takes much longer.
    """
    packer = zlib.compressobj(3)
    known = _known_lines(earlier, earlier_packed) if earlier else ()
    packed = [packer.compress(line + b"\n") for line in _to_lines(snapshot, known)]
    return b"".join([*packed, packer.flush()])


def unpack(key: str, packed: bytes) -> tuple[OrderSnapshot, Iterator[AttendeeRecord]]:
    """Return the snapshot of partition ``key`` without its records, and the records one by one.

    Raise ``VaultError`` for bytes that ``pack`` did not write, another shape or partition: at once or with a record.
    """
    lines = map(json.loads, _lines(packed))
    with _understood(key):
        event: dict[str, Any] = next(lines, {})
        _refuse_newer(key, event.get("version"))
        snapshot = _event_from_json(event)
        records = event["records"] if event["version"] == 1 else lines
    if snapshot.partition.key != key:
        raise VaultError(f"vault: what is stored as {key} belongs to {snapshot.partition.key}; restore it again")
    return snapshot, _records_from_json(key, records)


def damaged(key: str) -> VaultError:
    """Return the error for an object whose content nobody can read any more."""
    return VaultError(
        f"vault: {key} is damaged, which no VAULT_KEY mends; put an older version of it back from a backup, or move it "
        "away: polls read the orders of a listed event again"
    )


def _refuse_newer(key: str, version: Any) -> None:
    if isinstance(version, int) and version > _VERSION:
        raise VaultError(
            f"vault: {key} was written by a newer version of pycontw-assets (format {version}, this one reads up to "
            f"{_VERSION}); nothing was changed. Install the newer version that wrote it"
        )


@contextmanager
def _understood(key: str) -> Iterator[None]:
    """Replace the errors of bytes and lines that have another shape."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error):
        raise damaged(key) from None


def _known_lines(snapshot: OrderSnapshot, packed: bytes) -> Iterable[tuple[AttendeeRecord, bytes]]:
    """Return the records of a packed snapshot with their lines; none where all are in one line."""
    lines = _lines(packed)
    is_of_this_version = json.loads(next(lines))["version"] == _VERSION
    return zip(snapshot.records.values(), lines, strict=True) if is_of_this_version else ()


def _lines(packed: bytes) -> Iterator[bytes]:
    """Yield the lines of packed bytes. They are decompressed in pieces: those of 50,000 attendees are 100 MB."""
    unpacker, begun = zlib.decompressobj(), [b""]
    while not unpacker.eof:
        piece = unpacker.decompress(packed, _PIECE)
        packed = unpacker.unconsumed_tail
        if not piece and not packed and not unpacker.eof:
            raise zlib.error("the end is missing")
        end, *lines = piece.split(b"\n")
        begun.append(end)
        if lines:
            yield b"".join(begun)
            yield from lines[:-1]
            begun = lines[-1:]
    if any(begun):
        yield b"".join(begun)


def _to_lines(snapshot: OrderSnapshot, known: Iterable[tuple[AttendeeRecord, bytes]]) -> Iterator[bytes]:
    """Yield the event's line, then those of its records: the ``known`` one of a record in the same place."""
    yield _line(_event_to_json(snapshot))
    pairs: Iterator[tuple[AttendeeRecord | None, bytes]] = iter(known)
    for record in snapshot.records.values():
        known_record, line = next(pairs, (None, b""))
        yield line if known_record is record else _line(_record_to_json(record))


def _line(item: dict[str, Any]) -> bytes:
    return _JSON.encode(item).encode()


def _event_to_json(snapshot: OrderSnapshot) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "partition": asdict(snapshot.partition),
        "generation": snapshot.generation,
        "rotated_at": _to_text(snapshot.rotated_at),
        "rebuilding": snapshot.rebuilding,
        "mark": snapshot.mark,
        "quarantine": {
            str(attendee_id): [item.reason, _to_text(item.since), item.attempts]
            for attendee_id, item in snapshot.quarantine.items()
        },
    }


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
        mark=event.get("mark"),
    )


def _records_from_json(key: str, items: Iterable[Any]) -> Iterator[AttendeeRecord]:
    with _understood(key):
        yield from map(_record_from_json, items)


def _record_to_json(record: AttendeeRecord) -> dict[str, Any]:
    attendee = {name: getattr(record.attendee, name) for name in Attendee.__dataclass_fields__}
    if not record.attendee.withheld:
        del attendee["withheld"]  # the release before does not know it, and hardly any attendee has it
    times = {name: _to_text(getattr(record, name)) for name in ("first_seen_at", "gone_at", "read_at", "changed_at")}
    # The release before does not know these, and does not need them.
    times |= {name: _to_text(moment) for name in _LATER_TIMES if (moment := getattr(record, name))}
    return {"attendee": attendee, "missing_polls": record.missing_polls, **times}


def _record_from_json(item: dict[str, Any]) -> AttendeeRecord:
    fields = item["attendee"]
    # Thousands of attendees answer the same questions. They share one text.
    answers = tuple([(sys.intern(label), value) for label, value in fields["answers"]])
    return AttendeeRecord(
        attendee=Attendee(**{**fields, "answers": answers}),
        first_seen_at=datetime.fromisoformat(item["first_seen_at"]),
        gone_at=_from_text(item["gone_at"]),
        read_at=_from_text(item["read_at"]),
        changed_at=_from_text(item["changed_at"]),
        missing_polls=item["missing_polls"],
        listed_after=_from_text(item.get("listed_after")),
        paid_seen_at=_from_text(item.get("paid_seen_at")),
        paid_seen_after=_from_text(item.get("paid_seen_after")),
    )


def _to_text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _from_text(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
