"""Ask each endpoint of Klaviyo that the program reads, with the program's own parameters, and change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from pycontw_assets.api.client import Malformed
from pycontw_assets.pipeline.contract import klaviyo_endpoints as known
from pycontw_assets.pipeline.contract.endpoints import Endpoint
from pycontw_assets.pipeline.contract.exchanges import Recorder
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient, literal, next_query
from pycontw_assets.send_email.names import INVITATION_METRIC, ticket_holder_list_partition

MOST_PAGES = 3  # of the lists: ten rows each
_FEW = "20"  # people or events
_NOBODY = "nobody@example.org"
_MAIL_METRIC = "Received Email"
_SINCE = timedelta(days=30)
_OURS = "pycontw-"
_EMAIL = 'equals(messages.channel,"email")'


class KlaviyoWalk:
    """One walk. Later questions use ids that earlier answers held; without such an id a question is left out."""

    def __init__(self, klaviyo: KlaviyoClient, recorder: Recorder, now: datetime) -> None:
        self._api = klaviyo.api
        self._recorder = recorder
        self._since = (now - _SINCE).isoformat(timespec="seconds")

    def run(self) -> None:
        self._get(known.ACCOUNT, group="account", query={"fields[account]": "test_account"})
        profile_id = self._people(self._lists())
        self._templates()
        campaign_id = self._campaigns()
        metric_id = self._metrics(profile_id)
        if metric_id:
            self._report(metric_id, campaign_id)

    def _lists(self) -> str | None:
        """Return the id of a list: one that the program made, if there is one."""
        query = {"sort": "created", "fields[list]": "name,created"}
        rows: list[dict[str, Any]] = []
        following: str | None = urlencode(query, quote_via=quote)
        for _ in range(MOST_PAGES):
            if following is None:
                break
            document = self._ask(known.LISTS, following, group="lists")
            rows += _rows(document)
            following = _next(document)
        holders = [row for row in rows if ticket_holder_list_partition(_attribute(row, "name") or "")]
        chosen = next(iter(holders), None) or _named(rows, _OURS) or (rows[0] if rows else None)
        name = _attribute(chosen, "name") or _OURS
        self._get(known.LISTS_BY_NAME, group="lists", query={**query, "filter": f"equals(name,{literal(name)})"})
        return _id(chosen)

    def _people(self, list_id: str | None) -> str | None:
        """Return the id of a profile on the list."""
        fields = "email,properties,subscriptions"
        detailed = {"fields[profile]": fields, "additional-fields[profile]": "subscriptions"}
        profile_id, address = None, _NOBODY
        if list_id is not None:
            self._get(known.MEMBER_IDS, group="lists", ids={"list": list_id}, query={"page[size]": "100"})
            members = {**detailed, "page[size]": _FEW}
            document = self._get(known.MEMBERS, group="lists", ids={"list": list_id}, query=members)
            row = next(iter(_rows(document)), None)
            profile_id, address = _id(row), _attribute(row, "email") or _NOBODY
        if profile_id is not None:
            by_id = {"filter": f"any(id,[{literal(profile_id)}])", "fields[profile]": "created", "page[size]": "100"}
            self._get(known.PROFILES, group="profiles", query=by_id)
        by_address = {
            "filter": f"any(email,[{literal(address)}])",
            "additional-fields[profile]": "subscriptions",
            "fields[profile]": "email,subscriptions",
            "page[size]": "100",
        }
        self._get(known.ADDRESSES, group="profiles", query=by_address)
        return profile_id

    def _templates(self) -> None:
        rows = _rows(self._get(known.TEMPLATES, group="templates", query={"sort": "created"}))
        name = _attribute(_named(rows, _OURS) or (rows[0] if rows else None), "name") or _OURS
        by_name = {"filter": f"equals(name,{literal(name)})", "sort": "created"}
        found = _rows(self._get(known.TEMPLATES, group="templates", query=by_name))
        if template_id := _id(found[0] if found else None):
            self._get(known.TEMPLATE, group="templates", ids={"template": template_id})

    def _campaigns(self) -> str | None:
        """Return the id of a campaign: one that the program made, if there is one."""
        ours = f"and({_EMAIL},contains(name,{literal(_OURS)}))"
        archived = f"and({_EMAIL},contains(name,{literal(_OURS)}),equals(archived,true))"
        including = {"include": "campaign-messages", "sort": "created_at"}
        rows = _rows(self._get(known.CAMPAIGNS, group="campaigns", query={"filter": ours, **including}))
        self._get(known.ARCHIVED, group="campaigns", query={"filter": archived, "sort": "-created_at"})
        rows = rows or _rows(self._get(known.CAMPAIGNS, group="campaigns", query={"filter": _EMAIL, **including}))
        # The newest, which was sent if any was: only that one has a send job and recipients.
        campaign_id = _id(rows[-1] if rows else None)
        if campaign_id is None:
            return None
        ids = {"campaign": campaign_id}
        self._get(known.CAMPAIGN, group="campaigns", ids=ids, query={"include": "campaign-messages"})
        messages = _rows(self._get(known.MESSAGES, group="campaigns", ids=ids))
        if message_id := _id(messages[0] if messages else None):
            self._get(known.COPY, group="campaigns", ids={"message": message_id})
        for endpoint in (known.SEND_JOB, known.ESTIMATE_JOB, known.ESTIMATE):
            self._get(endpoint, group="campaigns", ids=ids)
        return campaign_id

    def _metrics(self, profile_id: str | None) -> str | None:
        """Return the id of a metric: of the invitations, of received mails, or any."""
        flows = {"include": "flow-triggers", "fields[metric]": "name", "fields[flow]": "status,archived"}
        self._get(known.FLOWS, group="metrics", query=flows)
        rows = _rows(self._get(known.METRICS, group="metrics"))
        chosen = _named(rows, _MAIL_METRIC) or _named(rows, INVITATION_METRIC) or (rows[0] if rows else None)
        metric_id = _id(chosen)
        people = {"include": "profile", "fields[profile]": "email", "sort": "-datetime", "page[size]": _FEW}
        if metric_id is not None:
            of_metric = {"filter": f"equals(metric_id,{literal(metric_id)})", **people}
            self._get(known.EVENTS_OF_METRIC, group="events", query=of_metric)
        if profile_id is not None:
            since = f"equals(profile_id,{literal(profile_id)}),greater-or-equal(datetime,{self._since})"
            of_profile = {"filter": since, "sort": "datetime", "page[size]": _FEW}
            self._get(known.EVENTS_OF_PROFILE, group="events", query=of_profile)
        return metric_id

    def _report(self, metric_id: str, campaign_id: str | None) -> None:
        attributes: dict[str, Any] = {
            "statistics": ["recipients"],
            "timeframe": {"key": "last_365_days"},
            "conversion_metric_id": metric_id,
        }
        if campaign_id is not None:
            attributes["filter"] = f"contains-any(campaign_id,[{literal(campaign_id)}])"
        body = {"data": {"type": "campaign-values-report", "attributes": attributes}}
        self._ask(known.REPORT, "", group="reports", body=body)

    def _get(
        self,
        endpoint: Endpoint,
        *,
        group: str,
        query: Mapping[str, str] | None = None,
        ids: Mapping[str, str] | None = None,
    ) -> Any:
        return self._ask(endpoint, urlencode(query or {}, quote_via=quote), group=group, ids=ids)

    def _ask(
        self,
        endpoint: Endpoint,
        query: str,
        *,
        group: str,
        ids: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        path = endpoint.path.format(**{name: quote(value, safe="") for name, value in (ids or {}).items()})
        method = "GET" if body is None else "POST"
        return self._recorder.ask(
            endpoint.name,
            lambda: self._api.request(
                method, endpoint.name.lower(), path, query=query, body=body, repeatable=True, group=group
            ),
            asked=next(iter((ids or {}).values()), ""),
        )


def _rows(document: Any) -> list[dict[str, Any]]:
    rows = document.get("data") if isinstance(document, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _next(document: Any) -> str | None:
    try:
        return next_query("read pages", document.get("links") if isinstance(document, dict) else None)
    except Malformed:
        return None


def _id(row: Any) -> str | None:
    identity = row.get("id") if isinstance(row, dict) else None
    return identity if isinstance(identity, str) and identity else None


def _attribute(row: Any, name: str) -> str | None:
    attributes = row.get("attributes") if isinstance(row, dict) else None
    value = attributes.get(name) if isinstance(attributes, dict) else None
    return value if isinstance(value, str) else None


def _named(rows: list[dict[str, Any]], beginning: str) -> dict[str, Any] | None:
    return next((row for row in rows if (_attribute(row, "name") or "").startswith(beginning)), None)
