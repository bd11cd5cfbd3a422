"""Query strings: the filter grammar, sorting, paging, sparse fields, includes. Everything else is a 400."""

from __future__ import annotations

import base64
import json
import operator
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from pycontw_assets.sandbox.klaviyo.errors import ApiError, bad_query
from pycontw_assets.sandbox.wire import Call

T = TypeVar("T")

_PROFILE_FIELDS = (
    "created email external_id first_name id image last_event_date last_name locale location organization "
    "phone_number predictive_analytics properties subscriptions title updated joined_group_at"
)
_FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "account": "contact_information id industry locale preferred_currency public_api_key test_account timezone",
        "list": "created id name opt_in_process updated profile_count",
        "profile": _PROFILE_FIELDS,
        "template": "amp created definition editor_type html id name text updated",
        "campaign": "archived audiences created_at id name scheduled_at send_options send_strategy send_time status "
        "tracking_options updated_at",
        "campaign-message": "channel content created_at definition id label render_options send_times updated_at",
        "campaign-send-job": "id status",
        "campaign-recipient-estimation-job": "id status",
        "campaign-recipient-estimation": "estimated_recipient_count id",
        "profile-bulk-import-job": "completed_at completed_count created_at expires_at failed_count id started_at "
        "status total_count",
        "import-error": "code detail id original_payload source title",
        "campaign-values-report": "id results",
        "event": "datetime event_properties id timestamp uuid",
        "flow": "archived created id name status trigger_type updated",
        "metric": "created id integration name updated",
    }.items()
}

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "any": lambda value, choices: value in choices,
    "contains-any": lambda value, choices: value in choices,
    "contains": lambda value, part: part in (value or ""),
    "greater-than": operator.gt,
    "greater-or-equal": operator.ge,
    "less-than": operator.lt,
    "less-or-equal": operator.le,
}
_WORD = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[(),\[\]]|[^\s(),\[\]"']+)\s*""")
_CASELESS = frozenset({"email"})
_OF_LISTS = ("any", "contains-any")
_MOST_CHOICES = 100


@dataclass(frozen=True)
class Condition:
    field: str
    operator: str
    value: Any

    def holds(self, value: Any) -> bool:
        if self.field in _CASELESS:
            value = str(value or "").lower()
        if value is None:
            return False
        return _COMPARE[self.operator](value, self.value)


class _FilterReader:
    """Read ``op(field,value)``, joined by commas or ``and(...)``: the only filters of these endpoints."""

    def __init__(self, text: str, allowed: Mapping[str, Sequence[str]]) -> None:
        self._allowed = allowed
        self._words = self._split(text)

    def _split(self, text: str) -> list[str]:
        words, position = [], 0
        while position < len(text):
            if (match := _WORD.match(text, position)) is None:
                raise bad_query("The filter cannot be read.", "filter")
            words.append(match.group(1))
            position = match.end()
        return words

    def read(self) -> list[Condition]:
        conditions = self._expression()
        while self._words:
            self._expect(",")
            conditions += self._expression()
        return conditions

    def _next(self) -> str:
        if not self._words:
            raise bad_query("The filter ends too early.", "filter")
        return self._words.pop(0)

    def _expect(self, word: str) -> None:
        if self._next() != word:
            raise bad_query(f"The filter lacks a {word!r}.", "filter")

    def _expression(self) -> list[Condition]:
        name = self._next()
        self._expect("(")
        if name != "and":
            return [self._condition(name)]
        conditions = self._expression()
        while (word := self._next()) == ",":
            conditions += self._expression()
        if word != ")":
            raise bad_query("The filter lacks a ')'.", "filter")
        return conditions

    def _condition(self, name: str) -> Condition:
        subject = self._next()
        if name not in self._allowed.get(subject, ()):
            raise bad_query(f"{name} on {subject} is not a supported filter.", "filter")
        self._expect(",")
        is_range = name not in ("equals", "contains", *_OF_LISTS)
        value = self._values() if name in _OF_LISTS else _literal(self._next(), is_range)
        self._expect(")")
        if name == "contains-any" and len(value) > _MOST_CHOICES:
            raise bad_query(f"At most {_MOST_CHOICES} items per list.", "filter")
        if subject in _CASELESS:
            value = [str(v).lower() for v in value] if name in _OF_LISTS else str(value).lower()
        return Condition(subject, name, value)

    def _values(self) -> list[Any]:
        self._expect("[")
        values: list[Any] = []
        while (word := self._next()) != "]":
            if word != ",":
                values.append(_literal(word, is_range=False))
        return values


def read_filter(text: str, allowed: Mapping[str, Sequence[str]]) -> list[Condition]:
    """Read a filter; an empty one has no conditions."""
    return _FilterReader(text, allowed).read() if text else []


def _literal(word: str, is_range: bool) -> Any:
    """Read a quoted text, a boolean, or for ranges an unquoted time with its zone."""
    if word[0] in "\"'":
        if is_range:
            raise bad_query("A time is written without quotes.", "filter")
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    if is_range:
        try:
            moment = datetime.fromisoformat(word.replace("Z", "+00:00"))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise bad_query("This is not a time with a zone.", "filter")
        return moment
    if word in ("true", "false"):
        return word == "true"
    raise bad_query("A text is written in quotes.", "filter")


@dataclass(frozen=True, kw_only=True)
class Query:
    """A parsed query string."""

    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    include: frozenset[str] = frozenset()
    additional: frozenset[str] = frozenset()
    conditions: tuple[Condition, ...] = ()
    sort: str = ""
    size: int = 0
    cursor: str = ""
    raw: tuple[tuple[str, str], ...] = ()

    def filters_on(self, subject: str) -> bool:
        return any(condition.field == subject for condition in self.conditions)

    def keeps(self, value_of: Callable[[str], Any]) -> bool:
        return all(condition.holds(value_of(condition.field)) for condition in self.conditions)


@dataclass(frozen=True, kw_only=True)
class Accepts:
    """The query parameters that an endpoint accepts."""

    fields: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    additional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    filters: Mapping[str, Sequence[str]] | None = None
    sorts: tuple[str, ...] = ()
    page_maximum: int = 0
    page_default: int = 0
    cursor: bool = False

    def read(self, call: Call) -> Query:
        pairs = parse_qsl(call.query, keep_blank_values=True)
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise bad_query("A parameter is given twice.", "query")
        if unknown := sorted(parameters.keys() - self._parameter_names()):
            raise bad_query(f"{unknown[0]} is not a parameter of this endpoint.", unknown[0])
        conditions = _FilterReader(parameters["filter"], self.filters or {}).read() if "filter" in parameters else []
        return Query(
            fields={
                kind: self._read_fields(kind, parameters) for kind in self.fields if f"fields[{kind}]" in parameters
            },
            include=_choices(parameters, "include", self.include),
            additional=frozenset().union(
                *(_choices(parameters, f"additional-fields[{kind}]", names) for kind, names in self.additional.items())
            ),
            conditions=tuple(conditions),
            sort=self._read_sort(parameters),
            size=self._read_size(parameters),
            cursor=parameters.get("page[cursor]", ""),
            raw=tuple(pairs),
        )

    def _parameter_names(self) -> set[str]:
        names = {f"fields[{kind}]" for kind in self.fields}
        names |= {f"additional-fields[{kind}]" for kind in self.additional}
        names |= {"include"} if self.include else set()
        names |= {"filter"} if self.filters is not None else set()
        names |= {"sort"} if self.sorts else set()
        names |= {"page[size]"} if self.page_maximum else set()
        names |= {"page[cursor]"} if self.cursor or self.page_maximum else set()
        return names

    def _read_fields(self, kind: str, parameters: Mapping[str, str]) -> frozenset[str]:
        fields = frozenset(name.partition(".")[0] for name in parameters[f"fields[{kind}]"].split(","))
        if unknown := sorted(fields - _FIELDS[kind]):
            raise bad_query(f"{unknown[0]!r} is not a field of {kind}.", f"fields[{kind}]")
        return fields

    def _read_sort(self, parameters: Mapping[str, str]) -> str:
        sort = parameters.get("sort", "")
        if sort and sort.removeprefix("-") not in self.sorts:
            raise bad_query("This sort order is not supported.", "sort")
        return sort

    def _read_size(self, parameters: Mapping[str, str]) -> int:
        text = parameters.get("page[size]", str(self.page_default or self.page_maximum))
        if self.page_maximum and not (text.isdigit() and 1 <= int(text) <= self.page_maximum):
            raise bad_query(f"Page size must be between 1 and {self.page_maximum}.", "page[size]")
        return int(text)


def _choices(parameters: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> frozenset[str]:
    choices = frozenset(parameters[name].split(",")) if name in parameters else frozenset()
    if unknown := sorted(choices - set(allowed)):
        raise bad_query(f"{unknown[0]!r} is not available here.", name)
    return choices


def page(
    items: Sequence[T], *, query: Query, call: Call, key: Callable[[T], tuple[Any, str]]
) -> tuple[list[T], dict[str, str | None]]:
    """Return one page of the items, sorted by ``key``, and its links.

    A cursor names the last shown item, not a position: added or deleted items do not shift the next page.
    """
    ordered = sorted(items, key=key, reverse=query.sort.startswith("-"))
    if query.cursor:
        last = _read_cursor(query.cursor)
        beyond = operator.lt if query.sort.startswith("-") else operator.gt
        ordered = ordered[bisect_left(ordered, True, key=lambda item: beyond(_mark(key(item)), last)) :]
    shown = ordered[: query.size]
    here = call.base_url + call.path
    links: dict[str, str | None] = {
        "self": here + (f"?{urlencode(query.raw)}" if query.raw else ""),
        "next": None,
        "prev": None,
    }
    if len(ordered) > len(shown):
        cursor = base64.urlsafe_b64encode(json.dumps(_mark(key(shown[-1]))).encode()).decode()
        others = [(name, value) for name, value in query.raw if name != "page[cursor]"]
        links["next"] = f"{here}?{urlencode([*others, ('page[cursor]', cursor)])}"
    return shown, links


def _mark(key: tuple[Any, str]) -> list[str]:
    """Return a sort key as text in the same order: UTC times at a fixed width, everything else unchanged."""
    first = key[0].strftime("%Y%m%d%H%M%S.%f") if isinstance(key[0], datetime) else str(key[0])
    return [first, key[1]]


def _read_cursor(cursor: str) -> list[str]:
    try:
        mark = json.loads(base64.urlsafe_b64decode(cursor))
        return [str(part) for part in mark]
    except (ValueError, TypeError):
        raise ApiError(400, *bad_query("This cursor was not issued here.", "page[cursor]").problems) from None
