"""Discord invites by holder: from intended to ended. One is open per edition and address.

The code of an invite opens the guild for whoever has it, so only its digest is kept. The same holds for the members.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import (
    BearerOrigin,
    GrantState,
    InviteState,
    InviteTrace,
    chunks,
    discord_bearers,
    discord_invites,
    discord_state,
    entitlements,
    grants,
    insert_missing,
    stale_events,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import refuse_imported

UNKNOWN_ROLE = ""  # of a used invite that was restored while no entry of DISCORD_ROLES fitted its tickets
_ONLY_ROW = 1
_NOBODY = "0" * 64  # a digest of nobody: its row says that the members of a role were listed
_IS_OPEN = discord_invites.c.state != "ended"


@dataclass(frozen=True, slots=True)
class Invite:
    """One invite of one holder.

    ``code_digest``: ``None`` while no invite is known to exist. ``trace``: what is known of who used it.
    ``member_digest``: the member, where ``trace`` is ``member``.
    """

    edition: str
    address_key: str
    period: int
    partition_key: str
    role_id: str
    state: InviteState
    intended_at: datetime
    code_digest: str | None = None
    tried_at: datetime | None = None
    gone_at: datetime | None = None
    trace: InviteTrace | None = None
    member_digest: str | None = None


@dataclass(frozen=True, slots=True)
class GuildState:
    """The guild as the last step saw it. ``full_until``: no invite is made before then, because it was full."""

    is_on: bool = False
    guild_digest: str | None = None
    looked_at: datetime | None = None
    full_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bearer:
    """A member who has one of the roles. ``origin`` says how the member came to it."""

    member_digest: str
    role_id: str
    origin: BearerOrigin


# -- the switch -----------------------------------------------------------------------------------


def guild_state(ledger: Ledger) -> GuildState:
    columns = [discord_state.c[name] for name in GuildState.__dataclass_fields__]
    with ledger.engine.begin() as db:
        row = db.execute(sa.select(*columns)).one_or_none()
    return GuildState(**row._mapping) if row else GuildState()


def switch_discord(ledger: Ledger, *, is_on: bool) -> None:
    """Record whether Discord is a venue. While it is, nobody is mailed without a link. The same again is free."""
    if guild_state(ledger).is_on != is_on:
        with ledger.engine.begin() as db:
            upsert(db, discord_state, {"id": _ONLY_ROW}, {"is_on": is_on})


def enter_guild(ledger: Ledger, guild_digest: str) -> None:
    """Remember the guild; ``LedgerError`` if the open invites are about another one."""
    known = guild_state(ledger).guild_digest
    if known == guild_digest:
        return
    with ledger.engine.begin() as db:
        if known is not None and db.scalar(sa.select(sa.func.count()).select_from(discord_invites).where(_IS_OPEN)):
            raise LedgerError(
                "the ledger has open invites of another Discord guild, and nobody is invited to two. Set "
                "DISCORD_GUILD_ID back, or begin the next edition with a ledger of its own"
            )
        upsert(db, discord_state, {"id": _ONLY_ROW}, {"guild_digest": guild_digest, "looked_at": None})


def record_full(ledger: Ledger, until: datetime | None) -> None:
    """Remember until when the guild counts as full; ``None``: it has room."""
    if guild_state(ledger).full_until != until:
        with ledger.engine.begin() as db:
            upsert(db, discord_state, {"id": _ONLY_ROW}, {"full_until": until})


# -- invites --------------------------------------------------------------------------------------


def open_invites(ledger: Ledger, edition: str) -> dict[str, Invite]:
    """Return the open invite of every address that has one, or is about to get one."""
    query = _select().where(discord_invites.c.edition == edition, _IS_OPEN)
    with ledger.engine.begin() as db:
        return {row.address_key: Invite(**row._mapping) for row in db.execute(query)}


def latest_invite(ledger: Ledger, edition: str, address_keys: Collection[str]) -> Invite | None:
    """Return the last invite of a mailbox, which may have ended; ``None``: it never had one."""
    theirs = (discord_invites.c.edition == edition, discord_invites.c.address_key.in_(address_keys))
    query = _select().where(*theirs).order_by(discord_invites.c.intended_at.desc()).limit(1)
    with ledger.engine.begin() as db:
        row = db.execute(query).one_or_none()
    return Invite(**row._mapping) if row else None


def open_editions(ledger: Ledger, address_key: str) -> set[str]:
    """Return the editions in which the address has an open invite."""
    is_theirs = (discord_invites.c.address_key == address_key, _IS_OPEN)
    return ledger.column(sa.select(discord_invites.c.edition).where(*is_theirs))


def invites_without_ticket(ledger: Ledger, edition: str, *, awaited: Collection[GrantState] = ()) -> dict[str, Invite]:
    """Return the open invites whose address holds no usable ticket any more, and those whose end has begun.

    Of the former there are none while some event is stale: the address may hold another ticket there.

    Guests in one of the states ``awaited`` leave the guest list first. A guest who buys again before that is not
    mailed again, so the link in the mail has to live on. Guests of others may stay for good, and are not awaited. Nor
    are those whose removal was cut off and who were not on the list at the next look: a new ticket is mailed again.
    """
    is_listed = sa.exists().where(
        grants.c.edition == edition,
        grants.c.address_key == discord_invites.c.address_key,
        grants.c.state.in_(awaited),
        grants.c.added_by_us.is_(True),
        grants.c.ceded_at.is_(None),
        sa.or_(grants.c.state != "revoking", grants.c.attempts == 0),
    )
    still = sa.select(entitlements.c.address_key).where(entitlements.c.edition == edition)
    has_lost = sa.and_(discord_invites.c.address_key.not_in(still), ~_is_stale(edition), ~is_listed)
    query = _select().where(
        discord_invites.c.edition == edition, _IS_OPEN, sa.or_(has_lost, discord_invites.c.state == "deleting")
    )
    with ledger.engine.begin() as db:
        return {row.address_key: Invite(**row._mapping) for row in db.execute(query)}


def has_stale_event(ledger: Ledger, edition: str) -> bool:
    """Whether some event of the edition could not be read, so that nobody is known to be without a ticket."""
    return bool(ledger.scalar(sa.select(_is_stale(edition))))


def _is_stale(edition: str) -> sa.Exists:
    return sa.exists().where(stale_events.c.edition == edition)


def intend_invites(ledger: Ledger, edition: str, partition_key: str, roles: Mapping[str, str]) -> None:
    """Intend an invite for every address (``roles``: address key -> role) that has none open. No service is asked."""
    refuse_imported(partition_key)
    if not roles:
        return
    now, table = ledger.clock(), discord_invites
    with ledger.engine.begin() as db:
        latest = sa.select(table.c.address_key, sa.func.max(table.c.period)).where(table.c.edition == edition)
        periods = dict(db.execute(latest.group_by(table.c.address_key)).all())
        rows = [
            {
                "edition": edition, "address_key": key, "period": periods.get(key, 0) + 1,
                "partition_key": partition_key, "role_id": role, "state": "intended", "intended_at": now,
            }
            for key, role in sorted(roles.items())
        ]  # fmt: skip
        insert_missing(db, table, rows)


def set_invite(ledger: Ledger, invite: Invite, state: InviteState, **values: Any) -> None:
    """Move one invite to ``state``, with the time where the state has one."""
    with ledger.engine.begin() as db:
        _set(db, ledger.clock(), [invite], state, **values)


def record_look(
    ledger: Ledger,
    *,
    used: Mapping[InviteTrace, Collection[Invite]],
    members: Mapping[Invite, str],
    ended: Iterable[Invite],
    bearers: Iterable[Bearer] | None,
    listed: Iterable[str] = (),
) -> None:
    """Record what a look at the guild showed, whole or not at all. ``bearers``: ``None`` where nobody was listed.

    An invite whose role has become known is among ``used``, with its role.

    ``listed``: the roles whose members were listed, though there may be none.
    """
    now = ledger.clock()
    with ledger.engine.begin() as db:
        for trace, invites in used.items():
            for invite in invites:
                _set(db, now, [invite], "used", trace=trace, role_id=invite.role_id)
        for invite, member in members.items():
            _set(db, now, [invite], "used", trace="member", member_digest=member)
        _set(db, now, ended, "ended")
        if bearers is not None:
            db.execute(sa.delete(discord_bearers))
            nobody = [Bearer(_NOBODY, role, "other") for role in listed]
            insert_missing(db, discord_bearers, [_row_of(bearer) for bearer in (*bearers, *nobody)])
        upsert(db, discord_state, {"id": _ONLY_ROW}, {"looked_at": now})


def known_bearers(ledger: Ledger) -> list[Bearer]:
    columns = (discord_bearers.c.member_digest, discord_bearers.c.role_id, discord_bearers.c.origin)
    with ledger.engine.begin() as db:
        return [Bearer(*row) for row in db.execute(sa.select(*columns).where(columns[0] != _NOBODY))]


def listed_roles(ledger: Ledger) -> set[str]:
    """Return the roles whose members were listed by the last listing, so that a later one shows who is new."""
    return ledger.column(sa.select(discord_bearers.c.role_id).distinct())


def forget_bearer(ledger: Ledger, member_digest: str, role_id: str) -> None:
    """Forget a member whose role was removed: getting it again is news."""
    bearer = (discord_bearers.c.member_digest == member_digest, discord_bearers.c.role_id == role_id)
    with ledger.engine.begin() as db:
        db.execute(sa.delete(discord_bearers).where(*bearer))


# -- counts for a tick ----------------------------------------------------------------------------


def count_invite_work(
    ledger: Ledger,
    partition_key: str,
    edition: str,
    *,
    look_every: timedelta,
    awaited: Collection[GrantState] = (),
) -> int:
    """Count what a poll can do about the event's invites now: missing ones, invites to end, and a look that is due."""
    now, state = ledger.clock(), guild_state(ledger)
    is_full = state.full_until is not None and now < state.full_until
    is_look_due = state.looked_at is None or not now - look_every < state.looked_at <= now
    table = discord_invites
    of_holder = sa.and_(table.c.edition == edition, table.c.address_key == entitlements.c.address_key, _IS_OPEN)
    has_link = sa.exists().where(of_holder, table.c.state.not_in(("intended", "creating")))
    of_event = entitlements.c.partition_key == partition_key
    missing = sa.select(sa.func.count()).select_from(entitlements).where(of_event, ~has_link)
    is_to_see = sa.or_(table.c.state == "open", sa.and_(_IS_OPEN, table.c.role_id == UNKNOWN_ROLE))
    to_see = sa.select(sa.func.count()).select_from(table).where(table.c.partition_key == partition_key, is_to_see)
    leaving = [
        invite
        for invite in invites_without_ticket(ledger, edition, awaited=awaited).values()
        if invite.partition_key == partition_key and (is_look_due or not is_unclear(invite))
    ]
    looks = min(1, int(ledger.scalar(to_see) or 0)) if is_look_due else 0
    return (0 if is_full else int(ledger.scalar(missing) or 0)) + len(leaving) + looks


def is_unclear(invite: Invite) -> bool:
    """Whether the invite was used, and it is not known by whom."""
    return invite.state == "used" and invite.trace != "member"


def count_without_link(ledger: Ledger, partition_key: str, edition: str) -> int:
    """Count the event's holders who wait for their link."""
    of_holder = sa.and_(
        discord_invites.c.edition == edition, discord_invites.c.address_key == entitlements.c.address_key
    )
    has_link = sa.exists().where(of_holder, discord_invites.c.state.in_(("open", "used")))
    query = sa.select(sa.func.count()).select_from(entitlements)
    return int(ledger.scalar(query.where(entitlements.c.partition_key == partition_key, ~has_link)) or 0)


def _select() -> sa.Select[Any]:
    return sa.select(*(discord_invites.c[name] for name in Invite.__dataclass_fields__))


def _set(db: sa.Connection, now: datetime, invites: Iterable[Invite], state: InviteState, **values: Any) -> None:
    stamp = {"creating": "tried_at", "used": "gone_at", "ended": "ended_at"}.get(state)
    changes = {"state": state, **({stamp: now} if stamp else {}), **values}
    if state == "ended":  # nothing points at a member or at an invite any longer
        changes |= {"code_digest": None, "member_digest": None}
    for chunk in chunks(list(invites)):
        for invite in chunk:
            key = (
                discord_invites.c.edition == invite.edition,
                discord_invites.c.address_key == invite.address_key,
                discord_invites.c.period == invite.period,
            )
            db.execute(sa.update(discord_invites).where(*key).values(**changes))


def _row_of(bearer: Bearer) -> dict[str, str]:
    return {"member_digest": bearer.member_digest, "role_id": bearer.role_id, "origin": bearer.origin}
