"""How long to wait for Klaviyo to catch up with itself, and finding or making things by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pycontw_assets.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds to be patient within one run; what is not done by then goes on in the next poll.

    ``draft_apart``: two reads that far apart must both say ``Draft`` before a send in doubt is repeated.
    ``pool_rest``: how long a list of the pool stays idle after its campaign ended.
    """

    step: float = 0.5
    visible: float = 30
    estimate: float = 20
    follow: float = 20
    second_look: float = 5
    draft_apart: float = 60
    pool_rest: timedelta = timedelta(hours=1)
    sleep: Callable[[float], None] = time.sleep

    def until(self, seconds: float, is_done: Callable[[], bool]) -> bool:
        """Ask again and again, at growing distance, until done or ``seconds`` of waiting are over."""
        waited, pause = 0.0, self.step
        while not is_done():
            if waited >= seconds:
                return False
            self.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 5.0)
        return True


def find_or_create(
    ledger: Ledger,
    pace: Pace,
    kind: str,
    name: str,
    find: Callable[[str], Sequence[str]],
    create: Callable[[str], str],
) -> str:
    """The id of a list or template. Names are not unique there, so the oldest wins, and the id is remembered.

    When an earlier creation ended unknown, the name is looked up twice before it is created again.
    """
    remembered = ledger.remote_id(kind, name)
    if remembered:
        return remembered
    found = find(name)
    if not found and ledger.creation_intended_at(kind, name):
        pace.sleep(pace.second_look)
        found = find(name)
    if not found:
        ledger.intend_creation(kind, name)
    remote_id = found[0] if found else create(name)
    ledger.record_remote_id(kind, name, remote_id)
    return remote_id
