"""Counts of the mail service's report per campaign, with the time of reading. A lost report changes nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import datetime

import sqlalchemy as sa

from pycontw_assets.ledger.database.tables import batches, campaign_figures, events, funnels, repeats, upsert
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of one campaign, or of several together.

    ``recipients``: mails that left. ``opened``, ``clicked`` and ``unsubscribed`` are people. Mail programs open mails
    by themselves, so ``opened`` is inflated.
    """

    recipients: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0
    unsubscribed: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{name: getattr(self, name) + getattr(other, name) for name in _COUNTS})


_COUNTS = tuple(Figures.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCampaign:
    """A campaign of invitations that ended. ``figures`` and their times are ``None`` until a report shows it."""

    campaign_id: str
    family: Family
    ended_at: datetime
    figures: Figures | None
    read_at: datetime | None
    changed_at: datetime | None


def sent_campaigns(ledger: Ledger, edition: str) -> list[SentCampaign]:
    """Return the campaigns that invited people of an edition, the oldest first.

    One that was cancelled counts: some of its mails may have left. Those by which `resend` sends a copy do not.
    """
    columns = [campaign_figures.c[name] for name in (*_COUNTS, "read_at", "changed_at")]
    copies = sa.select(repeats.c.repeat_id)
    query = (
        sa.select(batches.c.campaign_id, events.c.family, batches.c.ended_at, *columns)
        .join(events, events.c.partition_key == batches.c.partition_key)
        .join(campaign_figures, campaign_figures.c.campaign_id == batches.c.campaign_id, isouter=True)
        .where(batches.c.edition == edition, batches.c.campaign_id.is_not(None), batches.c.ended_at.is_not(None))
        .where(batches.c.state.in_(("sent", "cancelled")), batches.c.batch_key.not_in(copies))
        .order_by(batches.c.ended_at, batches.c.batch_key)
    )
    with ledger.engine.begin() as db:
        return [_campaign(row) for row in db.execute(query)]


def _campaign(row: sa.Row[tuple[object, ...]]) -> SentCampaign:
    is_known = row.read_at is not None
    return SentCampaign(
        campaign_id=row.campaign_id,
        family=row.family,
        ended_at=row.ended_at,
        figures=Figures(**{name: getattr(row, name) for name in _COUNTS}) if is_known else None,
        read_at=row.read_at,
        changed_at=row.changed_at,
    )


def record_figures(ledger: Ledger, figures: Mapping[str, Figures]) -> None:
    """Write down what a report counts, by campaign id. Campaigns that it does not show keep what they have."""
    now = ledger.clock()
    with ledger.engine.begin() as db:
        known = {row.campaign_id: row for row in db.execute(sa.select(campaign_figures))}
        for campaign_id, counts in sorted(figures.items()):
            row = known.get(campaign_id)
            is_same = row is not None and tuple(getattr(row, name) for name in _COUNTS) == astuple(counts)
            changed_at = row.changed_at if row is not None and is_same else now
            values = {**asdict(counts), "read_at": now, "changed_at": changed_at}
            upsert(db, campaign_figures, {"campaign_id": campaign_id}, values)


def report_asked_at(ledger: Ledger, edition: str) -> datetime | None:
    """Return when the mail service was last asked for the report of an edition, whatever it answered."""
    return ledger.scalar(sa.select(funnels.c.report_asked_at).where(funnels.c.edition == edition))


def note_report(ledger: Ledger, edition: str) -> None:
    """Remember that the mail service is asked for the report now."""
    with ledger.engine.begin() as db:
        upsert(db, funnels, {"edition": edition}, {"report_asked_at": ledger.clock()})
