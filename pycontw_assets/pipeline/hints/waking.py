"""Start polls for hints, for an installation without Dagster's daemon: at once, and twice again while nothing is new.

The polls themselves are somebody else's: ``poll`` is injected. The timer that starts one every five minutes goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from pycontw_assets.api.stopping import Stop
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.hints.deliveries import drop_hints, waiting_hints
from pycontw_assets.ledger.hints.looks import PAUSES, contents
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.hints.pace import POSTPONED_SECONDS

EVERY_SECONDS = 1.0
_APART_SECONDS = 5.0  # from the end of a poll to the next beginning: hints of a rush make one poll
_PAUSE_AFTER_ERROR_SECONDS = 30.0


class Waker:
    """Waits for hints, and polls. ``monotonic``: seconds of any clock. ``may_poll``: whether mails may leave now."""

    def __init__(
        self,
        ledger: Ledger,
        poll: Callable[[], object],
        *,
        monotonic: Callable[[], float],
        may_poll: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ledger = ledger
        self._may_poll = may_poll
        self._poll = poll
        self._monotonic = monotonic
        self._pauses: list[float] = []  # before the polls that are still to come for the last hint
        self._next_at: float | None = None
        self._ended_at = float("-inf")

    def step(self) -> bool:
        """Take in hints, and poll if a poll is due. Return whether it polled."""
        now = self._monotonic()
        if hints := waiting_hints(self._ledger):
            # Before the poll reads KKTIX: a hint that comes during it leads to another one.
            drop_hints(self._ledger, hints)
            self._pauses, self._next_at = list(PAUSES), max(now, self._ended_at + _APART_SECONDS)
        if self._next_at is None or now < self._next_at:
            return False
        if not self._may_poll():
            self._next_at = now + POSTPONED_SECONDS
            return False
        before = contents(self._ledger)
        self._poll()
        if contents(self._ledger) != before:
            self._pauses = []
        self._ended_at = self._monotonic()
        self._next_at = self._ended_at + self._pauses.pop(0) if self._pauses else None
        return True

    def run(self, stop: Stop) -> None:
        """Go on until ``stop`` is asked for, which ends it with ``Stopped``. A ledger that is away is waited for."""
        while True:
            pause = EVERY_SECONDS
            try:
                self.step()
            except LedgerError:
                pause = _PAUSE_AFTER_ERROR_SECONDS
            stop.sleep(pause)
