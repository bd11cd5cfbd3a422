"""One sandbox server for the whole folder; every test gets an empty world, a clock and a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import Pipeline, TestClock

Install = Callable[..., Pipeline]


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(World()) as running:
        yield running


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def world(server: SandboxServer, clock: TestClock) -> World:
    server.world.reset(clock)
    return server.world


@pytest.fixture
def event(world: World) -> int:
    return world.add_event("PyCon TW 2031 Registration: Individual")


@pytest.fixture
def install(server: SandboxServer, world: World, clock: TestClock, tmp_path: Path) -> Install:
    """Makes a pipeline with settings by name, e.g. ``install(invite_limit=2)``."""

    def make(*, on_disk: bool = False, name: str = "home", **settings: Any) -> Pipeline:
        return Pipeline(server, clock, tmp_path / name, on_disk=on_disk, **settings)

    return make


@pytest.fixture
def pipeline(install: Install) -> Pipeline:
    return install()
