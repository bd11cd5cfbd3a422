"""Write invites that were found out again after the ledger was lost."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import discord_bearers, discord_invites, upsert
from pycontw_assets.ledger.discord.invites import Bearer, Invite
from pycontw_assets.ledger.ledger import Ledger

_KEY = ("edition", "address_key", "period")


def restore_invites(ledger: Ledger, invites: Iterable[Invite], bearers: Iterable[Bearer]) -> None:
    """Write all or nothing. It may be repeated.

    An open invite of the same address is changed. Otherwise the invite gets a new period.
    """
    table = discord_invites
    with ledger.engine.begin() as db:
        for invite in invites:
            of_address = sa.and_(table.c.edition == invite.edition, table.c.address_key == invite.address_key)
            open_one = db.scalar(sa.select(table.c.period).where(of_address, table.c.state != "ended"))
            latest = db.scalar(sa.select(sa.func.max(table.c.period)).where(of_address))
            period = open_one if open_one is not None else (latest or 0) + 1
            values = {name: getattr(invite, name) for name in Invite.__dataclass_fields__} | {"period": period}
            upsert(db, table, {name: values.pop(name) for name in _KEY}, values)
        for bearer in bearers:
            of_member = {"member_digest": bearer.member_digest, "role_id": bearer.role_id}
            upsert(db, discord_bearers, of_member, {"origin": bearer.origin})
