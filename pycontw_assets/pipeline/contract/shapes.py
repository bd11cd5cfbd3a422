"""Fold answers into shapes: which members occur, of which types, how long. Pure. No value leaves this module.

It works by an allow-list. A member is named only if the contract knows its name, because a name can be an address (the
guest list of Gather has those). A value is named only if it is one of a closed list. Everything else is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pycontw_assets.api.bounds import OversizedNumber

_DEEPEST = 24  # levels; deeper ones are not looked at
_MOST_ANOTHER = 12  # lengths of values outside a closed list that are counted one by one
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class Known:
    """The part of an answer that the contract knows. Nothing set: a value whose inside is not looked at.

    ``members``: of an object. ``rows``: of a list. ``places``: of a list in which each place has a meaning. ``keyed``:
    of an object whose names are data. ``values``: the closed list of a text.
    """

    members: Mapping[str, Known] = field(default_factory=dict)
    rows: Known | None = None
    places: Sequence[Known] = ()
    keyed: Known | None = None
    values: Collection[str] = ()


ANY = Known()


def known(names: str = "", more: Mapping[str, Known] | None = None) -> Known:
    """Return an object. ``names``, with blanks between them, are members whose inside is not looked at."""
    return Known(members={**dict.fromkeys(names.split(), ANY), **(more or {})})


def word(*values: str) -> Known:
    """Return a text of a closed list."""
    return Known(values=frozenset(values))


@dataclass(slots=True)
class Shape:
    """One place in the answers of an endpoint, counted over all of them.

    ``seen`` of ``expected``: how often it was there, of how often its object or list was. ``unknown``: objects with
    members that the contract does not know, and the most of them in one.
    """

    seen: int = 0
    expected: int = 0
    types: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    lengths: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=lambda: [0, 0])

    def measure(self, length: int) -> None:
        """Widen the range of lengths: characters of a text, digits of a whole number, items of a list or an object."""
        least, most = self.lengths or [length, length]
        self.lengths = [min(least, length), max(most, length)]

    def as_json(self) -> dict[str, Any]:
        """Return what the report says of this place."""
        counted: dict[str, Any] = {"seen": self.seen, "of": self.expected}
        for name in ("types", "kinds", "values"):
            if counts := getattr(self, name):
                counted[name] = dict(sorted(counts.items()))
        if self.lengths:
            counted["lengths"] = self.lengths
        if self.unknown[0]:
            counted["unknown members"] = {"objects": self.unknown[0], "most in one": self.unknown[1]}
        return counted


class Fold:
    """The shapes of the answers of one endpoint, by path such as ``data[].attributes.name``. The root is ``(all)``."""

    ROOT = "(all)"

    def __init__(self, contract: Known) -> None:
        self._contract = contract
        self.shapes: dict[str, Shape] = {}

    def add(self, value: Any) -> None:
        """Count one answer."""
        self._expect(self.ROOT)
        self._visit(value, self._contract, self.ROOT, 0)

    def as_json(self) -> dict[str, Any]:
        return {path: shape.as_json() for path, shape in sorted(self.shapes.items())}

    def _expect(self, path: str) -> None:
        self.shapes.setdefault(path, Shape()).expected += 1

    def _visit(self, value: Any, contract: Known, path: str, depth: int) -> None:
        shape = self.shapes[path]
        shape.seen += 1
        shape.types[type_of(value)] += 1
        if isinstance(value, bool):
            shape.values[str(value).lower()] += 1
        elif isinstance(value, int):
            shape.measure(len(str(abs(value))))
        elif isinstance(value, str):
            self._text(value, contract, shape)
        elif isinstance(value, (list, dict)):
            shape.measure(len(value))
            if depth < _DEEPEST:
                self._inside(value, contract, path, depth + 1)

    def _inside(self, value: list[Any] | dict[str, Any], contract: Known, path: str, depth: int) -> None:
        if isinstance(value, dict):
            self._object(value, contract, path, depth)
        else:
            self._list(value, contract, path, depth)

    @staticmethod
    def _text(value: str, contract: Known, shape: Shape) -> None:
        shape.measure(len(value))
        shape.kinds[kind_of(value)] += 1
        if not contract.values:
            return
        name = value if value in contract.values else f"another value, {len(value)} characters"
        others = sum(1 for counted in shape.values if counted.startswith("another value, "))
        if name not in contract.values and name not in shape.values and others >= _MOST_ANOTHER:
            name = "another value"
        shape.values[name] += 1

    def _object(self, value: dict[str, Any], contract: Known, path: str, depth: int) -> None:
        if contract.keyed is not None:
            for name, entry in value.items():
                self._expect(below(path, "*"))
                self._expect(below(path, "(name)"))
                self._visit(name, ANY, below(path, "(name)"), depth)
                self._visit(entry, contract.keyed, below(path, "*"), depth)
            return
        for name, inner in contract.members.items():
            self._expect(below(path, name))
            if name in value:
                self._visit(value[name], inner, below(path, name), depth)
        if strangers := sum(1 for name in value if name not in contract.members):
            unknown = self.shapes[path].unknown
            self.shapes[path].unknown = [unknown[0] + 1, max(unknown[1], strangers)]

    def _list(self, value: list[Any], contract: Known, path: str, depth: int) -> None:
        for place, inner in enumerate(contract.places):
            self._expect(f"{path}[{place}]")
            if place < len(value):
                self._visit(value[place], inner, f"{path}[{place}]", depth)
        for row in value if contract.rows is not None else ():
            self._expect(rows_of(path))
            self._visit(row, contract.rows or ANY, rows_of(path), depth)


def below(path: str, name: str) -> str:
    return name if path == Fold.ROOT else f"{path}.{name}"


def rows_of(path: str) -> str:
    return "[]" if path == Fold.ROOT else f"{path}[]"


def type_of(value: Any) -> str:
    """Return the type of a JSON value in the report's words."""
    if isinstance(value, OversizedNumber):
        return "oversized number"
    for kind, name in _TYPES.items():
        if type(value) is kind:
            return name
    return "another type"


_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "whole number",
    float: "number with fraction",
    str: "text",
    list: "list",
    dict: "object",
}


def kind_of(text: str) -> str:
    """Return to which of a few classes a text belongs. None of them says what the text is."""
    if not text:
        return "empty"
    if text.isdigit():
        return "digits only"
    if _ADDRESS.fullmatch(text):
        return "address"
    if text.startswith(("https://", "http://")):
        return "link"
    return _kind_of_time(text) or "other text"


def _kind_of_time(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return "time with zone" if moment.tzinfo else "time without zone"
