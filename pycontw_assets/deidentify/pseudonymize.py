"""Attendees to rows without personal data, by the policy. Pure: no file, no clock, no log, no change to the input.

Names, addresses and answers exist here only on their way into a digest. Rules belong in ``policy.yaml``.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pycontw_assets.deidentify.policy import Column, ColumnType, FormRule, Policy, load_policy
from pycontw_assets.pseudonyms import Pseudonymizer, normalise_address, normalise_phone, normalise_text
from pycontw_assets.records import AttendeeRecord, EventPartition

if TYPE_CHECKING:
    import pandas as pd

_NORMALISERS: Mapping[str, Callable[[str], str]] = {
    "address": normalise_address,
    "phone": normalise_phone,
    "text": normalise_text,
}
_DTYPES: Mapping[ColumnType, str] = {
    "BOOL": "boolean",
    "FLOAT64": "Float64",
    "INT64": "Int64",
    "STRING": "string[python]",
    "TIMESTAMP": "datetime64[us, UTC]",
}
_Cell = Callable[[AttendeeRecord, EventPartition, Mapping[str, Any]], Any]
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_SEVERAL_KEPT = "; "  # between the choices of one answer
_LONGEST_QUESTION = 200  # characters of a question that are stored
# It begins where a word begins. Without that, a long word is searched from each of its characters to its end.
_ADDRESS_LIKE = re.compile(r"(?<!\S)\S*@\S*")
_NUMBER_LIKE = re.compile(r"(?<!\d)(?!20\d\d(?!\d))\d(?:[ -]?\d){3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """The rows of one partition, and counts of the answers that no rule lets through."""

    frame: pd.DataFrame
    unknown_questions: Mapping[str, int]  # question text -> answers; a person should add a rule
    unlisted_answers: Mapping[str, int]  # kept column -> answers outside its choices; a person should add a choice
    repeated_answers: Mapping[str, int]  # column -> further answers to a question that was asked more than once


def deidentify(
    records: Iterable[AttendeeRecord],
    partition: EventPartition,
    pseudonymizer: Pseudonymizer,
    *,
    policy: Policy | None = None,
) -> Deidentified:
    """Return one row per attendee, in the given order, with every column of the policy.

    ``records`` may be an iterator: each is used once. ``policy`` is that of ``policy.yaml`` unless given.
    """
    import pandas as pd

    policy = policy or load_policy()
    form = _Form(policy, pseudonymizer)
    values: dict[str, list[Any]] = {column.name: [] for column in policy.columns}
    cells = [(values[column.name].append, _cell(column, policy)) for column in policy.columns]
    for record in records:
        answers = form.answers_of(record)
        for put, value in cells:
            put(value(record, partition, answers))
    # The values of a column are dropped as soon as its series is there.
    series = {c.name: pd.Series(values.pop(c.name), dtype=_DTYPES[c.type]) for c in policy.columns}
    return Deidentified(
        frame=pd.DataFrame(series),
        unknown_questions=dict(form.unknown),
        unlisted_answers=dict(form.unlisted),
        repeated_answers=dict(form.repeated),
    )


def answer_text(value: Any) -> str | None:
    """Return any JSON value as normalised text; ``None`` for an empty one."""
    if isinstance(value, str):
        return normalise_text(_encodable(value)) or None
    if value is None or value in ([], {}):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | tuple):
        return "; ".join(text for item in value if (text := answer_text(item))) or None
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return normalise_text(_encodable(str(value)))


def question_text(label: str) -> str:
    """Return a label as it may be stored: without addresses and long numbers, in case the organiser wrote one there."""
    text = " ".join(normalise_text(_encodable(label)).split())
    return _NUMBER_LIKE.sub("#", _ADDRESS_LIKE.sub("@", text))[:_LONGEST_QUESTION]


class _Form:
    """Sort the answers of many attendees into columns, and count the answers that are held back."""

    def __init__(self, policy: Policy, pseudonymizer: Pseudonymizer) -> None:
        self._pseudonymizer = pseudonymizer
        self.unknown: Counter[str] = Counter()
        self.unlisted: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self._rule_for = functools.lru_cache(maxsize=10_000)(policy.rule_for)
        self._question_text = functools.lru_cache(maxsize=10_000)(question_text)
        self._rules = {rule.column: rule for rule in policy.form}
        self._policy = policy
        self._choices = functools.lru_cache(maxsize=10_000)(self._kept_and_rest)
        # Many give the same company or job title.
        self._digest_of = functools.lru_cache(maxsize=10_000)(self._normalised_digest)

    def answers_of(self, record: AttendeeRecord) -> dict[str, Any]:
        """Return column -> value for the answers of one attendee. A repeated question keeps its first answer."""
        row: dict[str, Any] = {}
        held_back = list(self._unlisted_fields(record))
        for label, value in record.attendee.answers:
            text = answer_text(value)
            if text is None:
                continue
            rule = self._rule_for(label)
            if rule is not None and rule.action == "drop":
                continue
            for rest in self._place(row, rule, label=label, text=text):
                if digest := self._digest(rest, rule):
                    held_back.append({"question": self._question_text(label), "answer_sha256": digest})
        if held_back:
            row["unclassified_answers"] = json.dumps(held_back, ensure_ascii=False)
        return row

    def _unlisted_fields(self, record: AttendeeRecord) -> Iterator[dict[str, str]]:
        """Yield the payload's texts that are none of their choices, as digests."""
        for column, choices in self._policy.vocabularies.items():
            text = answer_text(getattr(record.attendee, column))
            if text is not None and getattr(record.attendee, column) not in choices:
                self.unlisted[column] += 1
                yield {"question": column, "answer_sha256": self._pseudonymizer.digest(text)}

    def _place(self, row: dict[str, Any], rule: FormRule | None, *, label: str, text: str) -> Sequence[str]:
        """Put an answer into its column, and return the parts of it that have no column."""
        if rule is None or rule.column is None:
            self.unknown[self._question_text(label)] += 1
            return [text]
        if rule.column in row:
            self.repeated[rule.column] += 1
            return [text]
        if rule.action == "hash":
            if digest := self._digest(text, rule):
                row[rule.column] = digest
            return ()
        row[rule.column], unlisted = self._choices(rule.column, text)
        if unlisted:
            self.unlisted[rule.column] += 1
        return unlisted

    def _kept_and_rest(self, column: str, text: str) -> tuple[bool | str | None, Sequence[str]]:
        rule = self._rules[column]
        listed, rest = self._policy.choices(rule, text)
        if not listed:
            return None, rest
        return (listed[0] == "yes" if rule.type == "BOOL" else _SEVERAL_KEPT.join(listed)), rest

    def _digest(self, text: str, rule: FormRule | None) -> str | None:
        return self._digest_of(text, rule.hash_as if rule and rule.hash_as else "text")

    def _normalised_digest(self, text: str, kind: str) -> str | None:
        """Normalise by the kind of question, then digest. Nothing is left of a "phone" without digits."""
        normalised = _NORMALISERS[kind](text)
        return self._pseudonymizer.digest(normalised) if normalised else None


def _cell(column: Column, policy: Policy) -> _Cell:
    """Return the function that reads a column's value from a record, its event and its answers."""
    name, typed = column.name, _TYPED[column.type]
    if name in _PIPELINE:
        return _PIPELINE[name]
    if name in policy.vocabularies:
        choices = policy.vocabularies[name]
        return lambda record, _event, _answers: found if (found := getattr(record.attendee, name)) in choices else None
    if column.source.startswith("payload: "):
        return lambda record, _event, _answers: typed(getattr(record.attendee, name))
    return lambda _record, _event, answers: answers.get(name)


_PIPELINE: Mapping[str, _Cell] = {
    "partition_key": lambda record, event, answers: event.key,
    "edition": lambda record, event, answers: event.edition,
    "family": lambda record, event, answers: event.family,
    "event_id": lambda record, event, answers: event.event_id,
    "is_usable": lambda record, event, answers: record.is_usable,
    "is_cancelled": lambda record, event, answers: record.gone_at is not None or record.attendee.state == "cancelled",
    "first_seen_at": lambda record, event, answers: record.first_seen_at,
    "gone_at": lambda record, event, answers: record.gone_at,
    "ordered_at": lambda record, event, answers: record.first_seen_at,
    "ordered_at_certainty": lambda record, event, answers: certainty(record.first_seen_at, record.listed_after),
    "paid_at": lambda record, event, answers: record.paid_seen_at,
    "paid_at_certainty": lambda record, event, answers: _paid_at_certainty(record),
}


def certainty(seen_at: datetime, not_before: datetime | None) -> str:
    """Say how far before ``seen_at`` it may have happened: within the ``hour``, the ``day``, or ever (``at_latest``).

    ``not_before``: the last moment at which it had not happened yet; ``None``: nobody knows one.
    """
    if not_before is None or not_before > seen_at or seen_at - not_before > _DAY:
        return "at_latest"
    return "hour" if seen_at - not_before <= _HOUR else "day"


def _paid_at_certainty(record: AttendeeRecord) -> str | None:
    if record.paid_seen_at is None:
        return "unknown" if record.attendee.is_paid else None  # an older version did not write it down
    return certainty(record.paid_seen_at, record.paid_seen_after)


def _encodable(text: str) -> str:
    """Replace lone surrogates and drop NUL. JSON can spell both, but neither UTF-8 nor a table can hold them."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _text(value: Any) -> str | None:
    return None if value is None else _encodable(str(value))


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _integer(value: Any) -> int | None:
    """Return ``None`` (NULL) for a number that no integer of a warehouse can hold."""
    return None if value is None or not -(2**63) <= value < 2**63 else int(value)


def _moment(value: Any) -> datetime | None:
    """Return the moment of a Unix time in seconds; ``None`` (NULL) for one outside the calendar."""
    try:
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


_TYPED: Mapping[ColumnType, Callable[[Any], Any]] = {
    "BOOL": lambda value: value,
    "FLOAT64": _number,
    "INT64": _integer,
    "STRING": _text,
    "TIMESTAMP": _moment,
}
