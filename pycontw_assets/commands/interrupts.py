"""A first signal lets a command stop in good order, a second one ends it at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from pycontw_assets.api.stopping import Stop, Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BY_SIGNAL = 128  # the exit code of a shell for a command that a signal ended, plus its number


def run_until_stopped(work: Callable[[], int], stop: Stop) -> int:
    """Run ``work`` and return its exit code, or the one that names the signal which came meanwhile.

    The work has a thread of its own. In the main thread Dagster would put its own handlers in place of ours, and raise
    in the middle of a call, so that nobody would know how the call ended.
    """
    received: list[int] = []

    def stop_in_order(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            os._exit(_BY_SIGNAL + number)
        print("Stopping after the call under way. Another signal ends it at once.", file=sys.stderr, flush=True)
        stop.ask()

    # A signal that was ignored from the start (nohup, "&" in a script) stays ignored.
    replaced = [sign for sign in SIGNALS if signal.getsignal(sign) != signal.SIG_IGN]
    previous = {sign: signal.signal(sign, stop_in_order) for sign in replaced}
    try:
        with ThreadPoolExecutor(1) as thread:
            code = thread.submit(work).result()
    except Stopped:
        code = 0
    finally:
        for sign, handler in previous.items():
            signal.signal(sign, handler)
    if not received:
        return code
    name = signal.Signals(received[0]).name
    print(f"Interrupted by {name}. Nothing failed; the next poll goes on from here.", file=sys.stderr)
    return _BY_SIGNAL + received[0]
