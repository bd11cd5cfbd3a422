"""Find the listed choices in an answer: as a whole, in the languages it is given in, or as the parts of a list. Pure.

An answer to a question that allows several is split by the listed choices first, the longest first, because a choice
may hold a comma itself; then at commas, semicolons and ends of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from pycontw_assets.deidentify.wording import fold, fold_choice

_CLOSING = " .,:;?!。、*"
# Between two languages: Latin letters on the left, Chinese on the right, or the other way round.
_LETTER_CHANGE = r"(?<=[a-z])[.,:;!?]? ?(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff])[.,:;!?]? ?(?=[a-z])"
_HALVES = re.compile(rf"[/()|]|{_LETTER_CHANGE}")
_PARTS = re.compile(rf"[/()|,;]|{_LETTER_CHANGE}")
_SEVERAL = re.compile(r"[,;、\n，；]")


class AmbiguousChoice(ValueError):
    """A spelling stands for two choices. The text names it."""


class Choices:
    """The choices of one column. ``spellings``: choice -> its other spellings; ``/…/`` is a regular expression.

    ``pattern`` keeps further folded answers as they are. ``ignore`` finds parts of a folded answer that say nothing.
    """

    def __init__(
        self,
        spellings: Mapping[str, Iterable[str]],
        *,
        pattern: str | None = None,
        ignore: str | None = None,
        is_multiple: bool = False,
    ) -> None:
        self._exact: dict[str, str] = {}
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for choice, others in spellings.items():
            for spelling in dict.fromkeys((choice, *others)):
                self._add(choice, spelling)
        self._pattern = re.compile(pattern) if pattern else None
        self._ignore = re.compile(ignore) if ignore else None
        self._is_multiple = is_multiple
        longest = max((spelling.count(", ") for spelling in self._exact), default=0)
        self._most_parts = 2 * (longest + 1)  # a choice that holds commas, in two languages

    def _add(self, choice: str, spelling: str) -> None:
        if len(spelling) > 1 and spelling.startswith("/") and spelling.endswith("/"):
            self._patterns.append((re.compile(spelling[1:-1]), choice))
        elif self._exact.setdefault(fold_choice(spelling), choice) != choice:
            raise AmbiguousChoice(f"{spelling!r} has two meanings")

    def find(self, answer: str) -> tuple[list[str], list[str]]:
        """Return the listed choices in an answer, each once, and the parts of the answer that are not listed."""
        if not self._is_multiple:
            choice = self._choice(answer)
            return ([choice], []) if choice is not None else ([], [answer.strip()])
        parts = [part for part in _SEVERAL.split(answer) if fold(part)]
        listed: dict[str, None] = {}
        rest = []
        while parts:
            choice, count = self._first(parts)
            if choice is None:
                rest.append(parts[0].strip())
            else:
                listed[choice] = None
            del parts[:count]
        return list(listed), rest

    def _first(self, parts: Sequence[str]) -> tuple[str | None, int]:
        """Return the choice at the beginning of the parts, the longest there is, and how many parts it takes."""
        for count in range(min(self._most_parts, len(parts)), 0, -1):
            choice = self._choice(", ".join(parts[:count]))
            if choice is not None:
                return choice, count
        return None, 1

    def _choice(self, answer: str) -> str | None:
        folded = fold_choice(answer)
        if self._ignore:
            folded = self._ignore.sub("", folded).strip(_CLOSING + "/")
        whole = self._listed(folded)
        if whole is not None or not folded:
            return whole
        halves = [self._listed(half) for half in _split(_HALVES, folded)]
        if self._pattern and None not in halves:
            return halves[0] if halves else None
        parts = [self._listed(part) for part in _split(_PARTS, folded)]
        return next((said[0] for said in (halves, parts) if said and said[0] and {*said} == {said[0]}), None)

    def _listed(self, folded: str) -> str | None:
        choice = self._exact.get(folded)
        if choice is None and self._patterns:
            choice = next((meant for pattern, meant in self._patterns if pattern.fullmatch(folded)), None)
        if choice is None and self._pattern and self._pattern.fullmatch(folded):
            return folded
        return choice


def _split(between: re.Pattern[str], folded: str) -> list[str]:
    return [part for half in between.split(folded) if (part := half.strip(_CLOSING))]
