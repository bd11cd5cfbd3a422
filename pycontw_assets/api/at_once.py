"""Several calls of a service at once, as long as each of them may fail or be repeated without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Subject = TypeVar("_Subject")
_Answer = TypeVar("_Answer")
_AT_ONCE = 4  # far below what any of the services takes in a second


def ask_at_once(ask: Callable[[_Subject], _Answer], subjects: Iterable[_Subject]) -> dict[_Subject, _Answer]:
    """Return the answer about each subject, four asked about at a time. Their order is kept.

    The error of the first subject that has one is raised when the calls under way are over. No other begins then.
    """
    asked = list(subjects)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(asked, pool.map(ask, asked), strict=True))
