"""Sort employers into industries and job titles into professions, by the words of ``categories.yaml``.

The numbers are those that the organisers use. The clear text is looked at in memory only, and a number is all that
leaves. A word in letters counts as a whole word, a Chinese word anywhere. Of several words the longest decides, of
equally long ones the last, as the last part of a name says what it is. A weak word decides where there is no other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pycontw_assets.deidentify.wording import fold
from pycontw_assets.deidentify.yaml_text import InvalidText, Text, read_yaml

UNKNOWN = 0
_WORD = re.compile(r"[^\W_\u3400-\u9fff]+(?:[+#]+)?|[\u3400-\u9fff]+")
_DISTINCT_ANSWERS = 50_000
_Found = tuple[bool, int, tuple[int, int], int]  # strong, length, place in the answer, class


class CategoryError(ValueError):
    """``categories.yaml`` contradicts itself. The text names the lines."""


class _Class(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    number: int
    name: str
    keywords: tuple[Any, ...] = ()
    weak: tuple[Any, ...] = ()


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    classes: tuple[_Class, ...]


class Dictionary:
    """Classes of one kind, numbered from 0 (unknown), and the words that belong to them."""

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        try:
            entry = _Entry.model_validate(content)
        except ValidationError as error:
            raise CategoryError(f"categories: {name}: {error}") from None
        self.description = entry.description
        self.names = {item.number: item.name for item in entry.classes}
        if sorted(self.names) != list(range(len(entry.classes))):
            raise CategoryError(f"categories: {name}: the classes are not numbered 0, 1, 2 …, each once")
        self._classes: dict[str, tuple[bool, int]] = {}
        lines: dict[str, int] = {}
        for keyword, line, is_strong, number in _keywords(entry):
            if keyword in lines:
                raise CategoryError(
                    f"categories: {name}: {keyword!r} is in line {lines[keyword]} and in line {line}; keep one of them"
                )
            lines[keyword] = line
            self._classes[keyword] = (is_strong, number)
        latin = [keyword for keyword in lines if not _is_chinese(keyword)]
        self._most_words = max((keyword.count(" ") + 1 for keyword in latin), default=0)
        self._lengths = sorted({len(keyword) for keyword in lines.keys() - set(latin)})
        self.class_of = functools.lru_cache(maxsize=_DISTINCT_ANSWERS)(self._class_of)

    def _class_of(self, answer: str) -> int:
        """Return the number of the class of an answer in NFKC; 0 when no word of it is listed."""
        best: _Found = (False, 0, (0, 0), UNKNOWN)
        words: list[str] = []
        for position, word in enumerate(_WORD.findall(answer.casefold())):
            if _is_chinese(word):
                words.clear()
                best = self._best_inside(word, position, best)
                continue
            words.append(word)
            for first in range(max(0, len(words) - self._most_words), len(words)):
                best = self._better(" ".join(words[first:]), (position, 0), best)
        return best[-1]

    def _best_inside(self, word: str, position: int, best: _Found) -> _Found:
        """Return the best of the listed words inside a run of Chinese characters, unless ``best`` is better."""
        classes, most = self._classes, len(word)
        for length in self._lengths:
            for start in range(most - length + 1):
                if word[start : start + length] in classes:
                    best = self._better(word[start : start + length], (position, start + length), best)
        return best

    def _better(self, keyword: str, place: tuple[int, int], best: _Found) -> _Found:
        """Return the class of a keyword with its rank if it ranks above ``best``: strong, long, late."""
        listed = self._classes.get(keyword)
        if listed is None:
            return best
        # Bytes: a Chinese character says as much as some three letters.
        found = (listed[0], len(keyword.encode()), place, listed[1])
        return max(best, found)


def _is_chinese(word: str) -> bool:
    return "\u3400" <= word[0] <= "\u9fff"


def _keywords(entry: _Entry) -> Iterator[tuple[str, int, bool, int]]:
    """Yield each word as it is compared, with its line, whether it decides alone, and its class."""
    for item in entry.classes:
        for is_strong, words in ((True, item.keywords), (False, item.weak)):
            for word in words:
                if not isinstance(word, Text):
                    raise CategoryError(f"categories: class {item.number}: {word!r} is no text; put it in quotes")
                parts = _WORD.findall(fold(word))
                keyword = " ".join(parts)
                if not parts or (len(parts) > 1 and any(_is_chinese(part) for part in parts)):
                    raise CategoryError(f"categories: line {word.line}: a word is in letters or in Chinese, not both")
                yield keyword, word.line, is_strong, item.number


def read_dictionaries(text: str) -> dict[str, Dictionary]:
    """Return the dictionaries of a text by the column that they fill. Raise ``CategoryError``."""
    try:
        content = read_yaml(text, with_lines=True)
    except InvalidText as error:
        raise CategoryError(f"categories: {error}") from None
    return {str(name): Dictionary(str(name), entry) for name, entry in content.items()}


@functools.cache
def load_dictionaries() -> tuple[dict[str, Dictionary], str]:
    """Return the dictionaries of ``categories.yaml``, and its text, which the version of the policy depends on."""
    text = files(__package__).joinpath("categories.yaml").read_text(encoding="utf-8")
    return read_dictionaries(text), text
