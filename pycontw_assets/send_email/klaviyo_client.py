"""Call Klaviyo: lists, profiles, templates, campaigns. One method per question, with records as answers.

It is pinned to one revision of the interface, because newer ones shape campaigns differently. Klaviyo's own SDK is not
used, because it repeats calls that must not be repeated. This module knows which calls may be repeated. What to do
about an unknown outcome is decided by its callers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.client import (
    ApiClient,
    Malformed,
    Misconfigured,
    NotFound,
    Refused,
    Reply,
    Unavailable,
)
from pycontw_assets.api.rate_limits import RateLimiter
from pycontw_assets.send_email import klaviyo_records as records
from pycontw_assets.send_email.klaviyo_records import (
    Campaign,
    ChangedShape,
    ImportJob,
    ImportProblem,
    MailingList,
    Profile,
    ProfileEvent,
    Template,
)

Record = TypeVar("Record")

REVISION = "2026-07-15"
BULK_IMPORT_LIMIT = 10_000  # profiles per job (Klaviyo's reference)

_MEMBERS_PER_CALL = 1000
_PROFILES_PER_PAGE = 100
_MOST_PAGES = 1000  # of one collection: 100,000 members of a list
_LONGEST_FILTER = 4000  # encoded characters, so that a URL stays well below the 8 kB that servers take

_CAMPAIGNS_PER_REPORT = 100  # items of a list filter

Timeframe = Literal["last_30_days", "last_365_days"]

OWN_REPORTS_A_DAY = 112
"""Reports that this program asks for within a day. Klaviyo allows 225, and other users of the account need some."""

_SECOND, _MINUTE, _DAY = 1, 60, 86_400
RATE_LIMITS: dict[str, list[tuple[int, float]]] = {
    "lists": [(75, _SECOND), (750, _MINUTE)],
    "list creation": [(10, _SECOND), (150, _MINUTE), (150, _DAY)],
    "list membership": [(10, _SECOND), (150, _MINUTE)],
    "profiles": [(75, _SECOND), (750, _MINUTE)],
    "imports": [(10, _SECOND), (150, _MINUTE)],
    "templates": [(75, _SECOND), (750, _MINUTE)],
    "campaigns": [(10, _SECOND), (150, _MINUTE)],
    "account": [(1, _SECOND), (15, _MINUTE)],
    "metrics": [(10, _SECOND), (150, _MINUTE)],
    "events": [(350, _SECOND), (3500, _MINUTE)],
    "reports": [(1, _SECOND), (2, _MINUTE), (OWN_REPORTS_A_DAY, _DAY)],
    "privacy": [(3, _SECOND), (60, _MINUTE)],
}
"""Calls per seconds. Klaviyo publishes them per endpoint. Here they are per family of endpoints, a little stricter."""


class JsonApi:
    """The calls of Klaviyo's JSON:API that all its endpoints share: pages, creation, look-up."""

    def __init__(self, base_url: str, api_key: str, **options: Any) -> None:
        if "limiter" not in options:
            clock = {"clock": options["clock"]} if "clock" in options else {}
            options["limiter"] = RateLimiter(RATE_LIMITS, **clock)
        headers = {"Authorization": f"Klaviyo-API-Key {api_key}", "revision": REVISION}
        client_options = {"media_type": "application/vnd.api+json", "edge_pages": True, **options}
        self.api = ApiClient("Klaviyo", base_url, headers=headers, **client_options)

    def _call(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        group: str,
        query: str = "",
        body: Any = None,
        repeatable: bool = True,
        expect_json: bool = True,
        waits_out_429: bool = True,
    ) -> Reply:
        try:
            reply = self.api.request(
                method,
                operation,
                path,
                query=query,
                body=body,
                repeatable=repeatable,
                expect_json=expect_json,
                group=group,
                waits_out_429=waits_out_429,
            )
        except NotFound as error:
            if error.status != _RETIRED:
                raise
        else:
            return _refuse_other_revision(operation, reply, repeatable=repeatable)
        reason = "answered 410: this revision of the interface is retired"
        raise Misconfigured("Klaviyo", operation, reason, status=_RETIRED)

    def _pages(self, operation: str, path: str, query: Mapping[str, str], *, group: str) -> Iterator[dict[str, Any]]:
        """Yield all rows of a collection."""
        for document in self._documents(operation, path, query, group=group):
            for row in document["data"]:
                yield _object(operation, row)

    def _documents(
        self, operation: str, path: str, query: Mapping[str, str], *, group: str
    ) -> Iterator[dict[str, Any]]:
        """Yield all pages of a collection. Only the query of a link to the next page is used, never the host."""
        following: str | None = urlencode(query, quote_via=quote)
        seen: set[str] = set()
        while following is not None:
            if following in seen or len(seen) >= _MOST_PAGES:
                raise Malformed("Klaviyo", operation, "the pages lead in a circle, or never end")
            seen.add(following)
            data = self._call("GET", operation, path, query=following, group=group).data
            if not isinstance(data, dict) or not isinstance(data.get("data"), list):
                raise Malformed("Klaviyo", operation, "the answer holds no list")
            yield data
            following = next_query(operation, data.get("links"))

    def _create(
        self,
        operation: str,
        path: str,
        *,
        kind: str,
        attributes: Mapping[str, Any],
        group: str,
        parse: Callable[[dict[str, Any]], Record],
    ) -> Record:
        """Create without repetition. A success that cannot be read leaves the outcome unknown."""
        body = {"data": {"type": kind, "attributes": attributes}}
        reply = self._call("POST", operation, path, body=body, group=group, repeatable=False)
        try:
            return parse(_resource(operation, reply))
        except Malformed as error:
            reason = f"answered {reply.status}, but {error.reason}"
        raise Unavailable("Klaviyo", operation, reason, status=reply.status, outcome_unknown=True)

    def _act(self, operation: str, path: str, data: Mapping[str, Any], *, repeatable: bool = True) -> None:
        """Make a call of the campaign family whose answer says nothing beyond its status."""
        body = {"data": data}
        self._call("POST", operation, path, body=body, group="campaigns", repeatable=repeatable, expect_json=False)

    def _delete(self, operation: str, path: str, *, group: str) -> None:
        try:
            self._call("DELETE", operation, path, group=group, expect_json=False)
        except NotFound:
            return

    def _look_up(self, operation: str, path: str) -> dict[str, Any] | None:
        try:
            return _resource(operation, self._call("GET", operation, path, group="campaigns"))
        except NotFound:
            return None


class KlaviyoClient(JsonApi):
    """``base_url`` is the part before ``/api/``. ``options`` go to ``ApiClient``.

    The windows of ``RATE_LIMITS`` are per account, so clients of one account should share a ``limiter``.
    """

    def __repr__(self) -> str:
        return f"KlaviyoClient({self.api!r})"

    def is_test_account(self) -> bool:
        """Whether the account is a test account. Raise ``Misconfigured`` for a wrong key."""
        query = {"fields[account]": "test_account"}
        rows = list(self._pages("read account", "/api/accounts", query, group="account"))
        return any(records.attributes(row).get("test_account") is True for row in rows)

    def account_id(self) -> str:
        """Return the id of the account that the key belongs to."""
        query = {"fields[account]": "test_account"}
        rows = list(self._pages("read account", "/api/accounts", query, group="account"))
        if len(rows) != 1:
            raise Malformed("Klaviyo", "read account", f"the answer holds {len(rows)} accounts instead of one")
        return records.text(rows[0], "id")

    # Lists

    def find_lists(self, name: str | None = None) -> tuple[MailingList, ...]:
        """Return the lists of this name, oldest first: names are not unique. Without a name: all lists."""
        query = {"sort": "created", "fields[list]": "name,created"}
        if name is not None:
            query["filter"] = f"equals(name,{literal(name)})"
        return tuple(map(records.mailing_list, self._pages("find lists", "/api/lists", query, group="lists")))

    def create_list(self, name: str) -> MailingList:
        """Create a list. Not repeatable: the same name twice makes two lists."""
        attributes = {"name": name, "opt_in_process": "single_opt_in"}
        return self._create(
            "create list",
            "/api/lists",
            kind="list",
            attributes=attributes,
            group="list creation",
            parse=records.mailing_list,
        )

    def delete_list(self, list_id: str) -> None:
        """Delete a list, whose people stay. One that is gone already is fine."""
        self._delete("delete list", f"/api/lists/{_segment(list_id)}", group="list membership")

    def list_member_ids(self, list_id: str) -> frozenset[str]:
        """Return the profile ids on a list. They may show a while after a change."""
        path = f"/api/lists/{_segment(list_id)}/relationships/profiles"
        rows = self._pages("read ids of list members", path, {"page[size]": "100"}, group="lists")
        return frozenset(records.text(row, "id") for row in rows)

    def list_members(self, list_id: str, *, details: bool = False) -> tuple[Profile, ...]:
        """Return the profiles on a list. ``details``: with their properties, and whether mail can reach them."""
        path = f"/api/lists/{_segment(list_id)}/profiles"
        query = {"fields[profile]": "email", "page[size]": "100"}
        if details:
            query |= {
                "fields[profile]": "email,properties,subscriptions",
                "additional-fields[profile]": "subscriptions",
            }
        return tuple(map(records.profile, self._pages("read list members", path, query, group="lists")))

    def add_to_list(self, list_id: str, profile_ids: Iterable[str]) -> None:
        """Add profiles without a change of their consent. One unknown id may refuse its whole chunk of a thousand."""
        self._change_members("POST", "add profiles to list", list_id=list_id, profile_ids=profile_ids)

    def remove_from_list(self, list_id: str, profile_ids: Iterable[str]) -> None:
        self._change_members("DELETE", "remove profiles from list", list_id=list_id, profile_ids=profile_ids)

    def _change_members(self, method: str, operation: str, *, list_id: str, profile_ids: Iterable[str]) -> None:
        path = f"/api/lists/{_segment(list_id)}/relationships/profiles"
        rows = [{"type": "profile", "id": profile_id} for profile_id in profile_ids]
        for start in range(0, len(rows), _MEMBERS_PER_CALL):
            body = {"data": rows[start : start + _MEMBERS_PER_CALL]}
            self._call(method, operation, path, body=body, group="list membership", expect_json=False)

    # Profiles

    def upsert_profile(self, email: str, properties: Mapping[str, Any]) -> Profile:
        """Create or update a profile. Other properties stay. Raise ``Refused`` for an address that is not taken."""
        attributes = {"email": email, "properties": dict(properties)}
        query = urlencode({"additional-fields[profile]": "subscriptions"})
        body = {"data": {"type": "profile", "attributes": attributes}}
        operation = "create or update profile"
        reply = self._call("POST", operation, "/api/profile-import", query=query, body=body, group="profiles")
        return records.profile(_resource(operation, reply))

    def find_profiles(self, emails: Iterable[str]) -> tuple[Profile, ...]:
        """Return the profiles of these addresses, as far as there are any, and whether mail can reach them."""

        def find(literals: str) -> list[Profile]:
            query = {
                "filter": f"any(email,[{literals}])",
                "additional-fields[profile]": "subscriptions",
                "fields[profile]": "email,subscriptions",
                "page[size]": str(_PROFILES_PER_PAGE),
            }
            return [*map(records.profile, self._pages("find profiles", "/api/profiles", query, group="profiles"))]

        found = ask_at_once(find, [",".join(chunk) for chunk in _literal_chunks(emails)])
        return tuple(chain.from_iterable(found.values()))

    def existing_profiles(self, profile_ids: Iterable[str]) -> frozenset[str]:
        """Return those of the profiles that Klaviyo shows. One that was deleted may show for a while."""
        found: set[str] = set()
        for chunk in _literal_chunks(sorted(profile_ids)):
            query = {"filter": f"any(id,[{','.join(chunk)}])", "fields[profile]": "created", "page[size]": "100"}
            rows = self._pages("look for profiles", "/api/profiles", query, group="profiles")
            found |= {records.text(row, "id") for row in rows}
        return frozenset(found)

    def delete_profile(self, profile_id: str) -> None:
        """Ask for the deletion of a profile under data protection law. It cannot be undone, and happens later.

        Needs the scope ``data-privacy:write``. Asking twice is asking once. The empty ``attributes`` are required.
        """
        profile = {"type": "profile", "id": profile_id, "attributes": {}}
        data = {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": profile}}}
        path = "/api/data-privacy-deletion-jobs"
        self._call("POST", "delete profile", path, body={"data": data}, group="privacy", expect_json=False)

    def bulk_import(self, profiles: Mapping[str, Mapping[str, Any]], list_id: str | None = None) -> str:
        """Start to upsert address -> properties, at most ``BULK_IMPORT_LIMIT``. Return the id of the job."""
        rows = [
            {"type": "profile", "attributes": {"email": email, "properties": dict(properties)}}
            for email, properties in profiles.items()
        ]
        data: dict[str, Any] = {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": rows}}}
        if list_id is not None:
            data["relationships"] = {"lists": {"data": [{"type": "list", "id": list_id}]}}
        operation = "start bulk import"
        reply = self._call("POST", operation, "/api/profile-bulk-import-jobs", body={"data": data}, group="imports")
        return records.text(_resource(operation, reply), "id")

    def bulk_import_job(self, job_id: str) -> ImportJob:
        operation = "read bulk import"
        reply = self._call("GET", operation, f"/api/profile-bulk-import-jobs/{_segment(job_id)}", group="imports")
        return records.import_job(_resource(operation, reply))

    def bulk_import_errors(self, job_id: str) -> tuple[ImportProblem, ...]:
        path = f"/api/profile-bulk-import-jobs/{_segment(job_id)}/import-errors"
        rows = self._pages("read errors of bulk import", path, {"page[size]": "100"}, group="imports")
        return tuple(map(records.import_problem, rows))

    # Templates

    def find_templates(self, name: str) -> tuple[Template, ...]:
        """Return the templates of this name, oldest first: names are not unique."""
        query = {"filter": f"equals(name,{literal(name)})", "sort": "created"}
        return tuple(map(records.template, self._pages("find templates", "/api/templates", query, group="templates")))

    def create_template(self, name: str, *, html: str, text: str) -> Template:
        """Create a template. Not repeatable: the same name twice makes two templates."""
        attributes = {"name": name, "editor_type": "CODE", "html": html, "text": text}
        return self._create(
            "create template",
            "/api/templates",
            kind="template",
            attributes=attributes,
            group="templates",
            parse=records.template,
        )

    def get_template(self, template_id: str) -> Template:
        operation = "read template"
        reply = self._call("GET", operation, f"/api/templates/{_segment(template_id)}", group="templates")
        return records.template(_resource(operation, reply))

    def delete_template(self, template_id: str) -> None:
        """Delete a template. Campaigns keep their copies. One that is gone already is fine."""
        self._delete("delete template", f"/api/templates/{_segment(template_id)}", group="templates")

    # Campaigns

    def create_campaign(
        self,
        *,
        name: str,
        included_lists: Sequence[str],
        excluded_lists: Sequence[str] = (),
        label: str = "invitation",
        subject: str,
        preview_text: str,
        from_email: str,
        from_label: str,
        reply_to: str,
        send_at: datetime | None = None,
    ) -> Campaign:
        """Create a draft. Not repeatable: find it by its name first. Without ``send_at`` the send job sends at once.

        Everybody on an included list and on no excluded one gets one mail. ``label`` is how people call the message.
        """
        content = {
            "subject": subject,
            "preview_text": preview_text,
            "from_email": from_email,
            "from_label": from_label,
            "reply_to_email": reply_to,
        }
        definition = {"channel": "email", "label": label, "content": content}
        message = {"type": "campaign-message", "attributes": {"definition": definition}}
        attributes = {
            "name": name,
            "audiences": {"included": [*included_lists], "excluded": [*excluded_lists]},
            "send_strategy": _send_strategy(send_at),
            # Klaviyo's default skips for good everybody who got another mail of this account some hours ago.
            "send_options": {"use_smart_sending": False},
            "tracking_options": {
                "is_tracking_opens": True,
                "is_tracking_clicks": True,
                "add_tracking_params": False,
            },
            "campaign-messages": {"data": [message]},
        }
        return self._create(
            "create campaign",
            "/api/campaigns",
            kind="campaign",
            attributes=attributes,
            group="campaigns",
            parse=records.campaign,
        )

    def find_campaigns(self, name_contains: str, *, archived: bool = False) -> tuple[Campaign, ...]:
        """Return the campaigns whose name contains a text, oldest first. Klaviyo cannot search for a whole name.

        ``archived``: archived ones only. It is not documented whether they are among the others.
        """
        conditions = ['equals(messages.channel,"email")', f"contains(name,{literal(name_contains)})"]
        query = {
            "filter": f"and({','.join([*conditions, *(['equals(archived,true)'] if archived else [])])})",
            "include": "campaign-messages",
            "sort": "created_at",
        }
        return tuple(self._with_message(campaign) for campaign in self._search_campaigns(query))

    def latest_campaigns(self, name_contains: str, *, archived: bool = False) -> Iterator[Campaign]:
        """Yield the same campaigns, the newest first and without their messages. Pages are read when needed."""
        conditions = ['equals(messages.channel,"email")', f"contains(name,{literal(name_contains)})"]
        conditions += ["equals(archived,true)"] if archived else []
        query = {"filter": f"and({','.join(conditions)})", "sort": "-created_at"}
        return self._search_campaigns(query)

    def _search_campaigns(self, query: Mapping[str, str]) -> Iterator[Campaign]:
        """Yield the campaigns of a search. Filters that are refused belong to another revision of the interface."""
        operation = "find campaigns"
        try:
            yield from map(records.campaign, self._pages(operation, "/api/campaigns", query, group="campaigns"))
        except Refused as error:
            if error.status != _BAD_REQUEST:
                raise
        else:
            return
        reason = f"refused the filters, so its revision {_OTHER_REVISION}"
        raise ChangedShape("Klaviyo", operation, reason, status=_BAD_REQUEST)

    def get_campaign(self, campaign_id: str) -> Campaign:
        """Return a campaign. Raise ``NotFound`` when it was deleted."""
        operation, path = "read campaign", f"/api/campaigns/{_segment(campaign_id)}"
        query = urlencode({"include": "campaign-messages"})
        reply = self._call("GET", operation, path, query=query, group="campaigns")
        return self._with_message(records.campaign(_resource(operation, reply)))

    def delete_campaign(self, campaign_id: str) -> None:
        """Delete a draft. One that is gone already is fine."""
        self._delete("delete campaign", f"/api/campaigns/{_segment(campaign_id)}", group="campaigns")

    def assign_template(self, message_id: str, template_id: str) -> None:
        """Copy the template into the message. Later edits of the template do not reach the campaign."""
        relationships = {"template": {"data": {"type": "template", "id": template_id}}}
        data = {"type": "campaign-message", "id": message_id, "relationships": relationships}
        path = "/api/campaign-message-assign-template"
        self._act("assign template", path, data)

    def message_template(self, message_id: str) -> Template | None:
        """Return the message's copy of its template; ``None`` while none is assigned."""
        operation, path = "read template of message", f"/api/campaign-messages/{_segment(message_id)}/template"
        reply = self._call("GET", operation, path, group="campaigns")
        if isinstance(reply.data, dict) and "data" in reply.data and reply.data["data"] is None:
            return None
        return records.template(_resource(operation, reply))

    def request_estimate(self, campaign_id: str) -> None:
        """Ask for a count of the recipients. ``estimate_job_done`` and ``estimate`` give the result."""
        data = {"type": "campaign-recipient-estimation-job", "id": campaign_id}
        self._act("request estimate", "/api/campaign-recipient-estimation-jobs", data)

    def estimate_job_done(self, campaign_id: str) -> bool:
        """Whether the count of the recipients has ended."""
        path = f"/api/campaign-recipient-estimation-jobs/{_segment(campaign_id)}"
        resource = self._look_up("read estimation job", path)
        return resource is not None and records.attributes(resource).get("status") in ("complete", "cancelled")

    def estimate(self, campaign_id: str) -> int | None:
        """Return the count of the recipients; ``None`` while there is none."""
        path = f"/api/campaign-recipient-estimations/{_segment(campaign_id)}"
        resource = self._look_up("read estimate", path)
        return None if resource is None else records.count(records.attributes(resource), "estimated_recipient_count")

    def send(self, campaign_id: str) -> None:
        """Send the campaign. After ``Unavailable`` with ``outcome_unknown``, look first, and never just call again."""
        data = {"type": "campaign-send-job", "id": campaign_id}
        self._act("send campaign", "/api/campaign-send-jobs", data, repeatable=False)

    def send_job(self, campaign_id: str) -> str | None:
        """Return the status of the send job; ``None`` when Klaviyo knows of none."""
        resource = self._look_up("read send job", f"/api/campaign-send-jobs/{_segment(campaign_id)}")
        return None if resource is None else records.text(records.attributes(resource), "status")

    def revert_send(self, campaign_id: str) -> None:
        """Stop a campaign that has not left yet: it is a draft again. Raise ``Refused`` if there is nothing to stop."""
        path = f"/api/campaign-send-jobs/{_segment(campaign_id)}"
        data = {"type": "campaign-send-job", "id": campaign_id, "attributes": {"action": "revert"}}
        body = {"data": data}
        self._call("PATCH", "take sending back", path, body=body, group="campaigns", expect_json=False)

    # Measuring

    def metrics(self) -> dict[str, str]:
        """Return id -> name of everything that events are recorded of."""
        rows = self._pages("read metrics", "/api/metrics", {}, group="metrics")
        return {records.text(row, "id"): records.text(records.attributes(row), "name") for row in rows}

    def profile_events(self, profile_id: str, since: datetime) -> tuple[ProfileEvent, ...]:
        """Return what Klaviyo recorded about a person. It may show a while after it happened."""
        moment = since.astimezone(timezone.utc).isoformat(timespec="seconds")
        query = {
            "filter": f"equals(profile_id,{literal(profile_id)}),greater-or-equal(datetime,{moment})",
            "sort": "datetime",
            "page[size]": "1000",
        }
        rows = self._pages("read events of profile", "/api/events", query, group="events")
        return tuple(map(records.profile_event, rows))

    def count_recipients(
        self,
        campaign_ids: Iterable[str],
        *,
        metric_id: str,
        timeframe: Timeframe = "last_30_days",
        waits_out_429: bool = True,
    ) -> dict[str, int]:
        """Return campaign id -> number of recipients, as far as Klaviyo's report shows the campaigns yet.

        ``metric_id``: any metric; Klaviyo wants one for the conversions. ``waits_out_429``: as in ``ApiClient``.
        """
        counts: dict[str, int] = {}
        ids = sorted(set(campaign_ids))
        for start in range(0, len(ids), _CAMPAIGNS_PER_REPORT):
            chosen = ",".join(map(literal, ids[start : start + _CAMPAIGNS_PER_REPORT]))
            attributes = {
                "statistics": ["recipients"],
                "timeframe": {"key": timeframe},
                "conversion_metric_id": metric_id,
                "filter": f"contains-any(campaign_id,[{chosen}])",
            }
            body = {"data": {"type": "campaign-values-report", "attributes": attributes}}
            reply = self._call(
                "POST",
                "read report",
                "/api/campaign-values-reports",
                body=body,
                group="reports",
                waits_out_429=waits_out_429,
            )
            counts |= records.recipients(reply.data)
        return counts

    def _with_message(self, campaign: Campaign) -> Campaign:
        """Ask for the message where the answer about the campaign does not name it."""
        if campaign.message_id is not None:
            return campaign
        path = f"/api/campaigns/{_segment(campaign.campaign_id)}/campaign-messages"
        ids = [records.text(row, "id") for row in self._pages("read messages of campaign", path, {}, group="campaigns")]
        return replace(campaign, message_id=ids[0] if ids else None)


_BAD_REQUEST, _RETIRED = 400, 410
_OTHER_REVISION = (
    f"is not {REVISION}. Nothing is sent or marked before it answers in that one again, or a developer has moved the "
    "client up"
)


def _refuse_other_revision(operation: str, reply: Reply, *, repeatable: bool) -> Reply:
    """Return the reply unless Klaviyo says that it speaks another revision. A write has happened all the same."""
    if reply.revision in (None, REVISION):
        return reply
    reason = f"says that its revision {_OTHER_REVISION}"
    if repeatable:
        raise ChangedShape("Klaviyo", operation, reason, status=reply.status)
    raise Unavailable("Klaviyo", operation, reason, status=reply.status, outcome_unknown=True)


def _segment(identifier: str) -> str:
    return quote(identifier, safe="")


def literal(text: str) -> str:
    """Return a string of Klaviyo's filter language: double quotes, backslash escapes, blanks stay."""
    return json.dumps(text, ensure_ascii=False)


def _literal_chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield filter literals, as many at a time as fit one page and one URL."""
    chunk: list[str] = []
    length = 0
    for quoted in map(literal, texts):
        size = len(quote(quoted)) + len("%2C")
        if chunk and (len(chunk) == _PROFILES_PER_PAGE or length + size > _LONGEST_FILTER):
            yield chunk
            chunk, length = [], 0
        chunk.append(quoted)
        length += size
    if chunk:
        yield chunk


def _send_strategy(send_at: datetime | None) -> dict[str, Any]:
    if send_at is None:
        return {"method": "immediate"}
    if send_at.tzinfo is None:
        raise ValueError("the time to send at needs a zone")
    moment = send_at.astimezone(timezone.utc).isoformat(timespec="seconds")
    return {"method": "static", "datetime": moment, "options": {"is_local": False}}


def next_query(operation: str, links: Any) -> str | None:
    """Return the query of the link to the next page; ``None``: there is none. Raise ``Malformed`` for a wrong link."""
    following = links.get("next") if isinstance(links, dict) else None
    if following is None:
        return None
    try:
        query = urlsplit(following).query if isinstance(following, str) else ""
    except ValueError:
        query = ""
    if not query:
        raise Malformed("Klaviyo", operation, "the link to the next page cannot be followed")
    return query


def _resource(operation: str, reply: Reply) -> dict[str, Any]:
    return _object(operation, reply.data.get("data") if isinstance(reply.data, dict) else None)


def _object(operation: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("Klaviyo", operation, "the answer does not have the documented shape")
    return value
