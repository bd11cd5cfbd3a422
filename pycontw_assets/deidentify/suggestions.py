"""Suggest rules for questions and answers that have none, as entries for the installation's own rules. Pure.

Nothing is shown that fewer than ``FEW`` people gave: neither a question nor an answer. People are counted by their
contact addresses, because one buyer answers for many seats; seats without an address count as one person. What looks
like an address or a long number is never shown, however many gave it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pycontw_assets.deidentify.choices import Choices
from pycontw_assets.deidentify.coverage import FEW
from pycontw_assets.deidentify.form import answer_text, looks_personal, place_answer, question_text
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.deidentify.policy import FormRule, Policy
from pycontw_assets.deidentify.wording import fold_choice, normalise_label, without_blanks
from pycontw_assets.pseudonyms import normalise_address
from pycontw_assets.records import AttendeeRecord

_LONGEST_CHOICE = 120  # characters
_MOST_CHOICES = 40  # a question with more is no choice
_FREE_TEXT_BELOW = 0.5  # share of the people whose answer a suggested choice must cover
_SEVERAL = re.compile(r"[,;、\n]")
_NAME_WORDS = 6


@dataclass(slots=True)
class _Answers:
    """Answers that mean the same question or column: folded answer -> the people who gave it, and its spellings."""

    labels: Counter[str] = field(default_factory=Counter)
    people: set[int] = field(default_factory=set)
    by_answer: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    spellings: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, answer: str, person: int) -> None:
        folded = fold_choice(answer)
        if folded:
            self.people.add(person)
            self.by_answer[folded].add(person)
            self.spellings[folded][answer] += 1


class Unclassified:
    """Everything that no rule takes, gathered from many attendees. It holds clear text, and stays in memory."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._questions: dict[str, _Answers] = defaultdict(_Answers)
        self._columns: dict[str, _Answers] = defaultdict(_Answers)
        self._rules = {str(rule.column): rule for rule in policy.form if rule.action == "keep"}

    def add(self, records: Iterable[AttendeeRecord]) -> None:
        """Gather the answers of these attendees."""
        for record in records:
            person = hash(normalise_address(contact_address(record.attendee) or ""))
            for label, value in record.attendee.answers:
                if text := answer_text(value):
                    self._add(label, text, person)

    def _add(self, label: str, text: str, person: int) -> None:
        rule = self._policy.rule_for(label)
        if rule is None:
            answers = self._questions[without_blanks(normalise_label(label))]
            answers.labels[label] += 1
            answers.add(text, person)
        elif rule.action == "keep":
            placement = place_answer(self._policy, rule, text)
            if placement.rest:
                column = self._open_column(placement.column)
                for part in placement.rest:
                    self._columns[column].add(part, person)

    def _open_column(self, column: str) -> str:
        """Return the column that can take new choices: where yes or no has a second column, that one."""
        rule = self._rules[column]
        if rule.type != "BOOL":
            return column
        members = self._policy.rules_of(rule)
        return next((str(member.column) for member in members if member.type != "BOOL"), column)

    def suggest(self) -> Iterator[str]:
        """Yield the lines of the entries, with comments. Without anything to suggest, comments only."""
        many = {key: answers for key, answers in self._questions.items() if len(answers.people) >= FEW}
        taken = {column.name for column in self._policy.columns}
        for _, answers in sorted(many.items(), key=lambda item: (-len(item[1].people), item[0])):
            yield from _new_question(answers, taken, self._policy)
        for column, answers in sorted(self._columns.items()):
            yield from _more_choices(self._rules[column], answers)
        if few := len(self._questions) - len(many):
            yield f"# {few} other questions without a rule: fewer than {FEW} people answered each of them"


def _new_question(answers: _Answers, taken: set[str], policy: Policy) -> Iterator[str]:
    labels = [label for label, _ in answers.labels.most_common() if not _is_masked(label)]
    if not labels:
        yield f"# {len(answers.people)} people answered a question whose label holds an address or a long number."
        return
    yield f"# {len(answers.people)} people answered."
    frequent, is_multiple = _frequent(answers)
    covered = _share_covered(answers, frequent, is_multiple)
    words = _yes_or_no(policy)
    if covered < _FREE_TEXT_BELOW:
        yield f"# {len(answers.by_answer)} different answers, most of them rare or personal: so they are hashed."
        yield f"- column: {_column_name(labels[0], taken, '_sha256')}"
        yield from ("  action: hash", "  as: text")
        yield from _description_and_labels(labels)
        return
    yield f"- column: {_column_name(labels[0], taken)}"
    yield "  action: keep"
    is_yes_or_no = bool(frequent) and all(words.find(answer)[0] for answer in frequent)
    yield f"  type: {'BOOL' if is_yes_or_no else 'STRING'}"
    if is_multiple and not is_yes_or_no:
        yield "  multiple: true"
    yield from _description_and_labels(labels)
    if not is_yes_or_no:
        yield "  choices:"
    for answer, count in frequent.items():
        yield (
            f"  # {count} people: {_quoted(answer)}" if is_yes_or_no else f"    {_quoted(answer)}: []  # {count} people"
        )
    yield from _others(answers, frequent, is_multiple)


def _more_choices(rule: FormRule, answers: _Answers) -> Iterator[str]:
    """Yield the entry of a column that is there: answers that it does not list yet."""
    frequent = _often(answers.by_answer, answers)
    if not frequent:
        yield f"# {rule.column}: {len(answers.by_answer)} answers are not listed, each given by fewer than {FEW} people"
        return
    yield f"# {rule.column} lists {', '.join(map(_quoted, list(rule.choices)[:3])) or 'yes and no'} …"
    yield "# A spelling of one of them belongs between its brackets; the rest can stay as new choices."
    yield f"- column: {rule.column}"
    if rule.type == "BOOL":
        yield '  choices: {"yes": [], "no": []}  # put each answer below between one of the brackets'
        yield from (f"  # {_quoted(answer)}: {count} people" for answer, count in frequent.items())
    else:
        yield "  choices:"
        yield from (f"    {_quoted(answer)}: []  # {count} people" for answer, count in frequent.items())
    yield from _others(answers, frequent, False)


def _others(answers: _Answers, frequent: Mapping[str, int], is_multiple: bool) -> Iterator[str]:
    given = _parts_of(answers) if is_multiple else answers.by_answer
    shown = {fold_choice(answer) for answer in frequent}
    if others := len(given.keys() - shown):
        yield f"    # {others} others"


def _description_and_labels(labels: Sequence[str]) -> Iterator[str]:
    yield f"  description: {_quoted(question_text(labels[0]))}"
    yield "  labels:"
    yield from (f"    - {_quoted(label)}" for label in labels)


# -- choices ------------------------------------------------------------------------------------------


def _frequent(answers: _Answers) -> tuple[dict[str, int], bool]:
    """Return the answers of many with the number of people, and whether they are parts of answers."""
    whole, parts = _often(answers.by_answer, answers), _often(_parts_of(answers), answers)
    by_parts, by_whole = _share_covered(answers, parts, True), _share_covered(answers, whole, False)
    # Fewer parts than answers: people combine them. A comma inside one choice makes more parts than answers.
    is_multiple = len(parts) > 1 and by_parts > 0 and by_parts >= by_whole and len(parts) < len(answers.by_answer)
    return (parts, True) if is_multiple else (whole, False)


def _often(given: Mapping[str, set[int]], answers: _Answers) -> dict[str, int]:
    counts = {_spelling(folded, answers): len(people) for folded, people in given.items() if len(people) >= FEW}
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        answer: count
        for answer, count in ordered[:_MOST_CHOICES]
        if len(answer) <= _LONGEST_CHOICE and not looks_personal(answer) and not answer.startswith("/")
    }


def _spelling(folded: str, answers: _Answers) -> str:
    spellings = answers.spellings.get(folded)
    return " ".join(spellings.most_common(1)[0][0].split()) if spellings else folded


def _parts_of(answers: _Answers) -> dict[str, set[int]]:
    """Return the parts of answers that look like lists, with the people who gave them."""
    people: dict[str, set[int]] = defaultdict(set)
    for folded, given_by in answers.by_answer.items():
        spelled = _spelling(folded, answers)
        for part in map(str.strip, _SEVERAL.split(spelled)):
            if part_folded := fold_choice(part):
                people[part_folded] |= given_by
                answers.spellings.setdefault(part_folded, Counter())[part] += 1
    return people


def _share_covered(answers: _Answers, frequent: Mapping[str, int], is_multiple: bool) -> float:
    """Return the share of the given answers that these choices would keep whole."""
    choices = Choices(dict.fromkeys(frequent, ()), is_multiple=is_multiple)
    total = kept = 0
    for folded, people in answers.by_answer.items():
        total += len(people)
        kept += 0 if choices.find(_spelling(folded, answers))[1] else len(people)
    return kept / total if total else 0.0


def _yes_or_no(policy: Policy) -> Choices:
    rule = next((rule for rule in policy.form if rule.type == "BOOL" and not rule.choices), None)
    return policy.choices_of(rule) if rule else Choices({"yes": (), "no": ()})


# -- texts --------------------------------------------------------------------------------------------


def _is_masked(label: str) -> bool:
    """Whether a label holds something that is not shown. KKTIX cuts labels, so their end says nothing."""
    return looks_personal(" ".join(label.split()))


def _column_name(label: str, taken: set[str], ending: str = "") -> str:
    """Return a plain name that no column has: the English words of the label, or a digest of it. Take it."""
    plain = re.sub(r"\{\w+\}", " ", normalise_label(label))
    words = re.findall(r"[a-z][a-z0-9]*", plain)[:_NAME_WORDS]
    name = "_".join(words)[:60] or f"question_{hashlib.sha256(plain.encode()).hexdigest()[:6]}"
    name = name if "_" in name or ending else f"{name}_answer"  # one word may be one of SQL's, such as "group"
    number = 1
    while (candidate := f"{name}{'' if number == 1 else f'_{number}'}{ending}") in taken:
        number += 1
    taken.add(candidate)
    return candidate


def _quoted(text: str) -> str:
    """Return a text as YAML takes it, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)
