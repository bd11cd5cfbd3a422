"""The account itself, and the values report."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from pycontw_assets.sandbox.klaviyo import schema
from pycontw_assets.sandbox.klaviyo.account import Campaign, MailAccount
from pycontw_assets.sandbox.klaviyo.errors import bad_body
from pycontw_assets.sandbox.klaviyo.query import Accepts, read_filter
from pycontw_assets.sandbox.klaviyo.request import Request, Routes
from pycontw_assets.sandbox.wire import Reply


class ReportApi:
    """Endpoints about the account and what its campaigns reached."""

    def __init__(self, account: MailAccount) -> None:
        self._account = account
        self._context = account.context

    def get_accounts(self, request: Request) -> Reply:
        contact = {
            "default_sender_name": "Sandbox",
            "default_sender_email": self._account.switches.default_from_email,
            "website_url": "https://example.org",
            "organization_name": "Sandbox",
            "street_address": {},
        }
        attributes = {
            "test_account": True,
            "contact_information": contact,
            "industry": None,
            "timezone": "Asia/Taipei",
            "preferred_currency": "TWD",
            "public_api_key": "SaNdBx",
            "locale": "en-US",
        }
        return request.collection([request.views.resource("account", "SaNdBx", attributes)], {"self": request.here})

    def query_campaign_values(self, request: Request) -> Reply:
        query = request.body(schema.Body[schema.ReportCreate]).data.attributes
        if query.conversion_metric_id not in self._account.metrics:
            raise bad_body("No such metric.", "/data/attributes/conversion_metric_id")
        start, end = _timeframe(query.timeframe, self._context.now())
        conditions = read_filter(query.filter or "", _REPORT_FILTERS)
        sent = [
            campaign
            for campaign in self._account.campaigns.values()
            if (began := _began(campaign)) is not None and start <= began < end
            if all(condition.holds(_groups(campaign)[condition.field]) for condition in conditions)
        ]
        results = [self._values(campaign, query) for campaign in sent]
        references = [{"type": "campaign", "id": campaign.id} for campaign in sent]
        links = {"self": f"{request.here}relationships/campaigns/", "related": f"{request.here}campaigns/"}
        relations = {"campaigns": {"data": references, "links": links}}
        report = request.views.resource(
            "campaign-values-report", "report", {"results": results}, relationships=relations
        )
        del report["id"]
        return request.single(report)

    def _values(self, campaign: Campaign, query: schema.ReportAttributes) -> dict[str, Any]:
        groups = _groups(campaign)
        received, bounced = (self._profiles_with(campaign, f"{what} Email") for what in ("Received", "Bounced"))
        delivered = [profile_id for profile_id in received if profile_id not in bounced]  # some come back late
        unsubscribed = self._profiles_with(campaign, "Unsubscribed") if self._account.habits else []
        on_the_way = range(self._account.reactions.on_the_way(campaign.id))
        profile_ids: dict[str, Collection[object]] = {
            "recipients": [*delivered, *bounced, *on_the_way],
            "delivered": delivered,
            "bounced": bounced,
            "opens": self._profiles_with(campaign, "Opened Email"),
            "opens_unique": set(self._profiles_with(campaign, "Opened Email")),
            "clicks": self._profiles_with(campaign, "Clicked Email"),
            "clicks_unique": set(self._profiles_with(campaign, "Clicked Email")),
            "unsubscribes": unsubscribed,
            "unsubscribe_uniques": set(unsubscribed),
        }
        return {
            "groupings": {name: groups[name] for name in query.group_by or groups},
            "statistics": {name: len(profile_ids.get(name, ())) for name in query.statistics},
        }

    def _profiles_with(self, campaign: Campaign, metric: str) -> list[str]:
        metric_id = self._account.metric_id(metric)
        ids = {campaign.id, campaign.message_id}
        return [
            event.profile_id
            for event in self._account.events
            if event.metric_id == metric_id
            and self._account.shows(event.at, self._account.switches.report_delay)
            and ids & {value for value in event.properties.values() if isinstance(value, str)}
        ]


def _groups(campaign: Campaign) -> dict[str, str]:
    return {"campaign_id": campaign.id, "campaign_message_id": campaign.message_id, "send_channel": "email"}


def _began(campaign: Campaign) -> datetime | None:
    """Return when the sending began. A campaign that was stopped before its first mail has a row of zeros."""
    return campaign.send_time or (campaign.send_at if campaign.outcome else None)


_REPORT_FILTERS = dict.fromkeys(("campaign_id", "campaign_message_id", "send_channel"), ("equals", "contains-any"))


_TIMEFRAME_DAYS = {"today": 1, "yesterday": 2, "last_7_days": 7, "last_week": 14, "this_week": 7}
_TIMEFRAME_DAYS |= {"last_30_days": 30, "this_month": 31, "last_month": 62, "last_90_days": 90, "last_3_months": 92}


def _timeframe(timeframe: schema.NamedTimeframe | schema.CustomTimeframe, now: datetime) -> tuple[datetime, datetime]:
    """Return start and end; a named timeframe covers at least its days, counted back from now."""
    if isinstance(timeframe, schema.CustomTimeframe):
        return timeframe.start, timeframe.end
    return now - timedelta(days=_TIMEFRAME_DAYS.get(timeframe.key, 366)), now + timedelta(seconds=1)


ROUTES: Routes = {
    ("GET", "/api/accounts"): (ReportApi.get_accounts, Accepts(fields=("account",))),
    ("POST", "/api/campaign-values-reports"): (
        ReportApi.query_campaign_values,
        Accepts(fields=("campaign-values-report",)),
    ),
}
