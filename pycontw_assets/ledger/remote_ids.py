"""The ids of lists and templates in the mail service, which are found or created by name."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import (
    remote_ids,
    upsert,
)
from pycontw_assets.ledger.ledger import Ledger


def remembered_id(ledger: Ledger, kind: str, name: str) -> str | None:
    chosen = (remote_ids.c.kind == kind, remote_ids.c.name == name)
    return ledger.scalar(sa.select(remote_ids.c.remote_id).where(*chosen))


def creation_intended_at(ledger: Ledger, kind: str, name: str) -> datetime | None:
    """Return when its creation was last intended: a second look is due before creating it again."""
    chosen = (remote_ids.c.kind == kind, remote_ids.c.name == name)
    return ledger.scalar(sa.select(remote_ids.c.intended_at).where(*chosen))


def intend_creation(ledger: Ledger, kind: str, name: str) -> None:
    with ledger.engine.begin() as db:
        upsert(db, remote_ids, {"kind": kind, "name": name}, {"intended_at": ledger.clock()})


def record_remote_id(ledger: Ledger, kind: str, name: str, remote_id: str | None) -> None:
    with ledger.engine.begin() as db:
        upsert(db, remote_ids, {"kind": kind, "name": name}, {"remote_id": remote_id})
