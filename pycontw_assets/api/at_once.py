"""Several calls of a service at once, as long as each of them may fail or be repeated without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import Context, copy_context
from threading import Event
from typing import TypeVar

_Subject = TypeVar("_Subject")
_Answer = TypeVar("_Answer")
_AT_ONCE = 4  # far below what any of the services takes in a second


def ask_at_once(ask: Callable[[_Subject], _Answer], subjects: Iterable[_Subject]) -> dict[_Subject, _Answer]:
    """Return the answer about each subject, four asked about at a time. Their order is kept.

    The error of the first subject that has one is raised when the calls under way are over. No other begins then.
    The calls have what holds for the calling thread: its time limits, and the locks without which nobody is called.
    """
    asked, has_failed = list(subjects), Event()

    def attempt(context: Context, subject: _Subject) -> _Answer:
        if has_failed.is_set():
            raise CancelledError  # nobody sees it: a subject before this one has an error
        try:
            return context.run(ask, subject)
        except BaseException:
            has_failed.set()
            raise

    contexts = [copy_context() for _ in asked]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return dict(zip(asked, pool.map(attempt, contexts, asked), strict=True))
