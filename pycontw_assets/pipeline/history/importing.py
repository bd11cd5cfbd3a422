"""Put an export into the vault, as the orders of its edition and family. Decide first, then write once.

From there it is loaded like all orders. Nothing is asked of a service, and no decision about access ever meets an
import: they are recorded in a table of their own (``ledger.history``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pycontw_assets.api.log import log_step
from pycontw_assets.completeness import ATTENDANCE_BOOK
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.extract.exports.reading import Export, Kind
from pycontw_assets.extract.exports.sheet import ExportError
from pycontw_assets.ledger.history.imports import forget_import, is_import_purged, known_imports, record_import
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName
from pycontw_assets.ledger.people import erased_ids, erased_people
from pycontw_assets.load.readers.daily_sales import refresh_sales
from pycontw_assets.load.readers.returning import refresh_editions
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse, replace_rows
from pycontw_assets.pipeline.steps import exclusive, known_partitions, recorded_change
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, is_import_key
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.vault.vault import Vault

Outcome = Literal["new", "changed", "unchanged"]
_BUSINESS_NUMBER = "invoice_number_sha256"  # the column of the policy that business numbers go to


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import. ``left_out``: attendees who asked to be forgotten. ``gone``: of the import before."""

    partition: EventPartition
    outcome: Outcome
    attendees: int
    left_out: int = 0
    gone: int = 0


def kind_of_question(label: str) -> Kind:
    """Return what a question asks for, by the field policy, as far as a spreadsheet changes such answers."""
    rule = load_policy().rule_for(label)
    if rule is not None and rule.hash_as == "phone":
        return "phone"
    return "business number" if rule is not None and rule.column == _BUSINESS_NUMBER else "text"


def import_export(
    partition: EventPartition,
    export: Export,
    *,
    vault: Vault,
    ledger: Ledger,
    pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
    may_shrink: bool = False,
) -> Imported:
    """Store the attendees of an export in the vault, in the place of an earlier import of it.

    The same attendees change nothing. ``may_shrink``: the override for an export with far fewer of them than the one
    before. Raise ``ExportError`` for one that contradicts other orders.
    """
    with exclusive(ledger, waits, LockName.ORDERS, partition.key):
        refuse_known_orders(partition, export, ledger=ledger, vault=vault)
        stored = vault.read(partition.key)
        is_here = partition.key in known_imports(ledger) and not is_import_purged(ledger, partition.key)
        forgotten = _forgotten(partition, export.attendees, ledger=ledger, pseudonymizer=pseudonymizer)
        records = next_records(stored, export.attendees, forgotten, ledger.clock())
        gone = len(stored.records.keys() - records.keys()) if stored else 0
        if not may_shrink and stored and ATTENDANCE_BOOK.is_exceeded(gone, len(stored.records)):
            raise ExportError(
                f"attendees.csv: it lacks {gone} of the {len(stored.records)} attendees of the import before; is it "
                "whole? If they are right to go, run the command with --replace"
            )
        if is_here and stored and records == stored.records:
            return Imported(partition, "unchanged", len(records), len(forgotten))
        record_import(ledger, partition)  # first: what is in the vault must be found by an erasure
        vault.write(replace(stored or OrderSnapshot(partition), records=records, rebuilding=False))
    log_step("export_imported", step="import", partition=partition.key, rows=len(records), deleted=gone)
    return Imported(partition, "changed" if is_here else "new", len(records), len(forgotten), gone)


def find_imports(*, vault: Vault, ledger: Ledger) -> list[EventPartition]:
    """Record the imports that the vault has and the ledger does not know, because it was lost. Return them.

    The time until their orders leave the vault begins again.
    """
    unknown = [key for key in vault.partition_keys() if is_import_key(key) and key not in known_imports(ledger)]
    headers = [stored[0] for key in unknown if (stored := vault.stream(key))]
    found = [header.partition for header in headers if not header.rebuilding]
    for partition in found:
        record_import(ledger, partition)
    return found


def remove_import(
    partition: EventPartition, *, vault: Vault, warehouse: Warehouse, ledger: Ledger, pseudonymizer: Pseudonymizer,
    waits: WaitPolicy,
) -> int:  # fmt: skip
    """Take an import out of tables and vault, in this order. Return how many rows it had. Safe to repeat.

    It is what a person does about an export that was imported under a wrong name; importing it again brings it back.
    """
    table = attendee_tables(load_policy().columns)[partition.family]
    with exclusive(ledger, waits, LockName.ORDERS, partition.key):
        rows = warehouse.partition_rows(table, partition.key)
        if rows:
            nobody = deidentify([], partition, pseudonymizer).frame
            with recorded_change(table, warehouse=warehouse, ledger=ledger):
                replace_rows(warehouse, table, partition.key, nobody)
            refresh_editions(warehouse, table, partition.edition, partition.family)
            refresh_sales(warehouse, partition, nobody)
        if stored := vault.read(partition.key):
            vault.write(replace(stored, records={}, rebuilding=True))
        forget_import(ledger, partition.key)
    log_step("import_removed", step="import", partition=partition.key, deleted=rows)
    return rows


def next_records(
    stored: OrderSnapshot | None, attendees: Iterable[Attendee], forgotten: Collection[int], now: datetime
) -> dict[int, AttendeeRecord]:
    """Return the records of an export by number. Attendees that were imported before keep their times. Pure."""
    earlier: Mapping[int, AttendeeRecord] = stored.records if stored else {}
    return {
        attendee.attendee_id: _record(attendee, earlier.get(attendee.attendee_id), now)
        for attendee in attendees
        if attendee.attendee_id not in forgotten
    }


def _record(attendee: Attendee, earlier: AttendeeRecord | None, now: datetime) -> AttendeeRecord:
    if earlier is not None and earlier.attendee == attendee:
        return earlier
    first_seen_at = earlier.first_seen_at if earlier else now
    return AttendeeRecord(attendee, first_seen_at, read_at=now, changed_at=now)


def _forgotten(
    partition: EventPartition, attendees: Iterable[Attendee], *, ledger: Ledger, pseudonymizer: Pseudonymizer
) -> set[int]:
    """Return the numbers of attendees who asked to be forgotten: an old file must not bring anybody back."""
    numbers, people = erased_ids(ledger, partition.key), erased_people(ledger)
    if not (numbers or people):
        return set()
    return {
        attendee.attendee_id
        for attendee in attendees
        if attendee.attendee_id in numbers
        or ((address := contact_address(attendee)) is not None and pseudonymizer.address(address) in people)
    }


def refuse_known_orders(partition: EventPartition, export: Export, *, ledger: Ledger, vault: Vault) -> None:
    """Raise ``ExportError`` where most of these attendees have rows already: of an event, or of another import.

    Those of an event are known by their two numbers. Two imports may have numbers in common by chance, so there the
    attendees have to be the same in everything.
    """
    by_number = {attendee.attendee_id: attendee for attendee in export.attendees}
    for other in known_partitions(ledger):
        stored = vault.read(other.key) if other.key != partition.key else None
        doubled = [
            number
            for number, record in (stored.records.items() if stored else ())
            if number in by_number and _is_same(by_number[number], record.attendee, exactly=other.is_imported)
        ]
        if 2 * len(doubled) > len(by_number):
            row = min(export.rows[number] for number in doubled)
            raise ExportError(
                f"attendees.csv: row {row}: this attendee and {len(doubled) - 1} more of the file are in {other.key} "
                "already, and would be counted twice; name the right EDITION and FAMILY, or the right file"
                f"{'; `import-csv --remove` takes a wrong import away' if other.is_imported else ''}"
            )


def _is_same(attendee: Attendee, other: Attendee, *, exactly: bool) -> bool:
    return attendee == other if exactly else attendee.order_no == other.order_no
