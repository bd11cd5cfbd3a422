"""Klaviyo's JSON:API, as far as it is read: collections with pages, single resources, one report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pycontw_assets_tests.contract_server import sale
from pycontw_assets_tests.contract_server.exchange import Answer, Question, Refused
from pycontw_assets_tests.contract_server.questions import (
    ATTRIBUTES,
    MEDIA_TYPE,
    RULES,
    Rules,
    check_headers,
    check_query,
    conditions,
    fields,
)

Row = dict[str, Any]
_DAY = "2031-06-{:02d}T02:00:00+00:00"


class Mailing:
    """Klaviyo with an account of its own, which counts its calls in fixed windows."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, int], tuple[float, int]] = {}

    def answer(self, question: Question) -> Answer:
        path = question.path.rstrip("/")
        template, rules = next(((name, rule) for name, rule in RULES.items() if _fits(name, path)), ("", None))
        try:
            check_headers(question, sale.KLAVIYO_KEY)
            if rules is None or (question.method == "POST") != (rules.kind == "campaign-values-report"):
                raise Refused(404, "not_found")
            limits = self._count(template, rules, question.at)
            check_query(question, rules)
            data = _report(question) if question.method == "POST" else _document(question, path, rules)
        except Refused as refusal:
            return _error(refusal)
        return Answer(200, data, MEDIA_TYPE, limits)

    def _count(self, template: str, rules: Rules, at: float) -> Mapping[str, str]:
        """Count a call in every window and return the headers; raise ``Refused`` if a window is full."""
        left = []
        for seconds, most in rules.rates.items():
            begun, calls = self._calls.get((template, seconds), (at, 0))
            begun, calls = (at, 0) if at - begun >= seconds else (begun, calls)
            if calls >= most:
                raise Refused(429, "throttled")
            self._calls[template, seconds] = (begun, calls + 1)
            left.append((most - calls - 1, int(begun + seconds - at) + 1))
        windows = [f"{most};w={seconds}" for seconds, most in rules.rates.items()]
        remaining, reset = min(left)
        limit = f"{rules.rates[1]}, {', '.join(windows)}"
        return {"RateLimit-Limit": limit, "RateLimit-Remaining": str(remaining), "RateLimit-Reset": str(reset)}


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(template.replace("{}", "[^/]+"), path) is not None


def _error(refusal: Refused) -> Answer:
    error = {"id": "5b0c6f0e-1", "status": refusal.status, "code": refusal.code, "title": "Refused.", "detail": ""}
    headers = {"Retry-After": "1"} if refusal.status == 429 else {}
    return Answer(refusal.status, {"errors": [{**error, "source": {}, "links": {}, "meta": {}}]}, MEDIA_TYPE, headers)


# -- documents --------------------------------------------------------------------------------------------------


def _document(question: Question, path: str, rules: Rules) -> Row:
    *_, identity, last = ["", *path.removeprefix("/api/").split("/")]
    if path.endswith("/campaign-messages"):
        return {"data": [_shown(question, _message(_known(sale.CAMPAIGNS, identity)))], "links": _links(question)}
    if path.endswith("/template"):
        by_message = {_message_id(campaign): campaign for campaign in sale.CAMPAIGNS}
        campaign = by_message[_known(by_message, identity)]
        copy = _template("TwC777", "pycontw-2031-invitation-v2") if _is_sent(campaign) else None
        return {"data": _shown(question, copy) if copy else None, "links": {"self": _self(question)}}
    if not rules.is_paged and rules.kind in _SINGLE:
        row = _SINGLE[rules.kind](last)
        return {"data": _shown(question, row), **_included(question, [row]), "links": {"self": _self(question)}}
    if path == "/api/accounts":
        return {"data": [_shown(question, _account())], "links": _links(question)}
    if "/lists/" in path:
        _known(sale.LISTS, path.split("/")[3])
    return _page(question, _COLLECTIONS[rules.kind](), rules, only_ids="/relationships/" in path)


def _page(question: Question, rows: Sequence[Row], rules: Rules, *, only_ids: bool) -> Row:
    asked = list(conditions(question.query["filter"], rules.filters)) if "filter" in question.query else []
    if rules.kind == "campaign" and ("equals", "messages.channel", "email") not in asked:
        raise Refused(400, "invalid")
    rows = [row for row in rows if all(_holds(row, *condition) for condition in asked)]
    order = question.query.get("sort", "")
    if order:
        name = order.removeprefix("-")
        rows = sorted(rows, key=lambda row: str(_value(row, name)), reverse=order.startswith("-"))
    size = int(question.query.get("page[size]", (rules.size or (200, 200))[0]))
    begin = int(question.query.get("page[cursor]", "0"))
    page, following = rows[begin : begin + size], begin + size if begin + size < len(rows) else None
    shown = [{"type": row["type"], "id": row["id"]} if only_ids else _shown(question, row) for row in page]
    return {"data": shown, **_included(question, page), "links": _links(question, following)}


def _self(question: Question) -> str:
    return f"{question.base}{question.path}/"


def _links(question: Question, following: int | None = None) -> Row:
    more = {**question.query, "page[cursor]": str(following)}
    link = None if following is None else f"{_self(question)}?{urlencode(more, quote_via=quote)}"
    return {"self": _self(question), "next": link, "prev": None}


def _shown(question: Question, row: Row) -> Row:
    """Return a row with the attributes that were asked for. References come only with what they refer to."""
    shown = fields(question, row["type"])
    attributes = {name: value for name, value in row["attributes"].items() if name in shown}
    wanted = question.query.get("include", "").split(",")
    relations: Row = {}
    for name, referred in row.get("relationships", {}).items():
        is_single = isinstance(referred, dict)
        relations[name] = {"links": {"self": "/", "related": "/"}}
        if is_single or name in wanted:
            relations[name]["data"] = _reference(referred) if is_single else [_reference(one) for one in referred]
    link = {"links": {"self": f"{question.base}/api/{row['type']}s/{row['id']}/"}}
    return {**row, "attributes": attributes, **({"relationships": relations} if relations else {}), **link}


def _reference(row: Row) -> Row:
    return {"type": row["type"], "id": row["id"]}


def _included(question: Question, rows: Sequence[Row]) -> Row:
    found: dict[str, Row] = {}
    for name in filter(None, question.query.get("include", "").split(",")):
        for row in rows:
            referred = row.get("relationships", {}).get(name, [])
            found |= {
                one["id"]: _shown(question, one) for one in ([referred] if isinstance(referred, dict) else referred)
            }
    return {"included": list(found.values())} if "include" in question.query else {}


def _value(row: Row, name: str) -> Any:
    if name in ("metric_id", "profile_id"):
        return row["relationships"][name.removesuffix("_id")]["id"]
    return {"id": row["id"], "messages.channel": "email", **row["attributes"]}.get(name)


def _holds(row: Row, operator: str, name: str, value: Any) -> bool:
    held = _value(row, name)
    if operator in ("any", "equals", "contains"):
        low = [str(one).lower() for one in (value if isinstance(value, list) else [value])]
        return low[0] in str(held).lower() if operator == "contains" else str(held).lower() in low
    return str(held) >= str(value) if operator.startswith("greater") else str(held) <= str(value)


# -- rows -----------------------------------------------------------------------------------------------------


def _row(kind: str, identity: str, attributes: Row, relations: Mapping[str, Any] | None = None) -> Row:
    """Return a resource. ``relations``: the rows it refers to, one or a list."""
    assert attributes.keys() <= set(ATTRIBUTES[kind].split())
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        **({"relationships": relations} if relations else {}),
    }


def _known(things: Mapping[str, Any], identity: str) -> str:
    """Return the id. Raise ``Refused`` if nothing has it."""
    if identity not in things:
        raise Refused(404, "not_found")
    return identity


def _account() -> Row:
    owner = {"default_sender_name": "Pangolin Desk", "default_sender_email": "desk@example.org"}
    return _row("account", "WtN001", {"test_account": False, "contact_information": owner, "timezone": "Asia/Taipei"})


def _list(identity: str) -> Row:
    number = int(identity[-3:])
    times = {"created": _DAY.format(number), "updated": _DAY.format(number + 1)}
    return _row("list", identity, {"name": sale.LISTS[identity], "opt_in_process": "single_opt_in", **times})


def _profile(identity: str) -> Row:
    name, address = sale.PROFILES[identity]
    number = int(identity[-2:])
    is_gone = number == 3
    marketing = {
        "can_receive_email_marketing": not is_gone,
        "consent": "UNSUBSCRIBED" if is_gone else "NEVER_SUBSCRIBED",
        "consent_timestamp": None,
        "suppression": [{"reason": "UNSUBSCRIBE", "timestamp": _DAY.format(4)}] if is_gone else [],
        "list_suppressions": [],
    }
    times = {"created": _DAY.format(number), "updated": _DAY.format(number), "joined_group_at": _DAY.format(number)}
    shown = {"email": address, "first_name": name, "properties": {"pycontw_2031_ticket": "individual"}}
    subscriptions = {"email": {"marketing": marketing}, "sms": {}}
    return _row("profile", identity, {**shown, "subscriptions": subscriptions, **times})


def _template(identity: str, name: str) -> Row:
    body = {"html": "<p>Enter the burrow, Okapi</p>", "text": "Enter the burrow", "amp": None}
    times = {"created": _DAY.format(1), "updated": _DAY.format(1)}
    return _row("template", identity, {"name": name, "editor_type": "CODE", **body, **times})


def _is_sent(campaign: str) -> bool:
    return sale.CAMPAIGNS[campaign][1] == "Sent"


def _message_id(campaign: str) -> str:
    return campaign.replace("CAMPAIGN", "MESSAGE0")


def _message(campaign: str) -> Row:
    sender = {"from_email": "desk@example.org", "from_label": "Pangolin Desk", "reply_to_email": "help@example.org"}
    content = {"subject": sale.SUBJECT, "preview_text": "The burrow is open", **sender}
    definition = {"channel": "email", "label": "invitation", "content": content}
    times = {"created_at": _DAY.format(1), "updated_at": _DAY.format(1)}
    return _row("campaign-message", _message_id(campaign), {"definition": definition, **times})


def _campaign(identity: str) -> Row:
    name, status, archived = sale.CAMPAIGNS[_known(sale.CAMPAIGNS, identity)]
    made = _DAY.format(int(identity[-2:]))
    attributes = {
        "name": name,
        "status": status,
        "archived": archived,
        "audiences": {"included": ["LwT004"], "excluded": []},
        "send_options": {"use_smart_sending": False},
        "tracking_options": {"is_tracking_opens": True, "is_tracking_clicks": True, "add_tracking_params": False},
        "send_strategy": {"method": "immediate"},
        **{"created_at": made, "updated_at": made, "scheduled_at": None, "send_time": made if archived else None},
    }
    return _row("campaign", identity, attributes, {"campaign-messages": [_message(identity)], "tags": []})


def _metric(identity: str) -> Row:
    flows = [_flow(flow) for flow in sale.FLOWS] if identity == "MwT001" else []
    times = {"created": _DAY.format(1), "updated": _DAY.format(1)}
    attributes = {"name": sale.METRICS[identity], "integration": {"key": "burrow-api", "id": "0rG77"}, **times}
    return _row("metric", identity, attributes, {"flow-triggers": flows})


def _flow(identity: str) -> Row:
    name, status = sale.FLOWS[identity]
    times = {"created": _DAY.format(1), "updated": _DAY.format(1)}
    return _row(
        "flow", identity, {"name": name, "status": status, "archived": False, "trigger_type": "Metric", **times}
    )


def _events() -> list[Row]:
    """Return a mail that everybody received. No event is younger than 2031, so every recent period holds them."""
    rows = []
    for number, identity in enumerate(sale.PROFILES, start=1):
        details = {"Subject": sale.SUBJECT, "Recipient": sale.PROFILES[identity][1]}
        at = {"datetime": _DAY.format(number), "timestamp": 1938000000 + number, "uuid": f"77bb88cc-{number}"}
        who = {"profile": _profile(identity), "metric": _metric("MwT002")}
        rows.append(_row("event", f"EwT{number:03d}", {"event_properties": details, **at}, who))
    return rows


def _job(kind: str) -> Callable[[str], Row]:
    """Return the jobs of a kind. Only a campaign that was sent has them; they go by the campaign's id."""

    def find(campaign: str) -> Row:
        if not _is_sent(_known(sale.CAMPAIGNS, campaign)):
            raise Refused(404, "not_found")
        is_result = kind == "campaign-recipient-estimation"
        return _row(kind, campaign, {"estimated_recipient_count": 7} if is_result else {"status": "complete"})

    return find


_SINGLE: dict[str, Callable[[str], Row]] = {
    "template": lambda identity: _template(_known(sale.TEMPLATES, identity), sale.TEMPLATES[identity]),
    "campaign": _campaign,
    **{
        kind: _job(kind)
        for kind in ("campaign-send-job", "campaign-recipient-estimation-job", "campaign-recipient-estimation")
    },
}
_COLLECTIONS: dict[str, Callable[[], list[Row]]] = {
    "list": lambda: [_list(identity) for identity in sale.LISTS],
    "profile": lambda: [_profile(identity) for identity in sale.PROFILES],
    "template": lambda: [_template(identity, name) for identity, name in sale.TEMPLATES.items()],
    "campaign": lambda: [_campaign(identity) for identity in sale.CAMPAIGNS],
    "metric": lambda: [_metric(identity) for identity in sale.METRICS],
    "event": _events,
}


def _report(question: Question) -> Row:
    """Return the recipients of the campaigns asked for. It is the one POST, and it writes nothing."""
    asked = question.body.get("data", {}).get("attributes", {}) if isinstance(question.body, dict) else {}
    if asked.get("conversion_metric_id") not in sale.METRICS or asked.get("statistics") != ["recipients"]:
        raise Refused(400, "invalid")
    wanted = set(sale.CAMPAIGNS)
    for _, _, value in conditions(asked["filter"], {"campaign_id": "equals contains-any"}) if "filter" in asked else ():
        wanted = set(value if isinstance(value, list) else [value])
    results = [
        {
            "groupings": {"campaign_id": name, "campaign_message_id": _message_id(name), "send_channel": "email"},
            "statistics": {"recipients": 7.0},
        }
        for name in sorted(wanted)
    ]
    data = {"type": "campaign-values-report", "id": "01JWREPORT1", "attributes": {"results": results}}
    return {"data": data, "links": {"self": _self(question)}}
