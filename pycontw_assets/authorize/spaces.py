"""The spaces of the venue: what the setting says of them, and which of them takes whom. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import quote

from pycontw_assets.ledger.guest_lists import space_digest

_CAPACITY = re.compile(r"(.*):([0-9]{1,6})", re.DOTALL)
# The name of a space may hold a comma: only one that another id follows separates two spaces.
_SEPARATOR = re.compile(r",(?=[^,\\]+\\)")


@dataclass(frozen=True, slots=True)
class Space:
    """One space of Gather. ``capacity``: most guests of its list, staff included; ``None``: there is no limit."""

    space_id: str
    capacity: int | None = None

    @property
    def digest(self) -> str:
        """The name by which the ledger knows the space."""
        return space_digest(self.space_id)

    @property
    def path(self) -> str:
        """The part of the space's address that is its own: ``<id>/<space name>``, percent-encoded."""
        return "/".join(quote(part, safe="") for part in self.space_id.split("\\"))


def split_spaces(text: str) -> tuple[Space, ...]:
    """Return the spaces of ``GATHER_SPACE_ID``, unchecked, in its order. There is at least one."""
    parts = _SEPARATOR.split(text)
    return tuple(_space(part.strip() if len(parts) > 1 else part) for part in parts)


def _space(text: str) -> Space:
    match = _CAPACITY.fullmatch(text)
    return Space(match[1], int(match[2])) if match else Space(text)


def parse_spaces(text: str) -> tuple[Space, ...]:
    """Return the spaces of ``GATHER_SPACE_ID``. Raise ``ValueError``, which says what to correct."""
    spaces = split_spaces(text)
    for space in spaces:
        validate_space_id(space.space_id)
    if len({space.space_id for space in spaces}) < len(spaces):
        raise ValueError("GATHER_SPACE_ID names a space twice; name each of them once")
    if any(space.capacity is None for space in spaces[:-1]):
        raise ValueError(
            "GATHER_SPACE_ID names spaces after one without a capacity, which would take everybody; write how many "
            "guests it takes behind it, e.g. AbCdEfGh12345678\\Py Venue:500"
        )
    return spaces


def validate_space_id(text: str) -> str:
    """Return the id as it is kept in memory: ``<id>\\<space name>`` with one backslash and nothing encoded."""
    problem = _space_id_problem(text)
    if problem:
        raise ValueError(f"GATHER_SPACE_ID {problem}; write it as <id>\\<space name>, e.g. AbCdEfGh12345678\\Py Venue")
    return text


def _space_id_problem(text: str) -> str | None:
    if re.search(r"%[0-9A-Fa-f]{2}", text):
        return "is percent-encoded (%5C is a backslash, %20 a blank)"
    if "/" in text:
        return "contains a slash, where the id has a backslash (the address of the space has the slash)"
    if text.count("\\") > 1:
        return "contains more than one backslash (a doubled one is an escape: write one)"
    parts = text.split("\\")
    if len(parts) == 1:
        return "contains no backslash"
    return None if all(part.strip() for part in parts) else "lacks text before or after the backslash"


def are_shared(spaces: Iterable[Space]) -> bool:
    """Say whether people have to be assigned to a space: there are several, or the only one may be full."""
    spaces = tuple(spaces)
    return len(spaces) > 1 or any(space.capacity is not None for space in spaces)


def assign(
    newcomers: Iterable[str], taken: Mapping[Space, AbstractSet[str]], former: Mapping[str, Space]
) -> dict[str, Space]:
    """Return the space of each newcomer, in their order; whoever is not in the answer waits for a place.

    ``taken``: the people who are, or are about to be, on each list, in the order of the spaces. ``former``: the space
    in which somebody was before.
    Somebody who is on a list already belongs there, however full it is. Others go to their former space, or else to the
    first one with room.
    """
    guests = {space: set(keys) for space, keys in taken.items()}
    assigned: dict[str, Space] = {}
    for key in newcomers:
        order = [space for space in (former.get(key), *guests) if space in guests and space is not None]
        listed = [space for space in order if key in taken[space]]
        free = (space for space in order if space.capacity is None or len(guests[space]) < space.capacity)
        space = next(iter(listed), None) or next(free, None)
        if space is not None:
            guests[space].add(key)
            assigned[key] = space
    return assigned
