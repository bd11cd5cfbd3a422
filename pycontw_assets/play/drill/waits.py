"""Describe how long buyers waited: numbers, and text of a phone's width. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pycontw_assets.pipeline.waiting_times import spread

WIDTH = 72
_BAR = 19
_STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_MOST_ROWS = 12


@dataclass(frozen=True)
class Waited:
    """One paid ticket: seconds until access and until the invitation left; ``None``: never, or had before."""

    paid_at: datetime
    access: float | None
    mail: float | None

    def meets(self, start: datetime, end: datetime) -> bool:
        """Return whether it was still waiting at some moment of that period."""
        longest = max((seconds for seconds in (self.access, self.mail) if seconds is not None), default=0.0)
        return self.paid_at < end and start < self.paid_at + timedelta(seconds=longest)


def bucket_seconds(slowest: float) -> int:
    """Return the width of the histogram's rows, so that there are not too many."""
    return next((step for step in _STEPS if slowest < step * _MOST_ROWS), math.ceil(slowest / _MOST_ROWS) + 1)


def counts(seconds: Iterable[float | None], step: int) -> dict[int, int]:
    """Count by bucket. Buckets are half open, and the first begins at zero."""
    return dict(Counter(int(wait // step) for wait in seconds if wait is not None))


def table(rows: Iterable[tuple[str, Sequence[Waited]]]) -> Iterator[str]:
    """Yield p50, p95 and max of each group of tickets."""
    yield f"  {'seconds from payment':<38}{'tickets':>8}{'p50':>8}{'p95':>8}{'max':>8}"
    for name, waited in rows:
        for what, seconds in both(waited).items():
            known = spread(seconds)
            numbers = (
                f"{known.count:>8}{known.median:>8.0f}{known.p95:>8.0f}{known.slowest:>8.0f}"
                if known
                else f"{'none':>8}"
            )
            yield f"  {f'{name}, to {what}':<38}{numbers}"


def histogram(waited: Sequence[Waited]) -> Iterator[str]:
    """Yield a row per bucket of seconds, with a bar for access and one for the invitation."""
    waits = both(waited)
    known = [wait for seconds in waits.values() for wait in seconds if wait is not None]
    if not known:
        return
    step = bucket_seconds(max(known))
    bars = [counts(seconds, step) for seconds in waits.values()]
    most = max(max(buckets.values(), default=0) for buckets in bars)
    yield f"  {'seconds':>11}  " + "  ".join(f"{f'to {what}':<{_BAR + 6}}" for what in waits).rstrip()
    for bucket in range(int(max(known) // step) + 1):
        cells = "  ".join(f"{_bar(buckets.get(bucket, 0), most):<{_BAR + 6}}" for buckets in bars)
        yield f"  {bucket * step:>5}-{(bucket + 1) * step:<5}  {cells}".rstrip()


def both(waited: Sequence[Waited]) -> dict[str, list[float | None]]:
    """Return the seconds of all tickets, to access and to the invitation."""
    return {"access": [ticket.access for ticket in waited], "invitation": [ticket.mail for ticket in waited]}


def _bar(count: int, most: int) -> str:
    return f"{'#' * math.ceil(count / most * _BAR)} {count}" if count else ""
