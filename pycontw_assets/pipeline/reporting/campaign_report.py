"""Ask for the report of all campaigns when it is due: at most once an hour, and once a day when nothing changes.

A report that is lost, late or shorter leaves the last figures as they are, with the time at which they were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.campaign_figures import (
    SentCampaign,
    note_report,
    record_figures,
    report_asked_at,
    sent_campaigns,
)
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient, Timeframe
from pycontw_assets.send_email.recipients import any_metric
from pycontw_assets.send_email.reporting.report_client import ReportClient

APART = timedelta(hours=1)
"""Between two reports, and between two tables made of them. Klaviyo allows 225 reports a day."""

_SHOWN_AFTER = timedelta(hours=1)  # of a campaign's end. Assumed, as for its recipients: the reference does not say
_STABLE_FOR = timedelta(days=1)
_STABLE_APART = timedelta(days=1)  # clicks come until the conference, so a look a day stays
_MONTH = timedelta(days=29)
_SECONDS = 10.0  # of a tick, at most


def read_report(edition: str | None, *, klaviyo: KlaviyoClient, ledger: Ledger) -> None:
    """Ask for the report of a live edition if it is due, and write down its figures.

    An answer that does not come costs the report only. What other users of the account leave of its limits is not known
    before, so a 429 is no problem: the next hour asks again.
    """
    if edition is None:
        return
    now, asked_at = ledger.clock(), report_asked_at(ledger, edition)
    if not _is_past(asked_at, now, APART):
        return  # nearly every tick ends here
    sent = sent_campaigns(ledger, edition)
    if not is_due(sent, asked_at, now) or _is_down(ledger):
        return
    note_report(ledger, edition)  # before the call: one that kills the tick must not be made by every tick
    with suppress(ServiceError), TimeLimit(_SECONDS):
        metric_id = any_metric(klaviyo.metrics())
        figures = ReportClient(klaviyo).campaign_figures(metric_id=metric_id, timeframe=timeframe_of(sent, now))
        ours = {campaign.campaign_id for campaign in sent}
        record_figures(ledger, {key: counts for key, counts in figures.items() if key in ours})


def is_due(sent: Sequence[SentCampaign], asked_at: datetime | None, now: datetime) -> bool:
    """Whether to ask now. Pure. ``sent`` is sorted by the end of the campaigns."""
    if not sent or now - sent[0].ended_at < _SHOWN_AFTER:
        return False
    return _is_past(asked_at, now, _STABLE_APART if is_stable(sent, asked_at, now) else APART)


def _is_past(asked_at: datetime | None, now: datetime, apart: timedelta) -> bool:
    # A time ahead of the clock was written by one that was wrong.
    return asked_at is None or not timedelta(0) <= now - asked_at < apart


def is_stable(sent: Sequence[SentCampaign], asked_at: datetime | None, now: datetime) -> bool:
    """Whether nothing was sent, and no figure changed, for a day. Pure. A campaign without figures may get some."""
    changes = [campaign.changed_at or campaign.ended_at for campaign in sent]
    is_asked = asked_at is not None and asked_at >= max(campaign.ended_at for campaign in sent) + _SHOWN_AFTER
    return is_asked and now - max(changes) >= _STABLE_FOR


def timeframe_of(sent: Sequence[SentCampaign], now: datetime) -> Timeframe:
    """Return the shortest timeframe with all campaigns in it. Pure. Klaviyo reports on a year at most."""
    return "last_30_days" if now - sent[0].ended_at < _MONTH else "last_365_days"


def _is_down(ledger: Ledger) -> bool:
    return any(problem.cause == "Klaviyo" for problem in open_problems(ledger))
