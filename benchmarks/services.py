"""The simulated services in a separate process, so that their cost is not measured: ``python -m benchmarks.services``.

The process prints its URL when it is ready, and runs until its input ends.
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
_AT_A_TIME = 1000  # buyers, the limit of the control interface


@contextmanager
def running_services(attendees: int, latency: float) -> Iterator[str]:
    """Run services with so many sold tickets during the block, and yield their URL."""
    command = [sys.executable, "-m", "benchmarks.services", str(attendees), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def slow_down(world: World, latency: float) -> None:
    """Delay every answer of every service by so many seconds."""
    for service in SERVICES:
        world.faults.add(service, "latency", seconds=latency, times=None)


def sell(url: str, buyers: int, *, paid: bool = True) -> None:
    for start in range(0, buyers, _AT_A_TIME):
        _act(url, "sell_many", event_id=EVENT_ID, buyers=min(_AT_A_TIME, buyers - start), paid=paid)


def _act(url: str, action: str, **arguments: Any) -> None:
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
