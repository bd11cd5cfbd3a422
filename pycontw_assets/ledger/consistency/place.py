"""Whose facts a ledger holds: invented or real people, and the services they come from.

They belong to the ledger as its pseudonym key does. In another place the same ledger would let invented people in, mail
real ones, or miss everybody, so it is refused there before anything is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import batches, events, meta, upsert
from pycontw_assets.ledger.ledger import Ledger

_ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process works. ``services``: variable -> address, without keys; none in the sandbox, which moves.

    ``looks_used_here``: whether a data folder that names no environment was surely one of this environment.
    """

    environment: str
    services: Mapping[str, str] = field(default_factory=dict)
    looks_used_here: bool = False


def check_place(ledger: Ledger, place: Place, *, accepts_services: bool = False) -> None:
    """Refuse a ledger of another environment, or of other services unless a person says that they moved.

    A ledger of an older version names neither. It is production's to take, and a sandbox's only where it looks so:
    otherwise a sandbox that is opened over real data would shut production out.
    """
    stored = _stored(ledger)
    environment = stored.get(_ENVIRONMENT)
    if environment is None:
        if place.environment != "production" and _is_in_use(ledger) and not place.looks_used_here:
            raise LedgerError(
                "the ledger was written before ledgers named their environment, and it may hold real people; nothing "
                "was changed. Set PYCONTW_ENV=production if it does. Otherwise set PYCONTW_HOME to another folder"
            )
        return
    if environment != place.environment:
        raise LedgerError(
            f"the ledger belongs to PYCONTW_ENV={environment}, and PYCONTW_ENV is {place.environment}; nothing was "
            "changed, for invented and real people must not meet. Set the old one again, or set PYCONTW_HOME (or "
            "LEDGER_URL) to the data of this environment"
        )
    for name, address in place.services.items():
        if stored.get(name, address) != address and not accepts_services:
            raise LedgerError(
                f"the ledger belongs to another service: {name} was {stored[name]}, and is {address} now; nothing was "
                "changed. Set the old one again. If the service itself moved, run `pycontw-assets poll --allow account`"
            )


def record_place(ledger: Ledger, place: Place) -> None:
    """Write the place down. An environment that is recorded stays."""
    stored = _stored(ledger)
    values = {_ENVIRONMENT: stored.get(_ENVIRONMENT) or place.environment, **place.services}
    if changed := {name: value for name, value in values.items() if stored.get(name) != value}:
        with ledger.engine.begin() as db:
            for name, value in changed.items():
                upsert(db, meta, {"name": name}, {"value": value})


def _stored(ledger: Ledger) -> dict[str, str]:
    with ledger.engine.begin() as db:
        return {row.name: row.value for row in db.execute(sa.select(meta)) if row.value}


def _is_in_use(ledger: Ledger) -> bool:
    """Say whether an event was recorded, or people were marked as invited."""
    rows = (sa.select(events.c.event_id), sa.select(batches.c.batch_key))
    return any(ledger.scalar(query.limit(1)) is not None for query in rows)
