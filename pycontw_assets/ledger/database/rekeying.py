"""Move what the ledger knows of people from older pseudonyms to those of today. Several of one mailbox become one.

Nothing is decided anew by it: nobody is let in, removed or invited because of another pseudonym. Members of mailing
lists keep theirs: a list holds the profile of one spelling, and the next poll replaces it by the deliverable one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    REFUSED_ADDRESS,
    GrantState,
    InvitationState,
    batches,
    chunks,
    discord_invites,
    entitlements,
    erased_attendees,
    erasures,
    grants,
    insert_missing,
    invitations,
    repeats,
)

# The first of several is kept: who was let in stays so, and who was invited is not invited again. Somebody who could
# not be reached in one spelling is invited where another one still waits for its invitation (``None``).
_GRANT_STATES: tuple[GrantState, ...] = ("granted", "assumed", "intended", "revoking")
_INVITATION_STATES: tuple[InvitationState | None, ...] = ("accepted", "marked", "claimed", None, "unreachable")

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Period:
    """An access period of one pseudonym: its grant, its invitation and the batch of that, as far as there are any."""

    grant: _Row | None
    invitation: _Row | None = None
    batch: _Row | None = None

    @property
    def is_over(self) -> bool:
        return self.grant is not None and self.grant["state"] == "revoked"

    @property
    def mail_is_on_its_way(self) -> bool:
        """Whether the mail service has taken the mail over and has perhaps not sent it."""
        return self._invitation_state == "accepted" and self.batch is not None and self.batch["state"] == "accepted"

    @property
    def _invitation_state(self) -> InvitationState | None:
        return self.invitation["state"] if self.invitation else None

    @property
    def doubt_of_mail(self) -> tuple[int, bool, bool]:
        """Rank the invitation: the surer a mail was or will be sent, the lower."""
        batch = self.batch or {}
        rank = _INVITATION_STATES.index(self._invitation_state)
        was_begun = batch.get("send_intended_at") is not None or bool((self.invitation or {}).get("event_id"))
        return rank, batch.get("ended_at") is None, not was_begun


def rekey(db: sa.Connection, new_keys: Mapping[str, str], now: datetime) -> int:
    """Move every fact to its key of today (``new_keys``: old -> new). Return how many old keys the ledger knew.

    The caller's transaction makes it happen whole or not at all.
    """
    old_keys = _known(db, new_keys)
    for chunk in chunks(sorted(old_keys)):
        refused = (invitations.c.state == "unreachable", invitations.c.reason == REFUSED_ADDRESS)
        db.execute(sa.delete(invitations).where(invitations.c.address_key.in_(chunk), *refused))
    for new_key in sorted({new_keys[key] for key in old_keys}):
        keys = sorted(key for key in old_keys if new_keys[key] == new_key)
        _move_entitlements(db, keys, new_key)
        _move_erasures(db, keys, new_key)
        db.execute(sa.update(repeats).where(repeats.c.address_key.in_(keys)).values(address_key=new_key))
        _move_periods(db, keys, new_key, now)
        _move_invites(db, keys, new_key)
    return len(old_keys)


def _known(db: sa.Connection, new_keys: Mapping[str, str]) -> set[str]:
    tables = (entitlements, grants, invitations, erased_attendees, erasures, repeats, discord_invites)
    return {
        key
        for chunk in chunks(sorted(new_keys))
        for table in tables
        for key in db.scalars(sa.select(table.c.address_key).where(table.c.address_key.in_(chunk)).distinct())
    }


def _move_invites(db: sa.Connection, old_keys: Sequence[str], new_key: str) -> None:
    """Move invites to Discord where the person has none under another key. A second one ends with its ticket."""
    columns = discord_invites.c
    for old_key in old_keys:
        taken = sa.select(columns.edition).where(columns.address_key == new_key)
        editions = set(db.scalars(sa.select(columns.edition).where(columns.address_key == old_key)))
        for edition in sorted(editions - set(db.scalars(taken))):
            of_old = (columns.address_key == old_key, columns.edition == edition)
            db.execute(sa.update(discord_invites).where(*of_old).values(address_key=new_key))


def _move_entitlements(db: sa.Connection, old_keys: Sequence[str], new_key: str) -> None:
    of_old = entitlements.c.address_key.in_(old_keys)
    rows = [dict(row) for row in db.execute(sa.select(entitlements).where(of_old)).mappings()]
    insert_missing(db, entitlements, [{**row, "address_key": new_key} for row in rows])
    db.execute(sa.delete(entitlements).where(of_old))


def _move_erasures(db: sa.Connection, old_keys: Sequence[str], new_key: str) -> None:
    of_old = erased_attendees.c.address_key.in_(old_keys)
    db.execute(sa.update(erased_attendees).where(of_old).values(address_key=new_key))
    requests = erasures.c.address_key.in_([*old_keys, new_key])
    if rows := db.execute(sa.select(erasures).where(requests)).all():
        places = sorted({place for row in rows for place in row.places.split(", ")})
        profiles = sorted({profile for row in rows for profile in (row.profiles or "").split()})
        db.execute(sa.delete(erasures).where(requests))
        latest = max(row.requested_at for row in rows)
        values = {"requested_at": latest, "places": ", ".join(places), "profiles": " ".join(profiles) or None}
        db.execute(sa.insert(erasures).values(address_key=new_key, **values))


def _move_periods(db: sa.Connection, old_keys: Sequence[str], new_key: str, now: datetime) -> None:
    keys = [*old_keys, new_key]
    periods = _periods(db, keys)
    for table in (invitations, grants):
        db.execute(sa.delete(table).where(table.c.address_key.in_(keys)))
    for edition in sorted({edition for _, edition in periods}):
        of_edition = [found for (_, its_edition), found in sorted(periods.items()) if its_edition == edition]
        merged = of_edition[0] if len(of_edition) == 1 else list(_renumbered(merge(of_edition, now)))
        for table, rows in (
            (grants, [period.grant for period in merged if period.grant]),
            (invitations, [period.invitation for period in merged if period.invitation]),
        ):
            for row in rows:
                db.execute(sa.insert(table).values(**{**row, "address_key": new_key}))


def _periods(db: sa.Connection, keys: Sequence[str]) -> dict[tuple[str, str], list[Period]]:
    """Return the periods of each pseudonym and edition, in order."""
    found: dict[tuple[str, str, int], _Row] = {}
    for name, table in (("grant", grants), ("invitation", invitations)):
        for row in db.execute(sa.select(table).where(table.c.address_key.in_(keys))).mappings():
            found.setdefault((row["address_key"], row["edition"], row["period"]), {})[name] = dict(row)
    batch_keys = {facts["invitation"]["batch_key"] for facts in found.values() if "invitation" in facts}
    their_batches = sa.select(batches).where(batches.c.batch_key.in_(batch_keys))
    batch_of = {row["batch_key"]: dict(row) for row in db.execute(their_batches).mappings()}
    periods: dict[tuple[str, str], list[Period]] = {}
    for (key, edition, _), facts in sorted(found.items()):
        invitation = facts.get("invitation")
        batch = batch_of[invitation["batch_key"]] if invitation else None
        periods.setdefault((key, edition), []).append(Period(facts.get("grant"), invitation, batch))
    return periods


def merge(histories: Sequence[Sequence[Period]], now: datetime) -> list[Period]:
    """Return the periods of several pseudonyms of one mailbox as those of one, in order. Pure.

    Past periods stay. The present ones become one: its grant is the best of them, and counts as ours to remove only if
    all of them do; its invitation is the surest. The others are left out, so an open batch goes on without them. A
    second mail that is on its way counts as one without access, so that a scheduled campaign is taken back for it.
    """
    periods = [period for history in histories for period in history]
    past = sorted((period for period in periods if period.is_over), key=_begun)
    present = sorted((period for period in periods if not period.is_over), key=lambda period: period.doubt_of_mail)
    if not present:
        return past
    surest = present[0]
    for other in present[1:]:
        if other.mail_is_on_its_way and other.grant:
            ended = {**other.grant, "state": "revoked", "revoked_at": now}
            past.append(Period(ended, other.invitation, other.batch))
    return [*past, Period(_merged_grant(present), surest.invitation, surest.batch)]


def _merged_grant(present: Sequence[Period]) -> _Row | None:
    rows = [period.grant for period in present if period.grant]
    if not rows:
        return None
    best = min(rows, key=lambda row: _GRANT_STATES.index(row["state"]))
    return {
        **best,
        "added_by_us": all(row["added_by_us"] for row in rows),
        "intended_at": min(row["intended_at"] for row in rows),
    }


def _begun(period: Period) -> datetime:
    begun: datetime = (period.grant or {})["intended_at"]
    return begun


def _renumbered(periods: Sequence[Period]) -> Iterator[Period]:
    for number, period in enumerate(periods, start=1):
        grant = {**period.grant, "period": number} if period.grant else None
        yield Period(grant, {**period.invitation, "period": number} if period.invitation else None)
