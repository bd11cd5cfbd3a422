"""The field policy, read from ``policy.yaml``: the rule of a form label, the choices of a column, the columns.

Rules are data, so none is written here. ``pseudonymize`` applies them to attendees. An installation may add its own
rules (``additions``), for which it needs no change of the package.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from pycontw_assets.deidentify.additions import PolicyFileError, read_additions, with_additions
from pycontw_assets.deidentify.categories import Dictionary, load_dictionaries
from pycontw_assets.deidentify.choices import AmbiguousChoice, Choices
from pycontw_assets.deidentify.wording import normalise_label, without_blanks
from pycontw_assets.deidentify.yaml_text import read_yaml

ColumnType = Literal["BOOL", "FLOAT64", "INT64", "STRING", "TIMESTAMP"]

CONTACT_ADDRESS_COLUMN = "email_sha256"  # the rule of this column names the labels of the contact address
CUT_LABEL_LENGTH = 200  # KKTIX cuts longer labels here (seen in exports)
_LEAST_CUT_MATCH = 100  # characters of a cut label that must match, without its last, possibly broken word


class PolicyError(ValueError):
    """``policy.yaml`` contradicts itself. The text names the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the rows: its name, type and meaning, and the field or question it comes from."""

    name: str
    type: ColumnType
    description: str
    source: str


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PipelineField(_Entry):
    """A column that the pipeline adds."""

    type: ColumnType
    description: str


class PayloadField(_Entry):
    """A field of the KKTIX attendee. A kept text is one of ``choices``, or ``open``: the organiser's own words."""

    action: Literal["keep", "drop", "form"]
    description: str
    column: str | None = None
    type: ColumnType | None = None
    choices: tuple[str, ...] = ()
    open: bool = False

    @model_validator(mode="after")
    def _a_kept_field_has_a_type(self) -> PayloadField:
        if (self.action == "keep") != (self.type is not None):
            raise ValueError("keep needs a type, drop and form have none")
        if (self.type == "STRING") != (bool(self.choices) != self.open):
            raise ValueError("a kept text, and nothing else, needs either `choices` or `open`")
        return self


class FormRule(_Entry):
    """The rule for the answers to one question, in all its wordings over the years.

    ``question_of``: the column whose question this rule answers, too; it takes the answers that it lists.
    ``category``: the dictionary that sorts the answers, and the column of the numbers.
    """

    action: Literal["keep", "hash", "drop"]
    description: str
    labels: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    column: str | None = None
    type: Literal["BOOL", "STRING"] = "STRING"
    hash_as: Literal["address", "phone", "text"] | None = None
    choices: Mapping[str, tuple[str, ...]] = {}
    pattern: str | None = None
    ignore: str | None = None
    multiple: bool = False
    question_of: str | None = None
    category: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_is_a_keyword(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {("hash_as" if name == "as" else name): value for name, value in data.items()}

    @model_validator(mode="after")
    def _is_consistent(self) -> FormRule:
        if (self.action == "drop") == bool(self.column):
            raise ValueError("keep and hash need a column, drop has none")
        if (self.action == "hash") != (self.hash_as is not None):
            raise ValueError("hash needs `as`, nothing else has it")
        if self.action == "hash" and not (self.column or "").endswith("_sha256"):
            raise ValueError("a hashed column ends in _sha256")
        return self

    @model_validator(mode="after")
    def _is_bounded(self) -> FormRule:
        bounded = self.type == "BOOL" or self.choices or self.pattern
        if self.action == "keep" and not bounded:
            raise ValueError("an answer is kept only as one of `choices`, by `pattern` or as BOOL")
        if self.type == "BOOL" and not {*self.choices} <= {"yes", "no"}:
            raise ValueError("a BOOL has no other choices than yes and no")
        if bool(self.labels) == bool(self.question_of):
            raise ValueError("a rule has either labels, or the column whose question it answers, too")
        return self


class _Document(_Entry):
    pipeline: Mapping[str, PipelineField]
    payload: Mapping[str, PayloadField]
    form: tuple[FormRule, ...]
    yes_no: Mapping[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _yes_and_no(self) -> _Document:
        if set(self.yes_no) != {"yes", "no"}:
            raise ValueError("yes_no lists the spellings of yes and of no")
        return self


class Policy:
    """The policy, indexed for look-up. It is immutable. ``version`` changes with any of its rules.

    ``dictionaries``: those that rules name as their category, and a text that changes with any of them.
    """

    def __init__(
        self, document: Mapping[str, Any], dictionaries: tuple[Mapping[str, Dictionary], str] | None = None
    ) -> None:
        try:
            parsed = _Document.model_validate(document)
        except ValidationError as error:
            raise PolicyError(f"policy: {_in_words(error, document)}") from None
        self.dictionaries, words = dictionaries or ({}, "")
        self.version = hashlib.sha256((parsed.model_dump_json() + words).encode()).hexdigest()[:12]
        self.payload = parsed.payload
        self.form = parsed.form
        # Column of the payload -> the only texts that it may hold.
        self.vocabularies: Mapping[str, frozenset[str]] = {
            field.column or name: frozenset(field.choices) for name, field in parsed.payload.items() if field.choices
        }
        self.columns: tuple[Column, ...] = tuple(_columns(parsed, self.dictionaries))
        _refuse_duplicates(column.name for column in self.columns)
        self._by_label: Mapping[str, FormRule] = _unambiguous(
            (without_blanks(normalise_label(label)), rule) for rule in parsed.form for label in rule.labels
        )
        self._patterns = [(re.compile(text), rule) for rule in parsed.form for text in rule.patterns]
        self._choices = {
            str(rule.column): _choices(rule, parsed.yes_no) for rule in parsed.form if rule.action == "keep"
        }
        self._further = _further_rules(parsed.form)

    def choices_of(self, rule: FormRule) -> Choices:
        """Return the choices of the column of a kept answer."""
        return self._choices[str(rule.column)]

    def rules_of(self, rule: FormRule) -> tuple[FormRule, ...]:
        """Return the rule, and those that take other answers to the same question."""
        return (rule, *self._further.get(str(rule.column), ()))

    def rule_for(self, label: str) -> FormRule | None:
        """Return the rule of a label; ``None`` when no rule or more than one fits."""
        wording = normalise_label(label)
        if rule := self._by_label.get(without_blanks(wording)):
            return rule
        matching = [rule for pattern, rule in self._patterns if pattern.fullmatch(wording)]
        if not matching and len(label) == CUT_LABEL_LENGTH:
            matching = self._rules_starting_with(wording)
        return matching[0] if matching and all(rule is matching[0] for rule in matching) else None

    def asks_for_contact_address(self, label: str) -> bool:
        """Whether the answer is the address that is invited: the one that ``email_sha256`` is made of."""
        rule = self.rule_for(label)
        return rule is not None and rule.column == CONTACT_ADDRESS_COLUMN

    def _rules_starting_with(self, wording: str) -> list[FormRule]:
        beginning = without_blanks(wording.rpartition(" ")[0])
        if len(beginning) < _LEAST_CUT_MATCH:
            return []
        return [rule for label, rule in self._by_label.items() if label.startswith(beginning)]


class _OfThisProcess:
    """The policy of this process: one for all stages, or rows and tables would differ."""

    policy: Policy | None = None


def load_policy() -> Policy:
    """Return the policy of ``policy.yaml``, with the installation's own rules where ``use_policy_file`` named them."""
    return _OfThisProcess.policy or _shipped_policy()


def use_policy_file(file: Path | None) -> None:
    """Let ``load_policy`` add the rules of a file; ``None``: none. Raise ``PolicyFileError``, and change nothing then.

    The composition root calls it with the settings.
    """
    _OfThisProcess.policy = None if file is None else _policy_with(file)


@functools.cache
def _shipped_policy() -> Policy:
    return Policy(_shipped_document(), load_dictionaries())


@functools.cache
def _shipped_document() -> Mapping[str, Any]:
    document: Mapping[str, Any] = read_yaml(files(__package__).joinpath("policy.yaml").read_text(encoding="utf-8"))
    return document


def _policy_with(file: Path) -> Policy:
    additions = read_additions(file)
    document = with_additions(_shipped_document(), additions, file, protected=(CONTACT_ADDRESS_COLUMN,))
    try:
        return Policy(document, load_dictionaries())
    except (PolicyError, re.error) as error:
        raise PolicyFileError(file, str(error)) from None


def _in_words(error: ValidationError, document: Mapping[str, Any]) -> str:
    """Name the first mistake by the column or label of its rule."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if place[:1] == ["form"] and len(place) > 1:
        rule = document["form"][int(place[1])]
        name = rule.get("column") or (rule.get("labels") or ["?"])[0]
        place = [f"the rule for {name}", *place[2:]]
    return f"{', '.join(place)}: {first['msg'].removeprefix('Value error, ')}"


def _choices(rule: FormRule, yes_no: Mapping[str, tuple[str, ...]]) -> Choices:
    spellings = dict(rule.choices)
    if rule.type == "BOOL":
        spellings = {word: (*others, *rule.choices.get(word, ())) for word, others in yes_no.items()}
    try:
        return Choices(spellings, pattern=rule.pattern, ignore=rule.ignore, is_multiple=rule.multiple)
    except AmbiguousChoice as error:
        raise PolicyError(f"policy: {rule.column}: {error}") from None


def _further_rules(form: Iterable[FormRule]) -> dict[str, tuple[FormRule, ...]]:
    """Return column -> the rules that take other answers to its question."""
    kept = {rule.column: rule for rule in form if rule.action == "keep"}
    further: dict[str, tuple[FormRule, ...]] = {}
    for rule in kept.values():
        if rule.question_of is not None:
            if rule.question_of not in kept:
                raise PolicyError(
                    f"policy: {rule.column} answers the question of {rule.question_of}, which is not kept"
                )
            further[rule.question_of] = (*further.get(rule.question_of, ()), rule)
    return further


def _columns(document: _Document, dictionaries: Mapping[str, Dictionary]) -> Iterator[Column]:
    for name, added in document.pipeline.items():
        yield Column(name=name, type=added.type, description=added.description, source="pipeline")
    for name, field in document.payload.items():
        if field.type is not None:
            source = f"payload: {name}"
            yield Column(name=field.column or name, type=field.type, description=field.description, source=source)
    asked = {rule.column: rule.labels[0] for rule in document.form if rule.labels}
    for rule in document.form:
        if rule.column:
            source = f"form: {asked.get(rule.question_of or rule.column)}"
            yield Column(name=rule.column, type=rule.type, description=rule.description, source=source)
        if rule.category:
            if rule.category not in dictionaries:
                raise PolicyError(f"policy: {rule.column} names the category {rule.category}, which is no dictionary")
            text = dictionaries[rule.category].description
            yield Column(name=rule.category, type="INT64", description=text, source=source)


def _unambiguous(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    meanings: dict[str, Any] = {}
    for wording, meaning in pairs:
        if meanings.setdefault(wording, meaning) is not meaning:
            raise PolicyError(f"policy: {wording!r} has two meanings")
    return meanings


def _refuse_duplicates(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise PolicyError(f"policy: column {name!r} is named twice or not a plain name")
        seen.add(name)
