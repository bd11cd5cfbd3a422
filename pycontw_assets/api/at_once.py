"""Several calls of a service at once, as long as each of them may fail or be repeated without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_Subject = TypeVar("_Subject")
_Answer = TypeVar("_Answer")
_AT_ONCE = 4  # far below what any of the services takes in a second


def ask_at_once(ask: Callable[[_Subject], _Answer], subjects: Iterable[_Subject]) -> dict[_Subject, _Answer]:
    """Return the answer about each subject, four asked about at a time. Their order is kept.

    The error of the first subject that has one is raised when the calls under way are over. No other begins then.
    The calls have what holds for the calling thread: its time limits, and the locks without which nobody is called.
    """
    asked = list(subjects)
    contexts = [copy_context() for _ in asked]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = pool.map(lambda context, subject: context.run(ask, subject), contexts, asked)
        return dict(zip(asked, answers, strict=True))
