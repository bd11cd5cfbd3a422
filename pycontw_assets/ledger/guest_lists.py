"""The state of the guest lists in Gather: their spaces, how many guests each showed, and whether it is in doubt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.counting.kept import Counted, counted
from pycontw_assets.ledger.database import tables
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import grants, upsert
from pycontw_assets.ledger.ledger import Ledger

_FIRST_ROW = 1
_FORM = 1  # of the kept counts: another number for another meaning
_table = tables.guest_list_state


@dataclass(frozen=True, slots=True)
class GuestListState:
    """The guest list as the last step saw it.

    ``lacking`` counts guests of the ledger who were not on it, but for those the step took care of. ``doubted_size``
    is how many guests a list showed that a person is asked about, ``doubted_in`` the poll that asked; ``None``: the
    list is not in doubt.
    """

    space_digest: str | None = None
    size: int | None = None
    lacking: int = 0
    doubted_size: int | None = None
    doubted_in: str | None = None


def guest_list_state(ledger: Ledger, space: str | None = None) -> GuestListState:
    """Return the state of a space's list. ``space`` is its digest; ``None``: the only one, or the first of several."""
    with ledger.engine.begin() as db:
        return _read(db, space)


def count_lacking(ledger: Ledger) -> int:
    """Return how many guests were not on the lists, in all spaces."""
    return int(ledger.scalar(sa.select(sa.func.sum(_table.c.lacking))) or 0)


def record_size(ledger: Ledger, size: int, space: str | None = None) -> None:
    _record(ledger, space, size=size)


def record_lacking(ledger: Ledger, lacking: int, space: str | None = None) -> None:
    _record(ledger, space, lacking=lacking)


def record_doubt(ledger: Ledger, size: int, poll_id: str | None, space: str | None = None) -> None:
    """Remember that a person is asked about a list which shows ``size`` guests."""
    _record(ledger, space, doubted_size=size, doubted_in=poll_id)


def clear_doubt(ledger: Ledger, space: str | None = None) -> None:
    _record(ledger, space, doubted_size=None, doubted_in=None)


# -- which spaces -------------------------------------------------------------------------------------


def has_space_changed(ledger: Ledger, *space_ids: str) -> bool:
    """Say whether the grants are about the list of another space than the only one there is. Reads only."""
    with ledger.engine.begin() as db:
        known = _known(db)
    return bool(known) and len(space_ids) == 1 and space_digest(space_ids[0]) not in known


def refuse_lost_spaces(ledger: Ledger, edition: str, *space_ids: str) -> Counted:
    """Raise ``LedgerError`` where people were let into a space that is not among these any more. Reads only.

    Return the people by space, as they were counted.
    """

    def ask() -> str:
        with ledger.engine.begin() as db:
            return json.dumps(_people_by_space(db, edition))

    people = counted(ledger, f"people by space {_FORM} of {edition}", ask)
    _refuse_lost(json.loads(people.answer), list(map(space_digest, space_ids)))
    return people


def enter_space(ledger: Ledger, edition: str, *space_ids: str) -> None:
    """Remember the spaces. The same ones once more change nothing.

    Another single space has a list of its own: access is assumed until the guests are let in there, too. Nobody is
    invited again by it. With several spaces nobody moves: ``LedgerError`` where one is gone that people were let into.
    """
    digests = list(map(space_digest, space_ids))
    with ledger.engine.begin() as db:
        known = _known(db)
        if set(known) == set(digests):
            return
        lost = _refuse_lost(_people_by_space(db, edition), digests)
        if known and len(digests) == 1 and (lost or digests[0] not in known):
            _move(db, edition, digests[0])
        else:
            _change(db, known, digests)


def space_digest(space_id: str) -> str:
    """Return the name of a space in the ledger."""
    return hashlib.sha256(space_id.encode()).hexdigest()


def _known(db: sa.Connection) -> list[str]:
    """Return the spaces that were entered, the oldest first."""
    stored = db.execute(sa.select(_table.c.space_digest).order_by(_table.c.id)).scalars()
    return [digest for digest in stored if digest is not None]


def _people_by_space(db: sa.Connection, edition: str) -> dict[str, int]:
    """Count the people let into each space."""
    let_in = (grants.c.edition == edition, grants.c.state.not_in(("revoked", "assumed")))
    query = sa.select(grants.c.space_digest, sa.func.count()).where(*let_in).group_by(grants.c.space_digest)
    return {digest: number for digest, number in db.execute(query) if digest is not None}


def _refuse_lost(people: Mapping[str, int], digests: Sequence[str]) -> set[str]:
    """Return the spaces of people who are to move: with one space before and after, everybody does. Refuse others."""
    lost = people.keys() - set(digests)
    if lost and not (len(digests) == 1 and len(people) == 1):
        raise LedgerError(
            f"{sum(people[digest] for digest in lost)} people were let into {len(lost)} spaces that GATHER_SPACE_ID "
            "does not name any more. Nothing was done, because nobody could be removed there, and their links lead "
            "there. Name them again; with the capacity 0 a space takes nobody new (`<id>\\<space name>:0`)"
        )
    return lost


def _move(db: sa.Connection, edition: str, digest: str) -> None:
    let_in = sa.and_(grants.c.edition == edition, grants.c.state == "granted")
    db.execute(sa.update(grants).where(let_in).values(state="assumed"))
    db.execute(sa.update(grants).where(grants.c.state != "revoked").values(space_digest=digest))
    first = _row_of(db, None)
    db.execute(sa.delete(_table).where(_table.c.id != first))
    _write(db, {"space_digest": digest, "size": None, "doubted_size": None, "doubted_in": None})


def _change(db: sa.Connection, known: Sequence[str], digests: Sequence[str]) -> None:
    """Add and remove spaces without moving anybody. People who were let in before belong to the space of then.

    A rebuilt ledger knows no space of then: whoever it has still to let in gets a place like a newcomer.
    """
    placed_later = ("revoked", "assumed") if known or not digests[1:] else ("revoked", "assumed", "intended")
    unplaced = (grants.c.space_digest.is_(None), grants.c.state.not_in(placed_later))
    if not known[1:]:
        db.execute(sa.update(grants).where(*unplaced).values(space_digest=(*known, *digests)[0]))
    gone = [digest for digest in known if digest not in digests]
    db.execute(sa.delete(_table).where(_table.c.space_digest.in_(gone)))
    db.execute(
        sa.update(grants).where(grants.c.space_digest.in_(gone), grants.c.state == "assumed").values(space_digest=None)
    )
    if not known:
        _write(db, {"space_digest": digests[0]})
    for digest in digests:
        if digest not in known:
            _write(db, {"space_digest": digest}, digest)


# -- rows ---------------------------------------------------------------------------------------------


def _read(db: sa.Connection, space: str | None = None) -> GuestListState:
    columns = [_table.c[name] for name in GuestListState.__dataclass_fields__]
    query = sa.select(*columns).order_by(_table.c.id).limit(1)
    row = db.execute(query if space is None else query.where(_table.c.space_digest == space)).one_or_none()
    return GuestListState(**row._mapping) if row else GuestListState()


def _record(ledger: Ledger, space: str | None, **values: Any) -> None:
    with ledger.engine.begin() as db:
        _write(db, values if space is None else {"space_digest": space, **values}, space)


def _write(db: sa.Connection, values: dict[str, Any], space: str | None = None) -> None:
    upsert(db, _table, {"id": _row_of(db, space)}, values)


def _row_of(db: sa.Connection, space: str | None) -> int:
    """Return the number of a space's row, which may have to be made."""
    query = sa.select(sa.func.min(_table.c.id))
    if space is None:
        return int(db.scalar(query) or _FIRST_ROW)
    row = db.scalar(query.where(_table.c.space_digest == space))
    return int(row or (db.scalar(sa.select(sa.func.max(_table.c.id))) or 0) + 1)
