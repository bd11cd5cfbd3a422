"""Alarm channels that did not take their last message. A channel is known by a digest of its secret address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import failing_channels, upsert
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class FailingChannel:
    """``failures`` in a row, the first one at ``since``; before ``retry_at`` it is left alone."""

    channel: str
    failures: int
    since: datetime
    retry_at: datetime


def channels_that_fail(ledger: Ledger) -> dict[str, FailingChannel]:
    with ledger.engine.begin() as db:
        return {row.channel: FailingChannel(**row._mapping) for row in db.execute(sa.select(failing_channels))}


def record_channel(ledger: Ledger, channel: str, failing: FailingChannel | None) -> None:
    """Replace what is known of a channel; ``None``: it took a message."""
    with ledger.engine.begin() as db:
        if failing is None:
            db.execute(sa.delete(failing_channels).where(failing_channels.c.channel == channel))
        else:
            values = {"failures": failing.failures, "since": failing.since, "retry_at": failing.retry_at}
            upsert(db, failing_channels, {"channel": channel}, values)
