"""The facts about one person, by pseudonym: for the help desk, and for erasing them.

Questions about everybody, or about an event, belong to the other modules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import schema_change
from pycontw_assets.ledger.database.rekeying import rekey
from pycontw_assets.ledger.database.tables import (
    BatchState,
    GrantState,
    InvitationState,
    Way,
    batches,
    chunks,
    entitlements,
    erased_attendees,
    erasures,
    grants,
    insert_missing,
    invitations,
    members,
    meta,
    polls,
    refresh_requests,
    unreachable_attendees,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pseudonyms import NORMALISATION_VERSION, Pseudonymizer


@dataclass(frozen=True, slots=True)
class AccessPeriod:
    """One period of access. ``added_by_us`` is false for a guest who was on the list before us.

    ``space_digest`` names the space; ``None``: none was given yet, or the guest list is switched off.
    """

    edition: str
    period: int
    state: GrantState
    added_by_us: bool
    intended_at: datetime
    granted_at: datetime | None
    revoked_at: datetime | None
    attempts: int
    retry_at: datetime | None
    space_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Invited:
    """One invitation, and how far its batch came."""

    edition: str
    period: int
    state: InvitationState
    reason: str | None
    batch_key: str
    batch_state: BatchState
    profile_id: str | None
    send_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    remote_status: str | None
    way: Way
    event_id: str | None
    handed_at: datetime | None
    seen_at: datetime | None


def periods_of(ledger: Ledger, address_key: str) -> list[AccessPeriod]:
    """Return the access periods of an address, the oldest first."""
    columns = [grants.c[name] for name in AccessPeriod.__dataclass_fields__]
    query = sa.select(*columns).where(grants.c.address_key == address_key).order_by(grants.c.edition, grants.c.period)
    with ledger.engine.begin() as db:
        return [AccessPeriod(**row._mapping) for row in db.execute(query)]


def invitations_of(ledger: Ledger, address_key: str) -> list[Invited]:
    """Return the invitations of an address, the oldest first."""
    names = ("edition", "period", "state", "reason", "batch_key", "profile_id", "event_id", "handed_at", "seen_at")
    columns = [invitations.c[name] for name in names]
    columns += [batches.c[name] for name in ("send_at", "accepted_at", "ended_at", "remote_status", "way")]
    query = (
        sa.select(*columns, batches.c.state.label("batch_state"))
        .join(batches, batches.c.batch_key == invitations.c.batch_key)
        .where(invitations.c.address_key == address_key)
        .order_by(invitations.c.edition, invitations.c.period)
    )
    with ledger.engine.begin() as db:
        return [Invited(**row._mapping) for row in db.execute(query)]


def entitlements_of(ledger: Ledger, address_key: str) -> set[str]:
    """Return the events (partition keys) with a usable ticket of the person, as of their last good polls."""
    with ledger.engine.begin() as db:
        return set(db.scalars(sa.select(entitlements.c.partition_key).where(entitlements.c.address_key == address_key)))


def memberships_of(ledger: Ledger, address_key: str) -> dict[str, str | None]:
    """Return partition key -> profile id for the ticket-holder lists that the person is on."""
    query = sa.select(members.c.partition_key, members.c.profile_id).where(members.c.address_key == address_key)
    with ledger.engine.begin() as db:
        return {row.partition_key: row.profile_id for row in db.execute(query)}


# -- erased people ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """An erasure that is not finished. ``places`` have not confirmed that the person is gone from them."""

    address_key: str
    requested_at: datetime
    places: frozenset[str]


@dataclass(frozen=True, slots=True)
class ErasedAttendee:
    """An attendee who is not read. ``checked_at``: when the ticket was last known to be that person's still.

    An older version noted the number alone.
    """

    attendee_id: int
    address_key: str | None
    erased_at: datetime | None
    checked_at: datetime | None


def request_erasure(
    ledger: Ledger, address_key: str, places: Iterable[str], attendees: Mapping[str, Collection[int]]
) -> None:
    """Remember the request and the attendees (numbers by partition key) before anything is erased."""
    values = {"requested_at": ledger.clock(), "places": _joined(places)}
    # What an earlier request noted of the profiles stays: it may have left the lists by which they are found.
    with ledger.engine.begin() as db:
        upsert(db, erasures, {"address_key": address_key}, values)
        for partition_key, numbers in attendees.items():
            _remember_erased(db, partition_key, numbers, address_key=address_key, now=ledger.clock())


def erasure_requests(ledger: Ledger) -> list[ErasureRequest]:
    """Return the erasures that are not finished, the oldest first."""
    query = sa.select(erasures).order_by(erasures.c.requested_at, erasures.c.address_key)
    with ledger.engine.begin() as db:
        rows = db.execute(query).all()
    return [ErasureRequest(row.address_key, row.requested_at, frozenset(row.places.split(", "))) for row in rows]


def note_profiles(ledger: Ledger, address_key: str, profile_ids: Collection[str]) -> None:
    """Remember ids of the person's profiles in the mail service until the erasure is finished."""
    known = noted_profiles(ledger, address_key)
    if not set(profile_ids) <= known:
        joined = " ".join(sorted(known | set(profile_ids)))
        with ledger.engine.begin() as db:
            db.execute(sa.update(erasures).where(erasures.c.address_key == address_key).values(profiles=joined))


def noted_profiles(ledger: Ledger, address_key: str) -> set[str]:
    noted = ledger.scalar(sa.select(erasures.c.profiles).where(erasures.c.address_key == address_key))
    return set(str(noted or "").split())


def record_erasure(ledger: Ledger, address_key: str, places: Collection[str]) -> None:
    """Remember which places are left. With none the request is fulfilled, and forgotten."""
    request = erasures.c.address_key == address_key
    with ledger.engine.begin() as db:
        if places:
            db.execute(sa.update(erasures).where(request).values(places=_joined(places)))
        else:
            db.execute(sa.delete(erasures).where(request))


def erased_ids(ledger: Ledger, partition_key: str) -> frozenset[int]:
    """Return the attendees who asked to be forgotten, by number. For this pipeline, no book lists them any more."""
    query = sa.select(erased_attendees.c.attendee_id).where(erased_attendees.c.partition_key == partition_key)
    return frozenset(ledger.column(query))


def erased_attendees_of(ledger: Ledger, partition_key: str) -> list[ErasedAttendee]:
    """Return the same attendees with what is remembered of them."""
    columns = [erased_attendees.c[name] for name in ErasedAttendee.__dataclass_fields__]
    query = sa.select(*columns).where(erased_attendees.c.partition_key == partition_key)
    with ledger.engine.begin() as db:
        return [ErasedAttendee(**row._mapping) for row in db.execute(query.order_by(erased_attendees.c.attendee_id))]


def erased_people(ledger: Ledger) -> set[str]:
    """Return the pseudonyms of everybody who asked to be forgotten, as far as their request or a ticket is noted."""
    noted = sa.select(erased_attendees.c.address_key).where(erased_attendees.c.address_key.is_not(None))
    return ledger.column(noted) | ledger.column(sa.select(erasures.c.address_key))


def remember_erased(ledger: Ledger, partition_key: str, attendee_ids: Collection[int], address_key: str) -> None:
    """Keep the numbers here and not in the vault, so that orders which have to be read again leave them out too."""
    with ledger.engine.begin() as db:
        _remember_erased(db, partition_key, attendee_ids, address_key=address_key, now=ledger.clock())


def record_look(ledger: Ledger, partition_key: str, owners: Mapping[int, str | None]) -> None:
    """Record a look at erased attendees. ``owners``: whose their tickets are, ``None`` where that could not be read.

    Of an attendee whose owner an older version did not note, it is the present one.
    """
    columns, now = erased_attendees.c, ledger.clock()
    with ledger.engine.begin() as db:
        for number, address_key in owners.items():
            of_one = sa.update(erased_attendees).where(
                columns.partition_key == partition_key, columns.attendee_id == number
            )
            db.execute(of_one.values(checked_at=now))
            db.execute(of_one.where(columns.erased_at.is_(None)).values(erased_at=now))
            db.execute(of_one.where(columns.address_key.is_(None)).values(address_key=address_key))


def forget_erased(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Let these attendees be read like all others: their tickets are somebody else's now."""
    numbers = sorted(attendee_ids)
    with ledger.engine.begin() as db:
        for chunk in chunks(numbers):
            of_event = erased_attendees.c.partition_key == partition_key
            db.execute(sa.delete(erased_attendees).where(of_event, erased_attendees.c.attendee_id.in_(chunk)))


def _remember_erased(
    db: sa.Connection, partition_key: str, attendee_ids: Collection[int], *, address_key: str, now: datetime
) -> None:
    numbers = sorted(attendee_ids)
    facts = {"partition_key": partition_key, "address_key": address_key, "erased_at": now, "checked_at": now}
    insert_missing(db, erased_attendees, [{"attendee_id": number, **facts} for number in numbers])
    for chunk in chunks(numbers):
        of_event = unreachable_attendees.c.partition_key == partition_key
        db.execute(sa.delete(unreachable_attendees).where(of_event, unreachable_attendees.c.attendee_id.in_(chunk)))


def _joined(places: Iterable[str]) -> str:
    return ", ".join(sorted(places))


# -- attendees to read again --------------------------------------------------------------------------


def request_refresh(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Ask the next poll of the event to read these attendees again. Asking twice is asking once."""
    rows = [{"partition_key": partition_key, "attendee_id": number} for number in sorted(attendee_ids)]
    with ledger.engine.begin() as db:
        insert_missing(db, refresh_requests, rows)


def requested_refreshes(ledger: Ledger, partition_key: str) -> frozenset[int]:
    """Return the attendees that somebody asked to read again, by number."""
    query = sa.select(refresh_requests.c.attendee_id).where(refresh_requests.c.partition_key == partition_key)
    return frozenset(ledger.column(query))


def end_refresh_requests(ledger: Ledger, partition_key: str, attendee_ids: Collection[int]) -> None:
    """Forget the requests that a poll has dealt with. Others may have come meanwhile: those stay."""
    of_event = refresh_requests.c.partition_key == partition_key
    with ledger.engine.begin() as db:
        for chunk in chunks(sorted(attendee_ids)):
            db.execute(sa.delete(refresh_requests).where(of_event, refresh_requests.c.attendee_id.in_(chunk)))


# -- one mailbox, one person -------------------------------------------------------------------------


def recognise(ledger: Ledger, pseudonymizer: Pseudonymizer, spellings: Iterable[str]) -> None:
    """Move what older pseudonyms of these mailboxes are remembered by to the pseudonyms of today.

    Wherever an address is met, it may be the first time since the normal form changed. Usual ones cost nothing.
    """
    move_people(ledger, {old: new for text in spellings for old, new in pseudonymizer.former_keys(text).items()})


def move_people(ledger: Ledger, new_keys: Mapping[str, str]) -> None:
    """Move what is remembered of older pseudonyms to those of today (``new_keys``: old -> new), whole or not at all."""
    if new_keys:
        with schema_change(ledger.engine) as db:
            rekey(db, new_keys, ledger.clock())


def renew_pseudonyms(ledger: Ledger, new_keys: Mapping[str, str], content_digests: Mapping[str, str]) -> None:
    """Bring the ledger to today's normal form in one transaction, one process at a time.

    ``new_keys``: old pseudonym -> the one of today. ``content_digests``: partition key -> digest of orders whose table
    is now behind.
    """
    with schema_change(ledger.engine) as db:
        is_normalisation = meta.c.name == "normalisation"
        if db.scalar(sa.select(meta.c.value).where(is_normalisation)) == str(NORMALISATION_VERSION):
            return  # another process was faster
        rekey(db, new_keys, ledger.clock())
        for partition_key, digest in content_digests.items():
            db.execute(sa.update(polls).where(polls.c.partition_key == partition_key).values(content_digest=digest))
        db.execute(sa.delete(meta).where(is_normalisation))
        db.execute(sa.insert(meta).values(name="normalisation", value=str(NORMALISATION_VERSION)))
