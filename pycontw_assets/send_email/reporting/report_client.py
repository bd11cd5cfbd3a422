"""Call Klaviyo's values report about all campaigns at once. It shares the connection of a ``KlaviyoClient``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycontw_assets.api.client import Malformed
from pycontw_assets.ledger.reporting.campaign_figures import Figures
from pycontw_assets.send_email import klaviyo_records as records
from pycontw_assets.send_email.klaviyo_client import JsonApi, KlaviyoClient, Timeframe, next_query

_OPERATION = "read report"
_MOST_PAGES = 2  # of one report: Klaviyo allows two calls a minute
_STATISTICS = {
    "recipients": "recipients",
    "delivered": "delivered",
    "opens_unique": "opened",
    "clicks_unique": "clicked",
    "bounced": "bounced",
    "unsubscribes": "unsubscribed",
}


class ReportClient(JsonApi):
    """The report of all campaigns. A 429 ends it, and holds up no other call."""

    def __init__(self, klaviyo: KlaviyoClient) -> None:
        self.api = klaviyo.api

    def campaign_figures(self, *, metric_id: str, timeframe: Timeframe) -> dict[str, Figures]:
        """Return campaign id -> figures, for all campaigns of the account in the timeframe that the report shows.

        ``metric_id``: any metric; Klaviyo wants one for the conversions. More than two pages are not read.
        """
        attributes = {
            "statistics": list(_STATISTICS),
            "timeframe": {"key": timeframe},
            "conversion_metric_id": metric_id,
        }
        body = {"data": {"type": "campaign-values-report", "attributes": attributes}}
        figures: dict[str, Figures] = {}
        query = ""
        for _ in range(_MOST_PAGES):
            reply = self._call(
                "POST",
                _OPERATION,
                "/api/campaign-values-reports",
                query=query,
                body=body,
                group="reports",
                waits_out_429=False,
            )
            for campaign_id, counts in read_figures(reply.data):
                figures[campaign_id] = figures.get(campaign_id, Figures()) + counts
            following = next_query(_OPERATION, reply.data.get("links"))
            if following is None:
                break
            query = following
        return figures


def read_figures(document: Any) -> list[tuple[str, Figures]]:
    """Return campaign id and figures of each row. A campaign may have several. Raise ``Malformed`` for a wrong one."""
    rows = records.inside(document if isinstance(document, dict) else {}, "data", "attributes").get("results")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Malformed("Klaviyo", _OPERATION, "its results are missing")
    return [
        (records.text(records.inside(row, "groupings"), "campaign_id"), _figures(records.inside(row, "statistics")))
        for row in rows
    ]


def _figures(statistics: Mapping[str, Any]) -> Figures:
    return Figures(**{name: _whole(statistics.get(statistic)) for statistic, name in _STATISTICS.items()})


def _whole(number: Any) -> int:
    if not isinstance(number, int | float) or isinstance(number, bool) or number != number or not 0 <= number < 2**31:
        raise Malformed("Klaviyo", _OPERATION, "one of its numbers is missing or none that counts people")
    if number != int(number):
        raise Malformed("Klaviyo", _OPERATION, "one of its numbers is no whole one")
    return int(number)
