"""Kill a step before or after any of its calls, as ``kill -9`` would: nothing of the step runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The kill. It is no ``Exception``, so no handler of the code under test catches it."""


class Fuse:
    """Count the moments before and after every call, and blow at number ``blows_at``; ``None`` means never."""

    def __init__(self, blows_at: int | None = None) -> None:
        self.moments = 0
        self._blows_at = blows_at

    def burn(self) -> None:
        self.moments += 1
        if self.moments - 1 == self._blows_at:
            raise Killed


class Fused:
    """A ``target`` with a fuse around each of its methods."""

    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        return member if not callable(member) or name == "clock" else self._guard(member)

    def _guard(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **details: Any) -> Any:
            self._fuse.burn()
            result = method(*args, **details)
            self._fuse.burn()
            return result

        return call
