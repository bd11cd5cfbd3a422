"""List the questions that Klaviyo's revision 2026-07-15 allows: parameters, filters, pages and rates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pycontw_assets_tests.contract_server.exchange import Question, Refused

REVISION = "2026-07-15"
MEDIA_TYPE = "application/vnd.api+json"
ATTRIBUTES = {
    "account": "contact_information industry locale preferred_currency public_api_key test_account timezone",
    "list": "created name opt_in_process updated",
    "profile": "created email external_id first_name image last_event_date last_name locale location organization "
    "phone_number properties subscriptions title updated joined_group_at",
    "template": "amp created definition editor_type html name text updated",
    "campaign": "archived audiences created_at name scheduled_at send_options send_strategy send_time status "
    "tracking_options updated_at",
    "campaign-message": "created_at definition render_options send_times updated_at",
    "metric": "created integration name updated",
    "flow": "archived created name status trigger_type updated",
    "event": "datetime event_properties timestamp uuid",
    "campaign-send-job": "status",
    "campaign-recipient-estimation-job": "status",
    "campaign-recipient-estimation": "estimated_recipient_count",
    "campaign-values-report": "results",
}
_MOMENT = "greater-or-equal greater-than less-or-equal less-than"
_IDENTITY = {"id": "any equals", "name": "any equals"}


@dataclass(frozen=True)
class Rules:
    """Hold one endpoint's rules. ``rates``: calls in each window of seconds. ``size``: default and most of a page."""

    kind: str
    rates: Mapping[int, int]
    size: tuple[int, int] | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    sorts: str = ""
    includes: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    is_paged: bool = True


_LISTS, _TEN, _EVENTS = {1: 75, 60: 750}, {1: 10, 60: 150}, {1: 350, 60: 3500}
_PEOPLE = {"email": "any equals", "phone_number": "any equals", "joined_group_at": _MOMENT}
_MESSAGES = {"campaign-messages": "campaign-message", "tags": "tag"}
_TEMPLATES = {"id": "any equals", "name": "any contains equals", "created": _MOMENT, "updated": _MOMENT}

RULES: dict[str, Rules] = {
    "/api/accounts": Rules("account", {1: 1, 60: 15}, is_paged=False),
    "/api/lists": Rules(
        "list",
        _LISTS,
        (10, 10),
        {**_IDENTITY, "created": "greater-than", "updated": "greater-than"},
        "created id name updated",
        {"flow-triggers": "flow", "tags": "tag"},
    ),
    "/api/lists/{}/relationships/profiles": Rules("profile", _LISTS, (20, 100), _PEOPLE, "joined_group_at"),
    "/api/lists/{}/profiles": Rules("profile", _LISTS, (20, 100), _PEOPLE, "joined_group_at", more="profile"),
    "/api/profiles": Rules(
        "profile",
        _LISTS,
        (20, 100),
        {"id": "any equals", "email": "any equals", "created": "greater-than less-than"},
        "created email id updated",
        {"conversations": "conversation", "push-tokens": "push-token"},
        "profile",
    ),
    "/api/templates": Rules("template", _LISTS, (10, 10), _TEMPLATES, "created id name updated", more="template"),
    "/api/templates/{}": Rules("template", _LISTS, more="template", is_paged=False),
    "/api/campaigns": Rules(
        "campaign",
        _TEN,
        (100, 100),
        {
            "id": "any",
            "messages.channel": "equals",
            "name": "contains",
            "status": "any equals",
            "archived": "equals",
            "created_at": _MOMENT,
            "scheduled_at": _MOMENT,
            "updated_at": _MOMENT,
        },
        "created_at id name scheduled_at updated_at",
        _MESSAGES,
    ),
    "/api/campaigns/{}": Rules("campaign", _TEN, includes=_MESSAGES, is_paged=False),
    "/api/campaigns/{}/campaign-messages": Rules("campaign-message", _TEN, is_paged=False),
    "/api/campaign-messages/{}/template": Rules("template", _TEN, is_paged=False),
    "/api/campaign-send-jobs/{}": Rules("campaign-send-job", _TEN, is_paged=False),
    "/api/campaign-recipient-estimation-jobs/{}": Rules("campaign-recipient-estimation-job", _TEN, is_paged=False),
    "/api/campaign-recipient-estimations/{}": Rules("campaign-recipient-estimation", _TEN, is_paged=False),
    "/api/metrics": Rules("metric", _TEN, includes={"flow-triggers": "flow"}),
    "/api/events": Rules(
        "event",
        _EVENTS,
        (200, 1000),
        {"metric_id": "equals", "profile_id": "equals", "datetime": _MOMENT, "timestamp": _MOMENT},
        "datetime timestamp",
        {"metric": "metric", "profile": "profile", "attributions": "attribution"},
    ),
    "/api/campaign-values-reports": Rules("campaign-values-report", {1: 1, 60: 2, 86400: 225}, is_paged=False),
}


def check_headers(question: Question, key: str) -> None:
    """Raise ``Refused`` for a call without the key, the pinned revision, or the media type of JSON:API."""
    if question.headers.get("authorization") != f"Klaviyo-API-Key {key}":
        raise Refused(401, "not_authenticated")
    if question.headers.get("revision") != REVISION:
        raise Refused(400, "invalid")
    if MEDIA_TYPE not in question.headers.get("accept", ""):
        raise Refused(406, "not_acceptable")
    if question.method == "POST" and MEDIA_TYPE not in question.headers.get("content-type", ""):
        raise Refused(415, "unsupported_media_type")


def check_query(question: Question, rules: Rules) -> None:
    """Raise ``Refused`` for a parameter, a field, an order or a size of a page that this endpoint does not have."""
    names = {rules.kind, *rules.includes.values()}
    allowed = {f"fields[{name}]" for name in names} | {f"additional-fields[{name}]" for name in rules.more.split()}
    allowed |= {"include"} if rules.includes else set()
    allowed |= {"filter"} if rules.filters else set()
    allowed |= {"sort"} if rules.sorts else set()
    allowed |= {"page[cursor]"} if rules.is_paged else set()
    allowed |= {"page[size]"} if rules.size else set()
    _need(set(question.query) <= allowed)
    for name in names:
        _need(_listed(question, f"fields[{name}]") <= {"id", *ATTRIBUTES.get(name, "").split()})
    _need(_listed(question, "additional-fields[profile]") <= {"subscriptions", "predictive_analytics"})
    _need(_listed(question, "include") <= set(rules.includes))
    _need(question.query.get("sort", "").removeprefix("-") in ("", *rules.sorts.split()))
    size = question.query.get("page[size]", "1")
    _need(size.isdigit() and 1 <= int(size) <= (rules.size or (1, 1))[1])


def _need(holds: bool) -> None:
    if not holds:
        raise Refused(400, "invalid")


def _listed(question: Question, name: str) -> set[str]:
    return set(question.query[name].split(",")) if name in question.query else set()


def fields(question: Question, kind: str) -> set[str]:
    """Return the attributes that an answer shows of this kind. Subscriptions must be asked for in two places."""
    asked = _listed(question, f"fields[{kind}]") or set(ATTRIBUTES[kind].split())
    return asked - ({"subscriptions"} - _listed(question, f"additional-fields[{kind}]"))


_CONDITION = re.compile(r"([a-z-]+)\(([\w.]+),(\[[^\]]*\]|\"(?:[^\"\\]|\\.)*\"|[^()\",]+)\)")


def conditions(text: str, filters: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """Yield operator, field and value of each condition. They are joined by commas, or by ``and(…)``."""
    inner = text[4:-1] if text.startswith("and(") and text.endswith(")") else text
    found = list(_CONDITION.finditer(inner))
    _need(bool(found) and ",".join(match[0] for match in found) == inner)
    for match in found:
        _need(match[1] in filters.get(match[2], "").split())
        is_plain = not match[3].startswith(("[", '"')) and match[3] not in ("true", "false")
        yield match[1], match[2], match[3] if is_plain else json.loads(match[3])
