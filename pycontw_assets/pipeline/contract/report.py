"""From the exchanges of a walk to the report: shapes, counts, latencies, names of headers. Pure. It holds no value.

The report is one JSON document. The verdicts are functions of it alone, so somebody who only got the report by mail can
judge it again.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from pycontw_assets.pipeline.contract import endpoints as known
from pycontw_assets.pipeline.contract import klaviyo_endpoints as of_klaviyo
from pycontw_assets.pipeline.contract.exchanges import Exchange
from pycontw_assets.pipeline.contract.shapes import Fold
from pycontw_assets.pipeline.contract.walk import book_ids
from pycontw_assets.send_email.klaviyo_client import REVISION

FORMAT = 1
ENDPOINTS = {endpoint.name: endpoint for endpoint in (*known.OTHERS, *of_klaviyo.OF_KLAVIYO)}

_MOST_NAMES = 40  # headers of one endpoint
_HEADER_NAME = re.compile(r"[a-z][a-z-]{0,39}")
_LIMIT_NAME = re.compile(r"(x-)?rate-?limit(-[a-z]+)*|retry-after")
_LIMIT_VALUE = re.compile(r"[0-9]{1,10}(\.[0-9]{1,3})?([,;] ?w?=?[0-9]{1,10}(;w=[0-9]{1,7})?){0,8}")
_MOVING = re.compile(r".*(remaining|reset)|retry-after")
_MEDIA_TYPES = ("application/json", "application/vnd.api+json", "text/html", "text/plain")
_ANOTHER = "another value"


def describe(exchanges: Sequence[Exchange], asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the report. ``asked``: service -> ``asked``, or why it was not."""
    by_endpoint: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        by_endpoint[exchange.endpoint].append(exchange)
    return {
        "format": FORMAT,
        "services": dict(asked),
        "endpoints": {name: _endpoint(name, by_endpoint[name]) for name in ENDPOINTS if by_endpoint[name]},
        "facts": facts(exchanges),
    }


def as_text(value: Any, depth: int = 0) -> str:
    """Return the report as JSON for people: what belongs to one place of the answers is one line."""
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if depth >= _DEEPEST_INDENT or not any(isinstance(item, dict) for item in items):
        return json.dumps(value, ensure_ascii=False)
    inner = " " * (depth + 1)
    if isinstance(value, list):
        rows = [inner + json.dumps(row, ensure_ascii=False) for row in value]
        return "[\n" + ",\n".join(rows) + "\n" + " " * depth + "]"
    members = [
        f"{inner}{json.dumps(name, ensure_ascii=False)}: {as_text(item, depth + 1)}" for name, item in value.items()
    ]
    return "{\n" + ",\n".join(members) + "\n" + " " * depth + "}"


_DEEPEST_INDENT = 4


def _endpoint(name: str, exchanges: Sequence[Exchange]) -> dict[str, Any]:
    fold = Fold(ENDPOINTS[name].contract)
    for exchange in exchanges:
        if exchange.is_success:
            fold.add(exchange.data)
    answered = [exchange for exchange in exchanges if exchange.status is not None]
    described: dict[str, Any] = {
        "requests": len(exchanges),
        "statuses": _counts(str(exchange.status or "none") for exchange in exchanges),
        "milliseconds": _spread([exchange.milliseconds for exchange in answered]),
        "bytes": _spread([exchange.size for exchange in answered]),
        "headers": _header_names(answered),
        "media types": _counts(_media_type(exchange.headers) for exchange in answered),
        "shape": fold.as_json(),
    }
    if problems := _counts(exchange.problem for exchange in exchanges if exchange.problem):
        described["problems"] = problems
    if limits := _rate_limits(answered):
        described["rate limits"] = limits
    if revisions := _counts(_revision(exchange.headers) for exchange in answered if "revision" in exchange.headers):
        described["revisions"] = revisions
    return described


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _spread(numbers: Sequence[int]) -> list[int]:
    """Return the least, the middle and the largest."""
    ordered = sorted(numbers)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []


def _header_names(exchanges: Sequence[Exchange]) -> dict[str, int]:
    """Return the names of headers with the number of answers that had them. Unusual names are one entry."""
    names = Counter(name for exchange in exchanges for name in exchange.headers if _HEADER_NAME.fullmatch(name))
    shown = dict(sorted(names.most_common(_MOST_NAMES)))
    others = sum(1 for exchange in exchanges for name in exchange.headers if name not in shown)
    return shown | ({"another name": others} if others else {})


def _media_type(headers: Mapping[str, str]) -> str:
    kind, _, more = headers.get("content-type", "").lower().partition(";")
    if not kind:
        return "none"
    charset = "; charset=utf-8" if re.search(r"charset=\"?utf-8", more) else ""
    return kind.strip() + charset if kind.strip() in _MEDIA_TYPES else _ANOTHER


def _revision(headers: Mapping[str, str]) -> str:
    return REVISION if headers["revision"].strip() == REVISION else _ANOTHER


def _rate_limits(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return the headers about limits: those that stay as they are; of those that move the least and most."""
    texts: dict[str, list[str]] = defaultdict(list)
    for exchange in exchanges:
        for name, value in exchange.headers.items():
            if _LIMIT_NAME.fullmatch(name):
                is_numbers = _LIMIT_VALUE.fullmatch(value.strip())
                texts[name].append(value.strip() if is_numbers else f"{_ANOTHER}, {len(value)} characters")
    return {name: _moving(values) if _MOVING.fullmatch(name) else _counts(values) for name, values in texts.items()}


def _moving(values: Sequence[str]) -> list[float] | dict[str, int]:
    try:
        numbers = sorted(float(value) for value in values)
    except ValueError:
        return _counts("another value" for _ in values)
    return [numbers[0], numbers[-1]]


# -- facts that no single answer shows ---------------------------------------------------------------


def facts(exchanges: Sequence[Exchange]) -> dict[str, int]:
    """Return counts over several answers, such as attendees that a book lists and whose answer is about another id."""
    good = [exchange for exchange in exchanges if exchange.is_success]
    return {**_facts_of_books(good), **_facts_of_attendees(good), **_facts_of_klaviyo(good)}


def _facts_of_books(good: Sequence[Exchange]) -> dict[str, int]:
    books = [exchange for exchange in good if exchange.endpoint == known.BOOK.name]
    ids = [(book.event, book_ids(book.data)) for book in books]
    by_event: dict[int, set[int]] = defaultdict(set)
    for event, listed in ids:
        by_event[event] |= set(listed)
    return {
        "events read": len({exchange.event for exchange in good if exchange.event}),
        "books read": len(books),
        "ids in books": sum(map(len, by_event.values())),
        "ids twice in one book": sum(len(listed) - len(set(listed)) for _, listed in ids),
        "books that lack people of another book of their event": sum(
            set(listed) != by_event[event] for event, listed in ids
        ),
        "ids in books of two events": sum(
            len(first & second) for first, second in combinations([by_event[event] for event in sorted(by_event)], 2)
        ),
    }


def _facts_of_attendees(good: Sequence[Exchange]) -> dict[str, int]:
    answers = [(exchange, exchange.data) for exchange in good if exchange.endpoint == known.ATTENDEE.name]
    attendees = [(exchange, data) for exchange, data in answers if isinstance(data, dict)]
    return {
        "attendees read": len(attendees),
        "attendees with another id than asked for": sum(
            str(data["id"]) != one.asked for one, data in attendees if "id" in data
        ),
        "attendees in a book and not paid": sum(data.get("is_paid") is False for _, data in attendees),
        "attendees in a book and cancelled": sum(data.get("state") == "cancelled" for _, data in attendees),
        "attendees without a contact address": sum(not _has_contact(data.get("data")) for _, data in attendees),
        "labels longer than 200 characters": sum(
            len(label) > _CUT_AT for _, data in attendees for label in _labels(data.get("data"))
        ),
    }


_CUT_AT = 200  # characters of a label; KKTIX cuts longer ones
_ADDRESS_LABELS = ("聯絡人 Email", "Contact Email")


def _labels(form: Any) -> list[str]:
    rows = form if isinstance(form, list) else []
    return [row[0] for row in rows if isinstance(row, list) and row and isinstance(row[0], str)]


def _has_contact(form: Any) -> bool:
    return any(label in _ADDRESS_LABELS for label in _labels(form))


def _facts_of_klaviyo(good: Sequence[Exchange]) -> dict[str, int]:
    by_id = (
        of_klaviyo.CAMPAIGN,
        of_klaviyo.SEND_JOB,
        of_klaviyo.ESTIMATE_JOB,
        of_klaviyo.ESTIMATE,
        of_klaviyo.TEMPLATE,
    )
    names = {endpoint.name for endpoint in by_id}
    pages = [exchange.data for exchange in good if exchange.endpoint == of_klaviyo.LISTS.name]
    lists = [str(row.get("id")) for page in pages for row in _rows(page)]
    asked_by_id = [exchange for exchange in good if exchange.endpoint in names]
    return {
        "asked by id": len(asked_by_id),
        "answers under another id than asked for": sum(
            _id_of(one.data) not in (None, one.asked) for one in asked_by_id
        ),
        "pages of lists": len(pages),
        "lists on two pages": len(lists) - len(set(lists)),
    }


def _rows(page: Any) -> list[dict[str, Any]]:
    rows = page.get("data") if isinstance(page, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _id_of(document: Any) -> str | None:
    data = document.get("data") if isinstance(document, dict) else None
    return str(data["id"]) if isinstance(data, dict) and "id" in data else None
