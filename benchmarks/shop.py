"""The simulated services as a process of its own, so that what they cost is not ours: ``python -m benchmarks.shop``.

It prints its URL once it answers, and lives until its input ends.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycontw_assets.sandbox.page.view import SERVICES
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World

EVENT_ID = 90001
_AT_A_TIME = 1000  # buyers, as the control interface allows


@contextmanager
def shop(attendees: int, latency: float) -> Iterator[str]:
    """A shop that sold so many tickets, gone with the block; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.shop", str(attendees), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def slow_down(world: World, latency: float) -> None:
    """Every answer of every service takes so many seconds."""
    for service in SERVICES:
        world.faults.add(service, "latency", seconds=latency, times=None)


def sell(url: str, buyers: int, *, paid: bool = True) -> None:
    for start in range(0, buyers, _AT_A_TIME):
        _tell(url, "sell_many", event_id=EVENT_ID, buyers=min(_AT_A_TIME, buyers - start), paid=paid)


def _tell(url: str, action: str, **arguments: Any) -> None:
    request = urllib.request.Request(
        f"{url}/control/{action}", json.dumps(arguments).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("attendees", type=int)
    parser.add_argument("latency", type=float)
    asked = parser.parse_args()
    world = World()
    world.add_event("PyCon TW 2031 Registration: Individual", EVENT_ID)
    for _ in range(asked.attendees):
        world.sell(EVENT_ID)
    slow_down(world, asked.latency)
    with SandboxServer(world) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main()
