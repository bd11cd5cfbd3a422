"""The state of the guest list in Gather: its space, how many guests it showed, and whether it is in doubt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database import tables
from pycontw_assets.ledger.database.tables import grants, upsert
from pycontw_assets.ledger.ledger import Ledger

_ONLY_ROW = 1


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


def guest_list_state(ledger: Ledger) -> GuestListState:
    with ledger.engine.begin() as db:
        return _read(db)


def record_size(ledger: Ledger, size: int) -> None:
    _record(ledger, size=size)


def record_lacking(ledger: Ledger, lacking: int) -> None:
    _record(ledger, lacking=lacking)


def record_doubt(ledger: Ledger, size: int, poll_id: str | None) -> None:
    """Remember that a person is asked about a list which shows ``size`` guests."""
    _record(ledger, doubted_size=size, doubted_in=poll_id)


def clear_doubt(ledger: Ledger) -> None:
    _record(ledger, doubted_size=None, doubted_in=None)


def has_space_changed(ledger: Ledger, space_id: str) -> bool:
    """Say whether the grants are about the list of another space. Reads only."""
    return guest_list_state(ledger).space_digest not in (None, _digest(space_id))


def enter_space(ledger: Ledger, edition: str, space_id: str) -> None:
    """Remember the space. Another one has a list of its own: access is assumed until the guests are let in there, too.

    Nobody is invited again by it. The same space once more changes nothing.
    """
    digest = _digest(space_id)
    let_in = sa.and_(grants.c.edition == edition, grants.c.state == "granted")
    with ledger.engine.begin() as db:
        before = _read(db).space_digest
        if before == digest:
            return
        if before is not None:
            db.execute(sa.update(grants).where(let_in).values(state="assumed"))
            _write(db, {"size": None, "doubted_size": None, "doubted_in": None})
        _write(db, {"space_digest": digest})


def _digest(space_id: str) -> str:
    return hashlib.sha256(space_id.encode()).hexdigest()


def _read(db: sa.Connection) -> GuestListState:
    columns = [tables.guest_list_state.c[name] for name in GuestListState.__dataclass_fields__]
    row = db.execute(sa.select(*columns)).one_or_none()
    return GuestListState(**row._mapping) if row else GuestListState()


def _record(ledger: Ledger, **values: Any) -> None:
    with ledger.engine.begin() as db:
        _write(db, values)


def _write(db: sa.Connection, values: dict[str, Any]) -> None:
    upsert(db, tables.guest_list_state, {"id": _ONLY_ROW}, values)
