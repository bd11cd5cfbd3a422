"""The field policy, read from ``policy.yaml``: the rule of a form label, the choice of an answer, the columns.

Rules are data, so none is written here. ``pseudonymize`` applies them to attendees.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

ColumnType = Literal["BOOL", "FLOAT64", "INT64", "STRING", "TIMESTAMP"]

CONTACT_ADDRESS_COLUMN = "email_sha256"  # the rule of this column names the labels of the contact address
CUT_LABEL_LENGTH = 200  # KKTIX cuts longer labels here (seen in exports)
_LEAST_CUT_MATCH = 100  # characters of a cut label that must match, without its last, possibly broken word

_YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")
_URL = re.compile(r"https?://[^\s()]+")
_CURLY = str.maketrans("‘’‚‛“”„‟「」『』–—‐‑−", '\'\'\'\'""""""""-----')
_CLOSING = " .,:;?!。、*"
_LETTER_CHANGE = r"(?<=[a-z]) ?(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff]) ?(?=[a-z])"
_HALVES = re.compile(rf"[/()|]|{_LETTER_CHANGE}")
_SEVERAL = re.compile(r"[,;、\n]")


class PolicyError(ValueError):
    """``policy.yaml`` contradicts itself. The text names the rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the rows: its name, type and meaning, and the field or question it comes from."""

    name: str
    type: ColumnType
    description: str
    source: str


def fold(text: str) -> str:
    """Return the form for comparisons: width, case, blanks, quotes, dashes and closing punctuation do not count."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_CURLY)
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    text = re.sub(r" ?/ ?", "/", " ".join(text.split()))
    return text.strip(_CLOSING)


def normalise_label(label: str) -> str:
    """Return a folded label with placeholders for years and web addresses, which change every year."""
    return _YEAR.sub("{year}", _URL.sub("{url}", fold(label))).strip(_CLOSING)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """The rule for the answers to one question, in all its wordings over the years."""

    action: Literal["keep", "hash", "drop"]
    description: str
    labels: tuple[str, ...]
    patterns: tuple[str, ...] = ()
    column: str | None = None
    type: Literal["BOOL", "STRING"] = "STRING"
    hash_as: Literal["address", "phone", "text"] | None = None
    choices: Mapping[str, tuple[str, ...]] = {}
    pattern: str | None = None
    multiple: bool = False

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
        bounded = self.type == "BOOL" or self.choices or self.pattern
        if self.action == "keep" and not bounded:
            raise ValueError("an answer is kept only as one of `choices`, by `pattern` or as BOOL")
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
    """The policy, indexed for look-up. It is immutable. ``version`` changes with any of its rules."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        try:
            parsed = _Document.model_validate(document)
        except ValidationError as error:
            raise PolicyError(f"policy: {error}") from None
        self.version = hashlib.sha256(parsed.model_dump_json().encode()).hexdigest()[:12]
        self.payload = parsed.payload
        self.form = parsed.form
        # Column of the payload -> the only texts that it may hold.
        self.vocabularies: Mapping[str, frozenset[str]] = {
            field.column or name: frozenset(field.choices) for name, field in parsed.payload.items() if field.choices
        }
        self.columns: tuple[Column, ...] = tuple(_columns(parsed))
        _refuse_duplicates(column.name for column in self.columns)
        self._by_label: Mapping[str, FormRule] = _unambiguous(
            (normalise_label(label), rule) for rule in parsed.form for label in rule.labels
        )
        self._patterns = [(re.compile(text), rule) for rule in parsed.form for text in rule.patterns]
        self._choices = {
            rule.column: _unambiguous(_spellings(parsed.yes_no if rule.type == "BOOL" else rule.choices))
            for rule in parsed.form
            if rule.action == "keep"
        }

    def rule_for(self, label: str) -> FormRule | None:
        """Return the rule of a label; ``None`` when no rule or more than one fits."""
        wording = normalise_label(label)
        if rule := self._by_label.get(wording):
            return rule
        matching = [rule for pattern, rule in self._patterns if pattern.fullmatch(wording)]
        if not matching and len(label) == CUT_LABEL_LENGTH:
            matching = self._rules_starting_with(wording)
        return matching[0] if matching and all(rule is matching[0] for rule in matching) else None

    def asks_for_contact_address(self, label: str) -> bool:
        """Whether the answer is the address that is invited: the one that ``email_sha256`` is made of."""
        rule = self.rule_for(label)
        return rule is not None and rule.column == CONTACT_ADDRESS_COLUMN

    def choices(self, rule: FormRule, answer: str) -> tuple[list[str], list[str]]:
        """Return the listed choices in an answer, and the parts of the answer that are not listed."""
        parts = _SEVERAL.split(answer) if rule.multiple else [answer]
        choices = [(part, self._choice(rule, fold(part))) for part in parts if fold(part)]
        listed = [choice for _, choice in choices if choice is not None]
        return list(dict.fromkeys(listed)), [part.strip() for part, choice in choices if choice is None]

    def _choice(self, rule: FormRule, folded: str) -> str | None:
        whole = self._one_choice(rule, folded)
        if whole is not None:
            return whole
        halves = [half for part in _HALVES.split(folded) if (half := part.strip(_CLOSING))]
        choices = {self._one_choice(rule, half) for half in halves}
        if rule.pattern and None not in choices:
            return self._one_choice(rule, halves[0]) if halves else None
        return choices.pop() if len(choices) == 1 else None

    def _one_choice(self, rule: FormRule, folded: str) -> str | None:
        choice = self._choices[rule.column].get(folded)
        if choice is None and rule.pattern and re.fullmatch(rule.pattern, folded):
            return folded
        return choice

    def _rules_starting_with(self, wording: str) -> list[FormRule]:
        beginning = wording.rpartition(" ")[0]
        if len(beginning) < _LEAST_CUT_MATCH:
            return []
        return [rule for label, rule in self._by_label.items() if label.startswith(beginning)]


@functools.cache
def load_policy() -> Policy:
    """Return the policy of ``policy.yaml``, read once per process."""
    import yaml

    text = files(__package__).joinpath("policy.yaml").read_text(encoding="utf-8")
    return Policy(yaml.safe_load(text))


def _columns(document: _Document) -> Iterator[Column]:
    for name, added in document.pipeline.items():
        yield Column(name=name, type=added.type, description=added.description, source="pipeline")
    for name, field in document.payload.items():
        if field.type is not None:
            source = f"payload: {name}"
            yield Column(name=field.column or name, type=field.type, description=field.description, source=source)
    for rule in document.form:
        if rule.column:
            source = f"form: {rule.labels[0]}"
            yield Column(name=rule.column, type=rule.type, description=rule.description, source=source)


def _spellings(choices: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for choice, others in choices.items():
        for spelling in {fold(choice), *map(fold, others)}:
            yield spelling, choice


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
