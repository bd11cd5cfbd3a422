"""One sandbox server for the whole folder; every test gets an empty world, a clock and a home of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests import bigquery
from pycontw_assets_tests.pipeline.harness import WAREHOUSE, Pipeline, TestClock

Install = Callable[..., Pipeline]


@pytest.fixture(scope="session")
def bigquery_emulator(empty_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that lead Google's client to it."""
    try:
        with bigquery.emulator(tmp_path_factory.mktemp("bigquery")) as variables:
            yield variables
    except bigquery.NoEmulator as error:
        bigquery.or_skip(error)


@pytest.fixture(scope="session", autouse=True)
def warehouse_of_every_pipeline(request: pytest.FixtureRequest) -> Iterator[None]:
    kind = request.config.getoption("warehouse")
    variables = request.getfixturevalue("bigquery_emulator") if kind == "bigquery" else {}
    with mock.patch.dict(os.environ, variables), mock.patch.dict(WAREHOUSE, kind=kind):
        yield


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
