"""What the vault asks of the place that holds its objects, and the one error of all of it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

SUFFIX = ".orders"  # of every object's name; the rest of the name is a partition key


class VaultError(Exception):
    """The vault could not be read or written. The text names the object and the fix, never its contents."""


class Stored(NamedTuple):
    """An object as it was read. ``version`` names exactly this content to a later write."""

    content: bytes
    version: str


class ObjectStore(Protocol):
    """Bytes by name. What differs between a folder and a bucket, and nothing else; trouble is a ``VaultError``."""

    def read(self, name: str) -> Stored | None:
        """``None``: the store was reached, and the object is not there."""

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        """Replace, atomically, the version that is ``expected`` (``None``: no object). False: another one is there."""

    def names(self) -> list[str]: ...
