"""Objects of the vault in a dict, fast enough for hundreds of examples."""

from __future__ import annotations

from pycontw_assets.records import Leftovers
from pycontw_assets.vault.object_store import Stored


class MemoryStore:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes = 0

    def read(self, name: str) -> Stored | None:
        content = self.objects.get(name)
        return None if content is None else Stored(content, str(hash(content)))

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        current = self.read(name)
        if (current.version if current else None) != expected:
            return False
        self.writes += 1
        self.objects[name] = content
        return True

    def names(self) -> list[str]:
        return sorted(self.objects)

    def leftovers(self) -> Leftovers | None:
        return None
