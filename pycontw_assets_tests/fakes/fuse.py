"""Kills a step before or after any call it makes, as ``kill -9`` would: nothing of it runs on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import sqlalchemy as sa

from pycontw_assets.ledger.ledger import Ledger


class Killed(BaseException):
    """Not an ``Exception``: no handler of the code under test may survive it."""


class Fuse:
    """Counts the moments before and after every call; blows at the one given. ``None``: never."""

    def __init__(self, blows_at: int | None = None) -> None:
        self.moments = 0
        self._blows_at = blows_at

    def burn(self) -> None:
        self.moments += 1
        if self.moments - 1 == self._blows_at:
            raise Killed


class Fused:
    """``target`` with a fuse around each of its methods."""

    def __init__(self, target: Any, fuse: Fuse) -> None:
        self._target = target
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return found if not callable(found) or name == "clock" else self._guard(found)

    def _guard(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **details: Any) -> Any:
            self._fuse.burn()
            result = method(*args, **details)
            self._fuse.burn()
            return result

        return call


def fused_ledger(ledger: Ledger, fuse: Fuse) -> Ledger:
    """The same ledger with a fuse around each of its transactions."""
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
