"""An event gets another partition key, because it was recorded under a wrong one. All facts move in one transaction.

Nobody is invited again by it. Where the edition changes, the access periods and invitations of the event's people move
to the other edition. People who hold a ticket of the old edition in another event keep theirs there, too.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    InvitationState,
    batches,
    chunks,
    entitlements,
    events,
    former_keys,
    grants,
    insert_missing,
    invitations,
    locks,
    metadata,
    problems,
    remote_ids,
    sales,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition

_MARKED: InvitationState = "marked"
_Row = dict[str, Any]


def other_keys(ledger: Ledger, event_id: int) -> set[str]:
    """Return the event's keys that are not its recorded one and under which vault or tables may hold something."""
    return ledger.column(sa.select(former_keys.c.partition_key).where(former_keys.c.event_id == event_id))


def expect_key(ledger: Ledger, new: EventPartition) -> None:
    """Remember that orders are about to be stored under a key that is not recorded yet."""
    with ledger.engine.begin() as db:
        insert_missing(db, former_keys, [{"partition_key": new.key, "event_id": new.event_id}])


def forget_key(ledger: Ledger, partition_key: str) -> None:
    """Record that nothing is left under this key."""
    with ledger.engine.begin() as db:
        db.execute(sa.delete(former_keys).where(former_keys.c.partition_key == partition_key))


def rename(ledger: Ledger, old: EventPartition, new: EventPartition, *, list_names: tuple[str, str]) -> None:
    """Move all facts of an event to another key. ``list_names``: the names of its ticket-holder list, old and new.

    The list itself stays as it is in the mail service: its id serves under the new name.
    """
    with ledger.engine.begin() as db:
        if old.edition != new.edition:
            _move_people(ledger, db, old, new)
        _move_rows(db, old, new)
        _move_list(db, *list_names)
        db.execute(sa.update(events).where(events.c.event_id == new.event_id).values(family=new.family))
        db.execute(sa.delete(former_keys).where(former_keys.c.partition_key == new.key))
        insert_missing(db, former_keys, [{"partition_key": old.key, "event_id": old.event_id}])
        if db.execute(sa.select(events.c.event_id).where(events.c.edition == old.edition).limit(1)).first() is None:
            db.execute(sa.delete(sales).where(sales.c.edition == old.edition))


def _move_rows(db: sa.Connection, old: EventPartition, new: EventPartition) -> None:
    """Give every row of the event the new key, and the new edition where the row has one. Its table is due again."""
    db.execute(sa.delete(problems).where(problems.c.partition_key == old.key))
    for table in metadata.sorted_tables:
        if "partition_key" not in table.c or table in (locks, problems, former_keys):
            continue
        values: dict[str, Any] = {"partition_key": new.key}
        # The editions of access periods were moved before, each to a free period.
        if "edition" in table.c and table is not grants:
            values["edition"] = new.edition
        if "loaded_digest" in table.c:
            values["loaded_digest"] = None
        # A run that was at work meanwhile may have left rows under the new key; the recorded ones count.
        if table not in (grants, batches):
            db.execute(sa.delete(table).where(table.c.partition_key == new.key))
        db.execute(sa.update(table).where(table.c.partition_key == old.key).values(**values))


def _move_list(db: sa.Connection, old: str, new: str) -> None:
    named = (remote_ids.c.kind == "list", remote_ids.c.name == old)
    if db.execute(sa.select(remote_ids.c.name).where(*named)).first() is not None:
        db.execute(sa.delete(remote_ids).where(remote_ids.c.kind == "list", remote_ids.c.name == new))
        db.execute(sa.update(remote_ids).where(*named).values(name=new))


# -- another edition ----------------------------------------------------------------------------------


def _move_people(ledger: Ledger, db: sa.Connection, old: EventPartition, new: EventPartition) -> None:
    """Move what the old edition knows of the event's people to the new one."""
    periods: list[_Row] = []
    invited: list[_Row] = []
    marked: list[_Row] = []
    for keys in chunks(sorted(_people(db, old))):
        elsewhere = _holders_elsewhere(db, old, keys)
        before = {table: _by_address(db, table, old.edition, keys) for table in (grants, invitations)}
        there = {table: _by_address(db, table, new.edition, keys) for table in (grants, invitations)}
        for key in keys:
            move = _move_of(before[grants].get(key, []), there[grants].get(key, []), new)
            moved = _moved_invitations(
                before[invitations].get(key, []), there[invitations].get(key, []), move, new.edition
            )
            periods += move.periods
            # A campaign that has left counts in both editions; one that has not belongs to the event's new one.
            sent = [row for row in moved if row["state"] != "claimed"] if key in elsewhere else []
            marked += sent
            invited += [row for row in moved if row not in sent]
        _leave_edition(db, old, keys, elsewhere)
    insert_missing(db, grants, periods)
    insert_missing(db, invitations, invited)
    if marked:
        batch_key = uuid.uuid4().hex[:12]
        batch = {
            "batch_key": batch_key, "edition": new.edition, "partition_key": f"{new.edition}-{_MARKED}",
            "poll_id": _MARKED, "state": "sent", "campaign_name": _MARKED, "created_at": ledger.clock(),
        }  # fmt: skip
        insert_missing(db, batches, [batch])
        insert_missing(db, invitations, [{**row, "batch_key": batch_key, "state": _MARKED} for row in marked])


@dataclass(frozen=True, slots=True)
class _Move:
    """One address's access periods for the new edition. ``numbers``: old period -> new one; ``next``: any other."""

    periods: list[_Row]
    numbers: Mapping[int, int]
    next: int


def _move_of(before: list[_Row], there: list[_Row], new: EventPartition) -> _Move:
    """Append the old access periods to those of the new edition.

    Somebody who is let in under both editions has one open period afterwards: the one of the new edition.
    """
    opened = next((int(row["period"]) for row in there if row["state"] != "revoked"), None)
    following = max((int(row["period"]) for row in there), default=0) + 1
    periods, numbers = [], {}
    for row in before:
        if row["state"] != "revoked" and opened is not None:
            numbers[row["period"]] = opened
            continue
        periods.append({**row, "edition": new.edition, "period": following, "partition_key": new.key})
        numbers[row["period"]] = following
        following += 1
    return _Move(periods, numbers, following if opened is None else opened)


def _moved_invitations(before: list[_Row], there: list[_Row], move: _Move, edition: str) -> list[_Row]:
    """Return the invitations for the new edition, but for periods that have one there."""
    taken = {row["period"] for row in there}
    numbered = [(row, move.numbers.get(row["period"], move.next)) for row in before]
    return [{**row, "edition": edition, "period": number} for row, number in numbered if number not in taken]


def _leave_edition(db: sa.Connection, old: EventPartition, keys: list[str], elsewhere: Mapping[str, str]) -> None:
    """Delete what moved. Holders of another event of the old edition keep their periods and sent invitations there."""
    leaving = [key for key in keys if key not in elsewhere]
    for table in (invitations, grants):
        db.execute(sa.delete(table).where(table.c.edition == old.edition, table.c.address_key.in_(leaving)))
    unsent = (invitations.c.edition == old.edition, invitations.c.state == "claimed")
    db.execute(sa.delete(invitations).where(*unsent, invitations.c.address_key.in_(list(elsewhere))))
    for key, partition_key in elsewhere.items():
        of_event = (grants.c.address_key == key, grants.c.partition_key == old.key)
        db.execute(sa.update(grants).where(*of_event).values(partition_key=partition_key))


def _people(db: sa.Connection, event: EventPartition) -> set[str]:
    """Return everybody whom the event let in, holds a ticket of, or has invited."""
    queries = (
        sa.select(entitlements.c.address_key).where(entitlements.c.partition_key == event.key),
        sa.select(grants.c.address_key).where(grants.c.partition_key == event.key),
        sa.select(invitations.c.address_key).join(batches).where(batches.c.partition_key == event.key),
    )
    return {key for query in queries for key in db.scalars(query)}


def _holders_elsewhere(db: sa.Connection, event: EventPartition, keys: list[str]) -> dict[str, str]:
    """Return those of ``keys`` that hold a ticket in another event of the same edition, with its partition key."""
    elsewhere = (entitlements.c.edition == event.edition, entitlements.c.partition_key != event.key)
    columns = (entitlements.c.address_key, entitlements.c.partition_key)
    query = sa.select(*columns).where(*elsewhere, entitlements.c.address_key.in_(keys))
    return {row.address_key: row.partition_key for row in db.execute(query)}


def _by_address(db: sa.Connection, table: sa.Table, edition: str, keys: list[str]) -> dict[str, list[_Row]]:
    """Return the rows of one edition by address, the oldest period first."""
    rows: dict[str, list[_Row]] = {}
    query = sa.select(table).where(table.c.edition == edition, table.c.address_key.in_(keys))
    for row in db.execute(query.order_by(table.c.period)).mappings():
        rows.setdefault(row["address_key"], []).append(dict(row))
    return rows
