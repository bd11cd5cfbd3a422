"""Make a text safe for the outlet that shows it: one function each for the terminal, for Markdown and for chat.

Names of events and tickets, and reasons of services, are written by others. A terminal obeys escape sequences in them,
a browser fetches the pictures of Markdown, a chat wakes everybody for ``@everyone``. An outlet passes everything that
it shows through its function, our own words included, so that no text has a way around. The log needs no function: its
lines take no text from outside at all (``log``).

Characters that would act are shown as characters that look like them, so that a reader still recognises the text.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_NAME = 80
_LONGEST_LINE = 2000
_ADDRESS = re.compile(r"(?<=[a-z]):(?=//)|(?<=www)\.", re.IGNORECASE)
# Signs that mean something anywhere, and the beginnings of lists.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>#|~&$]|^[-+]")
_NUMBERED = re.compile(r"^(\d+)([.)])")
_CHAT = str.maketrans(dict(zip("`<>[]*~|#\\", "'‹›［］＊～｜＃＼", strict=True)))
_OUTER_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text as part of one line: blanks are single, and what exceeds ``longest`` characters is left out."""
    line = " ".join(_visible(text[: 10 * longest]).split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def for_terminal(line: str) -> str:
    """Return a line without control and direction characters. Its blanks stay: they may be an indent."""
    return _visible(line)


def for_markdown(line: str) -> str:
    """Return Markdown that shows the line as it is: no sign of it formats, links, or has a browser fetch something."""
    text = _without_links(_visible(_bounded(line)).strip())
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", text))


def from_markdown(markdown: str) -> str:
    """Return the line that ``for_markdown`` was given, as far as it left it as it was."""
    return re.sub(r"\\(.)", r"\1", markdown)


def for_chat(line: str) -> str:
    """Return a line that formats nothing, links nowhere and calls nobody, in Discord as in Slack."""
    return _OUTER_UNDERSCORE.sub("＿", _without_links(_visible(_bounded(line))).translate(_CHAT))


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _instead_of(character) for character in text)


def _instead_of(character: str) -> str:
    """Direction marks and other characters without a width leave nothing; all others leave a blank."""
    return "" if unicodedata.category(character) == "Cf" else " "


def _without_links(text: str) -> str:
    """Web addresses and ``@`` become links by themselves, wherever they stand and however they are escaped."""
    return _ADDRESS.sub(lambda sign: {":": "：", ".": "．"}[sign[0]], text).replace("@", "＠")


def _bounded(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
