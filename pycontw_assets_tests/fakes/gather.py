"""A guest list in memory with the client's methods: add, overwrite and read. Each of them can fail."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pycontw_assets.api.client import Refused
from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.authorize.spaces import Space
from pycontw_assets_tests.fakes.faults import CallFaults


class FakeGather:
    """``entries`` is the true list. ``refused`` addresses make a call fail; ``ignored`` addresses change nothing."""

    def __init__(self, entries: Mapping[str, Any] | None = None) -> None:
        self.entries: dict[str, Any] = dict(entries or {})
        self.refused: set[str] = set()
        self.ignored: set[str] = set()
        self.stale_reads = 0  # this many reads still show the list before the last write
        self.reads_as: list[GuestList] = []  # answers that replace the true list, oldest first
        self.faults = CallFaults("Gather")
        self._before_write: dict[str, Any] | None = None
        self._stale_left = 0

    def each(self) -> dict[Space, FakeGather]:
        return {Space("FakeSpace\\Venue"): self}

    @property
    def calls(self) -> Any:
        return self.faults.calls

    def read(self) -> GuestList:
        return self.faults.run("read", self._read)

    def add(self, entries: Mapping[str, Any]) -> None:
        self.faults.run("add", lambda: self._add(entries))

    def overwrite(self, entries: Mapping[str, Any]) -> None:
        self.faults.run("overwrite", lambda: self._overwrite(entries))

    def _read(self) -> GuestList:
        if self.reads_as:
            return self.reads_as.pop(0)
        if self._stale_left and self._before_write is not None:
            self._stale_left -= 1
            return GuestList(copy.deepcopy(self._before_write))
        return GuestList(copy.deepcopy(self.entries))

    def _add(self, entries: Mapping[str, Any]) -> None:
        if self.refused & entries.keys():
            raise Refused("Gather", "add guests", "answered 400", status=400)
        self._remember()
        self.entries |= {address: item for address, item in entries.items() if address not in self.ignored}

    def _overwrite(self, entries: Mapping[str, Any]) -> None:
        self._remember()
        self.entries = dict(copy.deepcopy(entries))

    def _remember(self) -> None:
        self._before_write, self._stale_left = dict(self.entries), self.stale_reads
