"""The accounts at the services that a ledger's facts belong to, and the keys by which they were last seen.

A key is recorded by a digest of eight digits: enough to notice that it changed, too little to guess it from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import meta, upsert
from pycontw_assets.ledger.ledger import Ledger

KKTIX_TOKEN, KLAVIYO_KEY, KLAVIYO_ACCOUNT = "KKTIX token", "Klaviyo key", "Klaviyo account"
_NAMES = (KKTIX_TOKEN, KLAVIYO_KEY, KLAVIYO_ACCOUNT)


def fingerprint(key: str) -> str:
    return hashlib.sha256(f"pycontw-assets {key}".encode()).hexdigest()[:8]


def recorded_accounts(ledger: Ledger) -> dict[str, str]:
    """Return what is recorded, by name; a ledger of an older version has nothing."""
    with ledger.engine.begin() as db:
        return {row.name: row.value for row in db.execute(sa.select(meta).where(meta.c.name.in_(_NAMES))) if row.value}


def record_accounts(ledger: Ledger, values: Mapping[str, str]) -> None:
    with ledger.engine.begin() as db:
        for name, value in values.items():
            upsert(db, meta, {"name": name}, {"value": value})


def forget_accounts(ledger: Ledger) -> None:
    """Let the next poll record the accounts anew: a person says that they are the right ones."""
    with ledger.engine.begin() as db:
        db.execute(sa.delete(meta).where(meta.c.name.in_(_NAMES)))
