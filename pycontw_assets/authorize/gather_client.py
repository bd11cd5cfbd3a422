"""Talk to Gather: read the guest list of a space and write it.

Decisions about guests, and about lists too strange to be overwritten, do not belong here. The API key
travels in the query string and in the body; neither ever reaches an error text.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pycontw_assets.api.bounds import has_half_character, is_within
from pycontw_assets.api.client import ApiClient, Malformed, Misconfigured, NotFound, Reply
from pycontw_assets.authorize.spaces import Space, parse_spaces

RATE_LIMITS = {"guest list": [(5, 1), (60, 60)]}  # ours: the vendor publishes none; whole lists are few calls
# Bounds of an entry. Its known members are three short texts.
_LONGEST_KEY = 1000  # characters
_DEEPEST_ENTRY = 16  # levels
_LARGEST_ENTRY = 100_000  # characters and members
_MOST_MEMBERS = 40  # of an entry of short texts: with their keys they are far below the largest entry
_FIRST_SILENT_WAIT = 60  # seconds, after a 429 that names no time; doubles


@dataclass(frozen=True, slots=True)
class GuestList:
    """Address, as somebody entered it, to entry; both verbatim.

    ``was_object`` is false when the service sent ``[]`` or ``null``: good enough to add to, never to remove from.
    ``unreadable`` counts entries that could not be written back as they are, so they are not among ``entries``. A list
    with such entries is not whole: good enough to add to, never to be overwritten.
    """

    entries: dict[str, Any] = field(repr=False)
    was_object: bool = True
    unreadable: int = 0


class GatherClient:
    """``base_url`` is what comes before ``/api/``; ``options`` are those of ``ApiClient``.

    ``spaces`` is written like ``GATHER_SPACE_ID``. Of several spaces, ``each`` has a client for every one.
    """

    def __init__(self, base_url: str, api_key: str, spaces: str, **options: Any) -> None:
        self._api_key = api_key
        self.spaces = parse_spaces(spaces)
        self._space_id = self.spaces[0].space_id
        self.api = ApiClient("Gather", base_url, **{"throttle_seconds": _FIRST_SILENT_WAIT, **options})

    def __repr__(self) -> str:
        return f"GatherClient({self.api!r})"

    def each(self) -> dict[Space, GatherClient]:
        """Return a client for every space, in the order of the setting. They share the rate and the key."""
        return {space: self if len(self.spaces) == 1 else self._in(space) for space in self.spaces}

    def _in(self, space: Space) -> GatherClient:
        client = copy.copy(self)
        client.spaces, client._space_id = (space,), space.space_id
        return client

    def read(self) -> GuestList:
        # Spelled out: the vendor does not understand "+" for a blank, which is what libraries write.
        query = f"apiKey={quote(self._api_key, safe='')}&spaceId={quote(self._space_id, safe='')}"
        operation = "read guest list"
        data = self._request("GET", operation, "/api/getEmailGuestlist", query=query, repeatable=True).data
        if isinstance(data, dict) and (not data or any(isinstance(entry, dict) for entry in data.values())):
            entries = {address: entry for address, entry in data.items() if _is_readable(address, entry)}
            return GuestList(entries, unreadable=len(data) - len(entries))
        if data is None or data == []:
            return GuestList({}, was_object=False)
        raise Malformed("Gather", operation, "the answer is not a guest list")

    def add(self, entries: Mapping[str, Any]) -> None:
        """Add or update these; the others stay. Adding the same again changes nothing."""
        self._write("add guests", entries, overwrite=False)

    def overwrite(self, entries: Mapping[str, Any]) -> None:
        """Replace the whole list. Never repeated: it would undo what somebody else wrote in between."""
        self._write("overwrite guest list", entries, overwrite=True)

    def _write(self, operation: str, entries: Mapping[str, Any], *, overwrite: bool) -> None:
        body = {
            "apiKey": self._api_key,
            "spaceId": self._space_id,
            "overwrite": overwrite,
            "guestlist": dict(entries),
        }
        path = "/api/setEmailGuestlist"
        self._request("POST", operation, path, body=body, repeatable=not overwrite, expect_json=False)

    def _request(self, method: str, operation: str, path: str, **details: Any) -> Reply:
        try:
            return self.api.request(method, operation, path, group="guest list", **details)
        except NotFound as error:
            reason = f"answered {error.status}: GATHER_SPACE_ID or GATHER_API_URL is wrong"
            raise Misconfigured("Gather", operation, reason, status=error.status) from None


def _is_readable(address: str, entry: Any) -> bool:
    """Whether an entry can be compared and written back. Half a character in its values can: JSON spells it."""
    is_address = len(address) <= _LONGEST_KEY and not has_half_character(address)
    return is_address and (
        _is_short(entry) or is_within(entry, levels=_DEEPEST_ENTRY, size=_LARGEST_ENTRY, whole_characters=False)
    )


def _is_short(entry: Any) -> bool:
    """Whether an entry is a few short texts, as all known ones are. It is within all bounds then."""
    if type(entry) is not dict or len(entry) > _MOST_MEMBERS:
        return False
    return all(type(text) is str and len(text) <= _LONGEST_KEY for pair in entry.items() for text in pair)
