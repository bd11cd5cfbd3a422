"""The imported exports. They are no events: nothing that lets people in or mails them ever meets one here.

They stand in a table of their own for that reason. ``ledger.events`` knows what KKTIX lists, and every decision about
access begins there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import imports, upsert
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import EventPartition


def known_imports(ledger: Ledger) -> dict[str, EventPartition]:
    """Return every export that was imported, by its partition key."""
    with ledger.engine.begin() as db:
        rows = db.execute(sa.select(imports.c.edition, imports.c.family).order_by(imports.c.partition_key)).all()
    partitions = (EventPartition.imported(row.edition, row.family) for row in rows)
    return {partition.key: partition for partition in partitions}


def record_import(ledger: Ledger, partition: EventPartition) -> None:
    """Remember that an export is in the vault from now on, also one whose orders had left it."""
    values = {
        "edition": partition.edition,
        "family": partition.family,
        "imported_at": ledger.clock(),
        "expired_since": None,
        "purged_at": None,
    }
    with ledger.engine.begin() as db:
        upsert(db, imports, {"partition_key": partition.key}, values)


def forget_import(ledger: Ledger, partition_key: str) -> None:
    """Forget that there was an import: a person took it away."""
    with ledger.engine.begin() as db:
        db.execute(sa.delete(imports).where(imports.c.partition_key == partition_key))


def is_import_purged(ledger: Ledger, partition_key: str) -> bool:
    """Say whether the export's orders left the vault because their time was over."""
    purged = (imports.c.partition_key == partition_key, imports.c.purged_at.is_not(None))
    return ledger.scalar(sa.select(imports.c.partition_key).where(*purged)) is not None


def record_import_purge(ledger: Ledger, partition_key: str) -> None:
    with ledger.engine.begin() as db:
        of_import = imports.c.partition_key == partition_key
        db.execute(sa.update(imports).where(of_import).values(purged_at=ledger.clock()))


def imports_older_than(ledger: Ledger, age: timedelta) -> list[EventPartition]:
    """Return the exports that are in the vault for longer than this."""
    before: datetime = ledger.clock() - age
    query = sa.select(imports.c.edition, imports.c.family).where(
        imports.c.imported_at <= before, imports.c.purged_at.is_(None)
    )
    with ledger.engine.begin() as db:
        return [EventPartition.imported(row.edition, row.family) for row in db.execute(query)]
