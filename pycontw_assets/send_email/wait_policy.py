"""How long one run waits for Klaviyo, whose answers may be late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """Waits of one run, in seconds. What is not done by then goes on in the next poll. All are assumed to suffice.

    - ``step``: the first pause between two looks. It grows.
    - ``visible``: until changes of lists and profiles show.
    - ``estimate``: until Klaviyo has counted the recipients.
    - ``follow``: until a campaign that was sent has ended.
    - ``second_look``: before a name is looked up again.
    - ``draft_apart``: between two reads that must both say ``Draft`` before an uncertain send is repeated.
    - ``lock``: for another process at the same work.
    - ``hidden``: how long a batch waits for members that do not show on its list, over several polls.
    - ``pool_rest``: how long a list of the pool stays unused after its campaign ended.
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

    def until(self, seconds: float, is_done: Callable[[], bool], *, at_once: bool = True) -> bool:
        """Ask with growing pauses. Return whether it was done before ``seconds`` of pauses were over.

        ``at_once=False``: the first answer would practically always be no, so a pause comes first.
        """
        waited, pause = 0.0, self.step
        if not at_once:
            self.sleep(pause)
            waited = pause
        while not is_done():
            if waited >= seconds:
                return False
            self.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 5.0)
        return True
