"""Sort the answers of many attendees into columns, and count what is kept and what is held back.

Names, addresses and answers exist here only on their way into a digest or a number.
"""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from pycontw_assets.deidentify.policy import FormRule, Policy
from pycontw_assets.pseudonyms import Pseudonymizer, normalise_address, normalise_phone, normalise_text
from pycontw_assets.records import AttendeeRecord

_NORMALISERS: Mapping[str, Callable[[str], str]] = {
    "address": normalise_address,
    "phone": normalise_phone,
}
_SEVERAL_KEPT = "; "  # between the choices of one answer
_LONGEST_QUESTION = 200  # characters of a question that are stored
_DISTINCT_ANSWERS = 10_000  # of one question that are remembered
# It begins where a word begins. Without that, a long word is searched from each of its characters to its end.
_ADDRESS_LIKE = re.compile(r"(?<!\S)\S*@\S*")
_NUMBER_LIKE = re.compile(r"(?<!\d)(?!20\d\d(?!\d))\d(?:[ -]?\d){3,}")


def encodable(text: str) -> str:
    """Replace lone surrogates and drop NUL. JSON can spell both, but neither UTF-8 nor a table can hold them."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def answer_text(value: Any) -> str | None:
    """Return any JSON value as normalised text; ``None`` for an empty one."""
    if isinstance(value, str):
        return normalise_text(encodable(value)) or None
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
    return normalise_text(encodable(str(value)))


def question_text(label: str) -> str:
    """Return a label as it may be stored: without addresses and long numbers, in case the organiser wrote one there."""
    text = " ".join(normalise_text(encodable(label)).split())
    return _NUMBER_LIKE.sub("#", _ADDRESS_LIKE.sub("@", text))[:_LONGEST_QUESTION]


def looks_personal(text: str) -> bool:
    """Whether a text holds something like an address or a long number."""
    return bool(_ADDRESS_LIKE.search(text) or _NUMBER_LIKE.search(text))


class Placement:
    """An answer to a kept question: the columns that take it, and the parts that no column takes."""

    __slots__ = ("column", "rest", "values")

    def __init__(self, column: str, values: Mapping[str, bool | str | None], rest: list[str]) -> None:
        self.column = column  # the one that is counted
        self.values = values
        self.rest = rest


def place_answer(policy: Policy, rule: FormRule, text: str) -> Placement:
    """Return what becomes of an answer: each rule of the question takes the choices that it lists.

    The parts that are left are those of the rule that leaves the fewest.
    """
    values: dict[str, bool | str | None] = {}
    column, least = str(rule.column), None
    for member in policy.rules_of(rule):
        listed, rest = policy.choices_of(member).find(text)
        if listed:
            name = str(member.column)
            values[name] = listed[0] == "yes" if member.type == "BOOL" else _SEVERAL_KEPT.join(listed)
        if least is None or len(rest) < len(least):
            column, least = str(member.column), rest
    return Placement(column, values or {column: None}, least or [])


class _Question(Protocol):
    def put(self, row: dict[str, Any], value: Any) -> list[dict[str, str]] | None:
        """Put an answer into its columns, and return what is held back of it."""


class Form:
    """The questions of a form, each with the columns of its answers. Counts grow with every attendee."""

    def __init__(self, policy: Policy, pseudonymizer: Pseudonymizer) -> None:
        self._pseudonymizer = pseudonymizer
        self._policy = policy
        self._questions: dict[str, _Question | None] = {}
        self._vocabularies = tuple(policy.vocabularies.items())
        self.digest_of_text = functools.lru_cache(maxsize=_DISTINCT_ANSWERS)(pseudonymizer.digest)
        self.answered: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.unlisted: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()

    def answers_of(self, record: AttendeeRecord) -> dict[str, Any]:
        """Return column -> value for the answers of one attendee. A repeated question keeps its first answer."""
        row: dict[str, Any] = {}
        held_back: list[dict[str, str]] = []
        for column, choices in self._vocabularies:
            value = getattr(record.attendee, column)
            if value not in choices:
                held_back += self._unlisted_field(column, value)
        questions = self._questions
        for label, value in record.attendee.answers:
            if value is None or value == "":
                continue
            try:
                question = questions[label]
            except KeyError:
                question = questions[label] = self._question(label)
            if question is not None and (rest := question.put(row, value)):
                held_back += rest
        if held_back:
            row["unclassified_answers"] = json.dumps(held_back, ensure_ascii=False)
        return row

    def _question(self, label: str) -> _Question | None:
        rule = self._policy.rule_for(label)
        if rule is None:
            return _Unknown(self, question_text(label))
        if rule.action == "drop":
            return None
        return (_Hashed if rule.action == "hash" else _Kept)(self, question_text(label), rule, self._policy)

    def _unlisted_field(self, column: str, value: Any) -> Iterator[dict[str, str]]:
        """Yield a text of the payload that is none of its choices, as a digest."""
        text = answer_text(value)
        if text is not None:
            self.unlisted[column] += 1
            yield {"question": column, "answer_sha256": self._pseudonymizer.digest(text)}

    def held_back(self, question: str, parts: list[str]) -> list[dict[str, str]]:
        """Return parts of an answer as question text and digest."""
        return [{"question": question, "answer_sha256": self.digest_of_text(part)} for part in parts if part]

    def digest(self, text: str, kind: str) -> str | None:
        """Normalise by the kind of question, then digest. Nothing is left of a "phone" without digits."""
        normalised = text if kind == "text" else _NORMALISERS[kind](text)  # an answer's text is normalised already
        return self._pseudonymizer.digest(normalised) if normalised else None


class _Unknown:
    """A question without a rule."""

    def __init__(self, form: Form, question: str) -> None:
        self._form = form
        self._question = question

    def put(self, row: dict[str, Any], value: Any) -> list[dict[str, str]] | None:
        text = answer_text(value)
        if text is None:
            return None
        self._form.unknown[self._question] += 1
        return self._form.held_back(self._question, [text])


class _Hashed:
    """A question whose answer becomes a digest, and for some a number."""

    def __init__(self, form: Form, question: str, rule: FormRule, policy: Policy) -> None:
        self._form = form
        self._question = question
        self._column = str(rule.column)
        self._kind = rule.hash_as or "text"
        self._category = rule.category
        self._class_of = policy.dictionaries[rule.category].class_of if rule.category else None

    def put(self, row: dict[str, Any], value: Any) -> list[dict[str, str]] | None:
        text = answer_text(value)
        if text is None:
            return None
        if self._column in row:
            self._form.repeated[self._column] += 1
            digest = self._form.digest(text, self._kind)
            return [{"question": self._question, "answer_sha256": digest}] if digest else None
        if self._class_of and self._category:
            row[self._category] = self._class_of(text)
            row[self._column] = self._form.digest_of_text(text)  # many give the same
        elif digest := self._form.digest(text, self._kind):
            row[self._column] = digest
        return None


class _Kept:
    """A question whose answers are kept where they are listed. Few answers are given often, so each is placed once."""

    def __init__(self, form: Form, question: str, rule: FormRule, policy: Policy) -> None:
        self._form = form
        self._question = question
        self._rule = rule
        self._policy = policy
        self._placed: dict[str, Placement] = {}

    def put(self, row: dict[str, Any], value: Any) -> list[dict[str, str]] | None:
        # A list or number by its text. A text as it is: normalising it costs more than looking it up.
        given = value if isinstance(value, str) else answer_text(value)
        if given is None:
            return None
        placement = self._placed.get(given)
        if placement is None:
            text = answer_text(given)
            if text is None:
                return None
            placement = self._place(text, given)
        form, column = self._form, placement.column
        for name in placement.values:
            if name in row:
                form.repeated[column] += 1
                return form.held_back(self._question, [answer_text(value) or ""])
        row.update(placement.values)
        form.answered[column] += 1
        if placement.rest:
            form.unlisted[column] += 1
            return form.held_back(self._question, placement.rest)
        return None

    def _place(self, text: str, given: str) -> Placement:
        placement = place_answer(self._policy, self._rule, text)
        if len(self._placed) < _DISTINCT_ANSWERS:
            self._placed[given] = placement
        return placement
