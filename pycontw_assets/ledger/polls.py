"""The last good poll of each event: figures, holders, stale orders, its table. And whether polls are paused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    chunks,
    entitlements,
    insert_missing,
    pauses,
    polls,
    stale_events,
    table_states,
    upsert,
    waiting_events,
    waves,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import refuse_imported


@dataclass(frozen=True, slots=True)
class Poll:
    """The figures of the last good poll of an event: enough to decide whether another one is due, and no more.

    ``without_address`` counts usable tickets whose address no mail can reach.
    """

    partition_key: str
    polled_at: datetime
    book_digest: str | None
    known: int
    reread_count: int
    refresh_at: datetime | None
    content_digest: str
    loaded_digest: str | None = None
    problem: str | None = None
    without_address: int = 0


def last_poll(ledger: Ledger, partition_key: str) -> Poll | None:
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(polls).where(polls.c.partition_key == partition_key)).one_or_none()
    return None if row is None else Poll(**row._mapping)


def record_poll(ledger: Ledger, edition: str, poll: Poll, holder_keys: Collection[str]) -> None:
    """Remember a poll and replace the event's entitlements, in one transaction.

    The event stays stale while its book was not read whole: the orders may lack a recent purchase. Raise
    ``ImportedPartition`` for an import: its attendees hold no ticket of today.
    """
    refuse_imported(poll.partition_key)
    values = {name: getattr(poll, name) for name in Poll.__dataclass_fields__}
    del values["partition_key"], values["loaded_digest"]
    of_event = entitlements.c.partition_key == poll.partition_key
    with ledger.engine.begin() as db:
        upsert(db, polls, {"partition_key": poll.partition_key}, values)
        before = set(db.scalars(sa.select(entitlements.c.address_key).where(of_event)))
        for chunk in chunks(sorted(before - set(holder_keys))):
            db.execute(sa.delete(entitlements).where(of_event, entitlements.c.address_key.in_(chunk)))
        added = [
            {"partition_key": poll.partition_key, "address_key": key, "edition": edition}
            for key in sorted(set(holder_keys) - before)
        ]
        insert_missing(db, entitlements, added)
        db.execute(sa.delete(waves).where(waves.c.partition_key == poll.partition_key))
        if poll.book_digest is not None:
            db.execute(sa.delete(stale_events).where(stale_events.c.partition_key == poll.partition_key))


def record_wave(ledger: Ledger, edition: str, partition_key: str, holder_keys: Collection[str], *, unread: int) -> None:
    """Add the holders of a wave in the middle of a poll, in one transaction. Nobody loses a ticket by it.

    The event is stale until the poll has ended: whoever seems to hold no ticket may have one that is still ``unread``.
    Raise ``ImportedPartition`` for an import.
    """
    refuse_imported(partition_key)
    rows = [{"partition_key": partition_key, "address_key": key, "edition": edition} for key in sorted(holder_keys)]
    with ledger.engine.begin() as db:
        insert_missing(db, entitlements, rows)
        insert_missing(db, stale_events, [{"partition_key": partition_key, "edition": edition}])
        upsert(db, waves, {"partition_key": partition_key}, {"unread": unread, "served_at": ledger.clock()})


def unread_after_wave(ledger: Ledger, partition_key: str) -> int:
    """Return how many attendees the event's last wave left to be read; 0 when its poll has ended, or had no waves."""
    return int(ledger.scalar(sa.select(waves.c.unread).where(waves.c.partition_key == partition_key)) or 0)


def record_load(ledger: Ledger, partition_key: str, digest: str) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.update(polls).where(polls.c.partition_key == partition_key).values(loaded_digest=digest))


def record_rules(ledger: Ledger, partition_key: str, digest: str) -> None:
    """Remember that orders and table agree under other rules. ``digest``: of the stored orders by these rules."""
    with ledger.engine.begin() as db:
        of_event = polls.c.partition_key == partition_key
        db.execute(sa.update(polls).where(of_event).values(content_digest=digest, loaded_digest=digest))


def forget_loads(ledger: Ledger, partition_keys: Collection[str], *, states: Mapping[str, str]) -> None:
    """Make these events' tables due, and take the tables' present states (table -> state) for known."""
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(partition_keys)):
            db.execute(sa.update(polls).where(polls.c.partition_key.in_(chunk)).values(loaded_digest=None))
        for name, state in states.items():
            upsert(db, table_states, {"name": name}, {"state": state})


def table_state(ledger: Ledger, name: str) -> str | None:
    """Return the state in which our last load left a table of the warehouse; ``None`` before the first."""
    return ledger.scalar(sa.select(table_states.c.state).where(table_states.c.name == name))


def record_table_state(ledger: Ledger, name: str, state: str) -> None:
    with ledger.engine.begin() as db:
        upsert(db, table_states, {"name": name}, {"state": state})


# -- holders ------------------------------------------------------------------------------------------


def recorded_holders(ledger: Ledger, partition_key: str) -> set[str]:
    """Return the pseudonyms that held a usable ticket of the event at its last good poll."""
    return ledger.column(sa.select(entitlements.c.address_key).where(entitlements.c.partition_key == partition_key))


def drop_entitlement(ledger: Ledger, partition_key: str, address_key: str) -> None:
    """Forget that an address holds a ticket of an event that no poll reads any more."""
    with ledger.engine.begin() as db:
        of_event = entitlements.c.partition_key == partition_key
        db.execute(sa.delete(entitlements).where(of_event, entitlements.c.address_key == address_key))


def entitled_among(ledger: Ledger, edition: str, keys: Collection[str]) -> set[str]:
    """Return those of ``keys`` that hold a usable ticket in any event of the edition."""
    query = sa.select(entitlements.c.address_key).where(entitlements.c.edition == edition)
    return set(keys) & ledger.column(query)


# -- news that no poll has taken in --------------------------------------------------------------------


def record_stale_events(ledger: Ledger, edition: str, partition_keys: Collection[str]) -> None:
    """Remember the events with orders that the last good poll did not see, or that nobody can look at now."""
    with ledger.engine.begin() as db:
        before = set(db.scalars(sa.select(stale_events.c.partition_key).where(stale_events.c.edition == edition)))
        db.execute(sa.delete(stale_events).where(stale_events.c.partition_key.in_(before - set(partition_keys))))
        added = sorted(set(partition_keys) - before)
        insert_missing(db, stale_events, [{"partition_key": key, "edition": edition} for key in added])


def news_since(ledger: Ledger) -> dict[str, datetime]:
    """Return the events with news that no poll has taken in, and since when there is any."""
    with ledger.engine.begin() as db:
        return {row.partition_key: row.since for row in db.execute(sa.select(waiting_events))}


def record_news_since(ledger: Ledger, since: Mapping[str, datetime]) -> None:
    """Replace what ``news_since`` returns."""
    rows = [{"partition_key": key, "since": moment} for key, moment in sorted(since.items())]
    with ledger.engine.begin() as db:
        db.execute(sa.delete(waiting_events))
        insert_missing(db, waiting_events, rows)


# -- the pause ----------------------------------------------------------------------------------------

_PAUSE_ID = 1
RESUME = "`pycontw-assets resume`"


class Paused(Exception):
    """A person paused all polls. Nothing was done."""

    def __init__(self, since: datetime) -> None:
        super().__init__(f"polls are paused since {since:%Y-%m-%d %H:%M} UTC: nothing is done until {RESUME}")
        self.since = since


def paused_since(ledger: Ledger) -> datetime | None:
    """Return since when all polls are paused; ``None``: they are not."""
    return ledger.scalar(sa.select(pauses.c.since))


def refuse_while_paused(ledger: Ledger) -> None:
    """Raise ``Paused`` while polls are paused."""
    if since := paused_since(ledger):
        raise Paused(since)


def begin_pause(ledger: Ledger) -> None:
    """Pause all polls, on every machine. A pause that lasts already keeps its beginning."""
    with ledger.engine.begin() as db:
        insert_missing(db, pauses, [{"id": _PAUSE_ID, "since": ledger.clock()}])


def end_pause(ledger: Ledger) -> None:
    with ledger.engine.begin() as db:
        db.execute(sa.delete(pauses))
