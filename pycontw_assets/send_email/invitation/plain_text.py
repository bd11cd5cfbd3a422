"""Read the plain text of a page, so that nobody writes a mail twice. It knows the few elements that a mail needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

_BLOCKS = frozenset({"h1", "h2", "h3", "p", "li"})
_SKIPPED = frozenset({"style", "script"})
_BETWEEN_PARTS = "\n\n\n- - -\n\n"


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a page. A mail program shows ``preview`` next to the subject."""

    title: str
    preview: str
    text: str


def read_words(page: str) -> Words:
    """Return title, preview and text of a page. Each ``div`` is a part. Links follow their paragraph."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    parts = ["\n\n".join(blocks) for blocks in reader.parts if blocks]
    return Words(reader.title, reader.preview, _BETWEEN_PARTS.join(parts) + "\n")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title = self.preview = ""
        self.parts: list[list[str]] = [[]]
        self._words = ""
        self._links: list[str] = []
        self._skipped_depth = 0
        self._is_preview = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _SKIPPED:
            self._skipped_depth += 1
        elif tag == "br":
            self._words += "\n"
        elif tag == "a" and (given.get("href") or "").startswith("http"):
            self._links.append(given["href"] or "")
        elif tag == "div":
            self._end_block()
            self.parts.append([])
            self._is_preview = given.get("class") == "preview"
        elif tag in _BLOCKS:
            self._end_block()

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIPPED:
            self._skipped_depth -= 1
        elif tag == "title":
            self.title = self._take()
        elif tag == "div" and self._is_preview:
            self.preview, self._is_preview = self._take(), False
        elif tag in _BLOCKS or tag == "div":
            self._end_block()

    def handle_data(self, data: str) -> None:
        if not self._skipped_depth:
            self._words += re.sub(r"\s+", " ", data)

    def _take(self) -> str:
        words, self._words = self._words, ""
        return "\n".join(line.strip() for line in words.split("\n")).strip()

    def _end_block(self) -> None:
        lines = [self._take(), *(f"   {link}" for link in self._links)]
        self._links = []
        if any(lines):
            self.parts[-1].append("\n".join(filter(None, lines)))
