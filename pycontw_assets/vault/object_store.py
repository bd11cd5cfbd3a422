"""The interface of a place that holds the vault's objects, and the one error of the vault."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pycontw_assets.records import Leftovers

SUFFIX = ".orders"  # of every object's name; the rest of the name is a partition key


class VaultError(Exception):
    """The vault could not be read or written. The text names the object and the fix, never its content."""


class Stored(NamedTuple):
    """An object as it was read. A later write names exactly this content by its ``version``."""

    content: bytes
    version: str


class ObjectStore(Protocol):
    """Bytes by name: all that differs between a folder and a bucket. Every problem is a ``VaultError``."""

    def read(self, name: str) -> Stored | None:
        """Return the object; ``None`` when the store was reached and the object is not there."""

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        """Replace the ``expected`` version (``None``: no object) atomically. False: another version is there."""

    def names(self) -> list[str]:
        """Return the names of all objects."""

    def leftovers(self) -> Leftovers | None:
        """Return what the store keeps of replaced objects, as far as it is known; ``None``: nothing."""
