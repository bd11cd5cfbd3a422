"""Try every kill point of a scenario, each in a branch of its own, several at a time.

How to die is in ``kill_points``; what must hold afterwards is for the tests to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import wait
from typing import Any, TypeVar

from pycontw_assets_tests.pipeline.harness import Branch, Pipeline
from pycontw_assets_tests.pipeline.kill_points import KillPoint, Kind

KILLED = -9  # the exit code
STRIDE = int(os.environ.get("PYTEST_CRASH_STRIDE", "1"))
_PATIENCE_SECONDS = 240
_T = TypeVar("_T")


def all_points(counts: Mapping[Kind, int], kinds: Iterable[Kind]) -> list[KillPoint]:
    """Return every point of these kinds, or every ``PYTEST_CRASH_STRIDE``-th."""
    return [KillPoint(kind, number) for kind in kinds for number in range(1, counts[kind] + 1)][::STRIDE]


def try_all(
    pipeline: Pipeline, points: Iterable[KillPoint], try_point: Callable[[KillPoint, Pipeline], _T]
) -> Iterator[tuple[KillPoint, _T | str]]:
    """Run one more branch than there are processors, since each sometimes waits. A text says why one did not end."""
    waiting = list(reversed(list(points)))
    running: dict[Any, tuple[KillPoint, Branch[_T]]] = {}
    while waiting or running:
        while waiting and len(running) <= (os.cpu_count() or 1):
            point = waiting.pop()
            branch = pipeline.branch(partial(try_point, point))
            running[branch.outcome] = point, branch
        for ready in wait(list(running), timeout=_PATIENCE_SECONDS) or list(running):
            point, branch = running.pop(ready)
            try:
                yield point, branch.result()
            except AssertionError as error:
                yield point, str(error)
