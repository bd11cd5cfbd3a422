"""Exit codes, the end of a process, the error of an unused data folder, and the type that commands register with."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, NoReturn, TypeAlias

if TYPE_CHECKING:
    import argparse

FINE, FAILED, MISCONFIGURED = 0, 1, 2
INTERRUPTED = 130  # as every shell calls it


class NeverUsed(Exception):
    """Nothing was ever polled where a command looked, so its answer would mean nothing. The text says so."""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, and leave its memory to the system.

    Python would look at each of a million objects once more before it ends, which is a fifteenth of the CPU time of a
    poll. What others registered for the end is called all the same. Python ends a process with threads that are at
    work, or whose output nobody reads.
    """
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        try:
            atexit._run_exitfuncs()
            for output in filter(None, (sys.stdout, sys.stderr)):  # ``None``: it is closed
                output.flush()
        except OSError:
            raise SystemExit(code) from None
        os._exit(code)
    raise SystemExit(code)
