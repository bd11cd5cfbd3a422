"""A scripted server, and a clock that moves only in sleeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pycontw_assets_tests.clients.scripted_server import ScriptedServer


class FakeTime:
    """``sleep`` returns at once and moves ``clock``. ``slept`` lists the sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()
