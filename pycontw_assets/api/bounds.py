"""Bounds of everything that comes from outside: characters, lengths, numbers, depth. Pure.

Each client applies them at its edge, so that no store, table or expression meets a value it cannot hold. A value that
exceeds them costs itself only: it is cut, left out or set aside, and its neighbours go on.
"""

from __future__ import annotations

import math
import re
from typing import Any

LARGEST_INTEGER = 2**63 - 1  # of the columns of all databases
LONGEST_NAME = 200  # characters of a name in clear: far below what an index of PostgreSQL takes
_MOST_DIGITS = 300  # more do not fit a float, and Python refuses to convert some thousands of them

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class OversizedNumber(str):
    """A number of an answer that no number of ours can hold, in its own spelling. It is a text for whoever looks."""

    __slots__ = ()


def read_integer(digits: str) -> int | OversizedNumber:
    """Read a whole number of JSON, however long it is."""
    return int(digits) if len(digits) <= _MOST_DIGITS else OversizedNumber(digits)


def read_float(digits: str) -> float | OversizedNumber:
    """Read a number of JSON, however large it is: ``1e999`` is valid there and infinite here."""
    number = float(digits)
    return number if math.isfinite(number) else OversizedNumber(digits)


def has_half_character(text: str) -> bool:
    """Whether a text holds a lone surrogate. JSON can spell it, and no encoding can write it."""
    return not text.isascii() and _HALF_CHARACTER.search(text) is not None


def plain_text(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text that every store can hold: cut, without NUL, and with a replacement for half a character."""
    return _HALF_CHARACTER.sub("\ufffd", text[:longest].replace("\0", ""))


def is_within(value: Any, *, levels: int, size: int, whole_characters: bool = True) -> bool:
    """Whether a JSON value is nested at most ``levels`` deep and holds at most ``size`` characters and members.

    It does not recurse, so a value that is far too deep costs no more than another one. ``whole_characters``: half a
    character exceeds the bounds, too.
    """
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        size -= len(item) if isinstance(item, str | list | dict) else 1
        if size < 0 or depth > levels or isinstance(item, OversizedNumber):
            return False
        if isinstance(item, str):
            if whole_characters and has_half_character(item):
                return False
        elif isinstance(item, list):
            waiting += [(member, depth + 1) for member in item]
        elif isinstance(item, dict):
            waiting += [(member, depth + 1) for pair in item.items() for member in pair]
    return True
