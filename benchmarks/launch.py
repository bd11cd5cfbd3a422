"""Run a command and write what it cost as JSON: ``python -I launch.py FILE COMMAND …``.

It imports little, because Linux counts the memory of a parent as the peak of its child until the child has begun.
"""

import json
import os
import sys
import time


def _main() -> int:
    file, *command = sys.argv[1:]
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(child, 0)
    cost = {
        "CPU s": usage.ru_utime + usage.ru_stime,
        "wall s": time.monotonic() - started,
        "peak MB": usage.ru_maxrss / 1024,
    }
    with open(file, "w", encoding="utf-8") as output:
        json.dump(cost, output)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    raise SystemExit(_main())
