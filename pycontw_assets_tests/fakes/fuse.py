"""Kill a step before or after any of its calls, as ``kill -9`` would: nothing of the step runs on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger


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


def fused_ledger(ledger: Ledger, fuse: Fuse) -> Ledger:
    """Return the same ledger with a fuse around each of its transactions."""
    fused = copy.copy(ledger)
    fused.engine = cast(sa.Engine, _FusedEngine(ledger.engine, fuse))
    return fused


class _FusedEngine:
    def __init__(self, engine: sa.Engine, fuse: Fuse) -> None:
        self._engine = engine
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self._fuse.burn()
        with self._engine.begin() as db:
            yield db
        self._fuse.burn()
