"""The share of the answers that is kept whole, per column. Pure.

An answer is kept whole when each of its parts is one of the listed choices. Answers that the policy hashes or drops
are not meant to be kept, and do not count. Answers to questions without a rule count as not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pycontw_assets.deidentify.form import Form
from pycontw_assets.deidentify.policy import Policy
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import AttendeeRecord

FEW = 5  # fewer answers or people than this say nothing, and are shown nowhere


@dataclass(frozen=True, slots=True)
class Kept:
    """How many answers to the question of a column there are, and how many of them are kept whole."""

    column: str
    answers: int
    whole: int

    @property
    def percent(self) -> float:
        return 100 * self.whole / self.answers if self.answers else 100.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares by column, in the order of the policy, and the questions without a rule: how many, and answers."""

    columns: tuple[Kept, ...]
    unknown_questions: int = 0
    unknown_answers: int = 0

    @property
    def total(self) -> Kept:
        """Return all answers that were to be kept, those to questions without a rule included."""
        answers = sum(kept.answers for kept in self.columns) + self.unknown_answers
        return Kept("all", answers, sum(kept.whole for kept in self.columns))


def coverage_of(
    policy: Policy, answered: Mapping[str, int], unlisted: Mapping[str, int], unknown: Mapping[str, int]
) -> Coverage:
    """Return the shares by the counts of ``Form`` or ``Deidentified``."""
    columns = [str(rule.column) for rule in policy.form if rule.action == "keep" and answered.get(str(rule.column))]
    kept = tuple(Kept(name, answered[name], answered[name] - unlisted.get(name, 0)) for name in columns)
    return Coverage(kept, len(unknown), sum(unknown.values()))


def count_coverage(
    records: Iterable[AttendeeRecord], policy: Policy, pseudonymizer: Pseudonymizer, into: Counter[tuple[str, str]]
) -> None:
    """Add the counts of these attendees to ``into``, by kind (answered, unlisted or unknown) and name."""
    form = Form(policy, pseudonymizer)
    for record in records:
        form.answers_of(record)
    for kind, counts in (("answered", form.answered), ("unlisted", form.unlisted), ("unknown", form.unknown)):
        into.update({(kind, name): count for name, count in counts.items()})


def coverage_of_counts(policy: Policy, counts: Mapping[tuple[str, str], int]) -> Coverage:
    """Return the shares by what ``count_coverage`` counted."""
    by_kind: dict[str, dict[str, int]] = {"answered": {}, "unlisted": {}, "unknown": {}}
    for (kind, name), count in counts.items():
        by_kind[kind][name] = count
    return coverage_of(policy, by_kind["answered"], by_kind["unlisted"], by_kind["unknown"])


def kept_in_all(coverage: Coverage) -> str:
    """Return one line about all columns."""
    total = coverage.total
    return f"{total.whole} of {total.answers} answers are kept whole ({total.percent:.0f} %)"


def coverage_gaps(coverage: Coverage, least_percent: float) -> list[str]:
    """Return a text per column of whose answers too few are kept whole, unless it is a handful that is not."""
    columns = [
        f"{kept.column}: {kept.whole} of {kept.answers} answers are kept whole ({kept.percent:.0f} %)"
        for kept in coverage.columns
        if kept.percent < least_percent and kept.answers - kept.whole >= FEW
    ]
    if coverage.unknown_answers >= FEW and coverage.total.percent < least_percent:
        columns.append(
            f"{coverage.unknown_questions} questions have no rule, so {coverage.unknown_answers} answers are not kept"
        )
    return columns
