"""The simulated services in a separate process, so that their cost is not measured: ``python -m benchmarks.services``.

The process prints its URL when it is ready, and runs until its input ends. For each line of input it prints the times
of all mails so far, in seconds since 1970.
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


class Services:
    """Running services at ``url``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read()

    def mails(self) -> list[float]:
        """Return when each mail so far left, in seconds since 1970."""
        assert self._process.stdin is not None
        self._process.stdin.write("mails\n")
        self._process.stdin.flush()
        times: list[float] = json.loads(self._read())
        return times

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def services(attendees: int, latency: float) -> Iterator[Services]:
    """Run services with so many sold tickets during the block."""
    command = [sys.executable, "-m", "benchmarks.services", str(attendees), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield Services(process)
        finally:
            process.stdin.close()


@contextmanager
def running_services(attendees: int, latency: float) -> Iterator[str]:
    """Run services with so many sold tickets during the block, and yield their URL."""
    with services(attendees, latency) as running:
        yield running.url


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
        for _ in sys.stdin:
            print(json.dumps([mail.at.timestamp() for mail in world.outbox]), flush=True)


if __name__ == "__main__":
    _main()
