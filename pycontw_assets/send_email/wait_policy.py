"""How long to wait, within one run, for Klaviyo to catch up with itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """Seconds to be patient within one run; what is not done by then goes on in the next poll.

    ``draft_apart``: two reads that far apart must both say ``Draft`` before a send in doubt is repeated.
    ``lock``: how long to wait for another process at the same work.
    ``hidden``: how long a batch waits for members that do not show on its list.
    ``pool_rest``: how long a list of the pool stays idle after its campaign ended.
    """

    step: float = 0.2
    visible: float = 30
    estimate: float = 20
    follow: float = 20
    second_look: float = 5
    draft_apart: float = 60
    lock: float = 120
    hidden: timedelta = timedelta(hours=1)
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
