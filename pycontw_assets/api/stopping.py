"""Stop means stop: after a signal no outward call begins, and every wait ends.

A call that is under way comes to its end, so that its outcome is known. The handler of the signals belongs to the
commands.
"""

from __future__ import annotations

import threading


class Stopped(KeyboardInterrupt):
    """This process was asked to stop. No ``except Exception`` takes it for a failure: nothing failed."""


class Stop:
    """Whether this process was asked to stop. Nobody takes it back."""

    def __init__(self) -> None:
        self._is_asked = threading.Event()

    def ask(self) -> None:
        self._is_asked.set()

    def check(self) -> None:
        """Raise ``Stopped`` after it was asked."""
        if self._is_asked.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, unless and until it is asked."""
        if self._is_asked.wait(seconds):
            raise Stopped


OF_THIS_PROCESS = Stop()
"""A signal concerns the whole process, whichever parts it has built."""
