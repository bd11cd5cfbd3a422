"""Decide what a look at the guild means for the invites. Pure.

Discord does not say who used an invite, and it deletes one at its last use. So who came is found out by comparing two
looks: the invites that are gone, and the members who have a role that they had not before. Where that has more than one
answer, nobody is recognised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pycontw_assets.ledger.database.tables import BearerOrigin, InviteTrace
from pycontw_assets.ledger.discord.invites import UNKNOWN_ROLE, Bearer, Invite

LATE_ROLE = timedelta(minutes=10)  # a role may show later than the invite disappears
_CLOCK_SKEW = timedelta(hours=1)  # between Discord and this machine


@dataclass(slots=True)
class Look:
    """The part of a look to record. ``used`` holds the gone invites of which no member is recognised, by trace."""

    used: dict[InviteTrace, list[Invite]] = field(default_factory=dict)
    members: dict[Invite, str] = field(default_factory=dict)
    ended: list[Invite] = field(default_factory=list)
    bearers: list[Bearer] | None = None


def gone_invites(invites: Iterable[Invite], live: Collection[str]) -> list[Invite]:
    """Return the invites that were made and are not in the guild's list any more. ``live``: digests of codes."""
    return [i for i in invites if i.state in ("open", "deleting") and i.code_digest not in live]


def is_listing_needed(invites: Collection[Invite], gone: Collection[Invite], is_any_unlisted: bool) -> bool:
    """Whether the members have to be listed: somebody came, somebody unknown has to go, or nobody looked before.

    ``is_any_unlisted``: the members of some role were never listed.
    """
    used = (invite for invite in invites if invite.state == "used")
    unknown = (i.trace in ("unclear", "unseen") or i.role_id == UNKNOWN_ROLE for i in used)
    return bool(gone) or is_any_unlisted or any(unknown)


def with_known_role(invites: Iterable[Invite], roles: Mapping[str, str]) -> list[Invite]:
    """Return the invites without a known role whose tickets an entry of the rules fits by now, with that role.

    ``roles``: address key -> role of holders.
    """
    unknown = [i for i in invites if i.role_id == UNKNOWN_ROLE and i.address_key in roles]
    return [replace(invite, role_id=roles[invite.address_key]) for invite in unknown]


def read_look(
    invites: Collection[Invite],
    gone: Collection[Invite],
    *,
    before: Collection[Bearer],
    present: Mapping[str, Collection[str]] | None,
    now: datetime,
    unlisted: Collection[str] = (),
    in_guild: Collection[str] = (),
    leaving: Collection[Invite] | None = (),
    role_found: Collection[Invite] = (),
) -> Look:
    """Return what the look means. ``present``: role -> digests of its members; ``None``: they could not be listed.

    ``unlisted``: the roles whose members were never listed before. Nobody knows which of them are new.
    ``in_guild``: digests of all members. ``leaving``: invites without a ticket; ``None``: no invite may end now.
    ``role_found``: used invites whose role was not known until now. Any of its members may be the one who used it.

    An invite that was used while the members could not be listed (``unseen``) is explained by the first look that can.
    """
    look = Look()
    if present is None:
        look.used["unseen"] = list(gone)
        return look
    look.bearers = []
    known: dict[tuple[str, str], BearerOrigin] = {(b.member_digest, b.role_id): b.origin for b in before}
    used = [i for i in invites if i.state == "used"]
    recent = [i for i in used if i.role_id != UNKNOWN_ROLE and (i.trace == "unseen" or _is_awaited(i, now))]
    for role in sorted({*present, *(invite.role_id for invite in gone)}):
        members = set(present.get(role, ()))
        new = {member for member in members if (member, role) not in known}
        origin = _read_role(
            look,
            certain=[i for i in (*gone, *recent) if i.role_id == role and i.state != "deleting"],
            doubted=[i for i in gone if i.role_id == role and i.state == "deleting"],
            new=new,
            is_first=role in unlisted,
        )
        look.bearers += [Bearer(m, role, known.get((m, role), origin)) for m in sorted(members)]
    if role_found:
        look.used.setdefault("unclear", []).extend(role_found)
        look.bearers = _doubt_others(look.bearers, {invite.role_id for invite in role_found})
    look.bearers += _unanswering(look, _lost_roles(before, look.bearers, in_guild), leaving)
    return look


def _doubt_others(bearers: Iterable[Bearer], roles: Collection[str]) -> list[Bearer]:
    return [replace(b, origin="unclear") if b.origin == "other" and b.role_id in roles else b for b in bearers]


def _lost_roles(before: Iterable[Bearer], now: Iterable[Bearer], in_guild: Iterable[str]) -> list[Bearer]:
    """Return the members of the guild who had a role and have it no more.

    Somebody who left the guild is not among them: it may as well be a holder.
    """
    kept = {(bearer.member_digest, bearer.role_id) for bearer in now}
    present = set(in_guild)
    return [b for b in before if b.member_digest in present and (b.member_digest, b.role_id) not in kept]


def _unanswering(look: Look, lost: Iterable[Bearer], leaving: Collection[Invite] | None) -> list[Bearer]:
    """End an invite of somebody unknown for each member of the guild from whom a person took the role.

    Return the members to keep in mind: all of them while no invite may end, and otherwise the unknown ones from whom
    the role was taken although nobody has to go, because the refund is perhaps read later.

    A known member whose own invite has no ticket says nothing about somebody unknown: that role had to go anyway.
    An invite without a known role is answered by any role, after all others.
    """
    if leaving is None:
        return list(lost)
    had_to_go = {(i.member_digest, i.role_id) for i in leaving if i.trace == "member"}
    answers = [bearer for bearer in lost if (bearer.member_digest, bearer.role_id) not in had_to_go]
    answers.sort(key=lambda bearer: (bearer.origin != "unclear", bearer.role_id, bearer.member_digest))
    unclear = [i for i in leaving if i.state == "used" and (i.trace == "unclear" or i.role_id == UNKNOWN_ROLE)]
    for invite in sorted(unclear, key=lambda i: i.role_id == UNKNOWN_ROLE):
        answer = next((b for b in answers if invite.role_id in (b.role_id, UNKNOWN_ROLE)), None)
        if answer is not None:
            look.ended.append(invite)
            answers.remove(answer)
    return [bearer for bearer in answers if bearer.origin == "unclear"]


def _is_awaited(invite: Invite, now: datetime) -> bool:
    """Whether nobody has the role by the invite yet, and it may show late."""
    return invite.trace == "nobody" and invite.gone_at is not None and abs(now - invite.gone_at) <= LATE_ROLE


def _read_role(
    look: Look, *, certain: list[Invite], doubted: list[Invite], new: set[str], is_first: bool
) -> BearerOrigin:
    """Explain the new members of one role. ``certain`` were used; ``doubted`` were used, or deleted by us.

    ``is_first``: "new" are all members, those who have the role from elsewhere among them.
    """
    if not new:
        look.used.setdefault("nobody", []).extend(i for i in certain if i.trace != "nobody")
        look.ended += doubted
        return "other"
    if not certain and not doubted:
        return "other"  # somebody gave them the role by hand
    if is_first:
        look.used.setdefault("unclear", []).extend([*certain, *doubted])
        return "unclear"
    if len(new) == 1 and len(certain) + len(doubted) == 1:
        look.members[(certain + doubted)[0]] = next(iter(new))
        return "known"
    if len(new) == len(certain) == 1:
        look.members[certain[0]] = next(iter(new))
        look.ended += doubted
        return "known"
    if len(new) == len(certain):
        look.ended += doubted  # every one of them is explained without these
        doubted = []
    look.used.setdefault("unclear", []).extend([*certain, *doubted])
    return "unclear"


# -- who has to go --------------------------------------------------------------------------------


def has_left(invite: Invite, bearers: Iterable[Bearer], now: datetime) -> bool | None:
    """Say whether nobody has the role by a used invite without a ticket; ``None``: that cannot be known.

    Of several unknown members, nobody knows who left. So a person takes the role from somebody (``_unanswering``).
    The same holds where the role itself is not known.
    """
    if invite.role_id == UNKNOWN_ROLE:
        return None
    if invite.trace == "nobody":
        return None if _is_awaited(invite, now) else True
    if invite.trace != "unclear":
        return None
    is_anybody_unknown = any(b.role_id == invite.role_id and b.origin == "unclear" for b in bearers)
    return None if is_anybody_unknown else True


# -- lost replies ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OwnInvite:
    """An unused single-use invite that this bot made in this channel and that the ledger does not know."""

    code: str = field(repr=False)
    role_id: str
    created_at: datetime


def lost_replies(strangers: Collection[OwnInvite], tried: Collection[Invite]) -> tuple[list[OwnInvite], int]:
    """Return the invites that were made for ``tried`` ones without an answer, and how many others stay.

    Nobody has the code of such an invite, so it may be deleted. Where there are more of them than tries, they are
    perhaps somebody's (a ledger restored from a backup does not know its latest invites), and all of them stay.
    """
    lost: list[OwnInvite] = []
    for role in sorted({invite.role_id for invite in tried}):
        tries = [invite.tried_at for invite in tried if invite.role_id == role and invite.tried_at is not None]
        since = min(tries) - _CLOCK_SKEW if tries else None
        candidates = [s for s in strangers if s.role_id == role and since is not None and s.created_at >= since]
        if len(candidates) <= len(tries):
            lost += candidates
    return lost, len(strangers) - len(lost)
