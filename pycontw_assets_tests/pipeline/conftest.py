"""One sandbox server for the whole folder; every test gets an empty world, a clock and a home of its own."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests import bigquery, gcs
from pycontw_assets_tests.pipeline.engines import ENGINES, Engine, engine_of
from pycontw_assets_tests.pipeline.harness import STORES, Pipeline, TestClock
from pycontw_assets_tests.postgres import PostgresServer

Install = Callable[..., Pipeline]


@pytest.fixture(scope="session")
def bigquery_emulator(empty_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the variables that point Google's client to the emulator."""
    try:
        with bigquery.emulator(tmp_path_factory.mktemp("bigquery")) as variables:
            yield variables
    except bigquery.NoEmulator as error:
        bigquery.or_skip(error)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Return each kind of warehouse in turn."""
    return engine_of(request, tmp_path)


@pytest.fixture
def warehouse(engine: Engine) -> Warehouse:
    return engine.warehouse


@pytest.fixture(scope="session", autouse=True)
def stores_of_every_pipeline(request: pytest.FixtureRequest) -> Iterator[None]:
    production = request.config.getoption("production")
    with ExitStack() as stack:
        stack.callback(STORES.clear)
        if production or request.config.getoption("warehouse") == "bigquery":
            stack.enter_context(mock.patch.dict(os.environ, request.getfixturevalue("bigquery_emulator")))
            STORES.append(bigquery.bigquery_settings)
        if production:
            bucket = stack.enter_context(gcs.emulator())
            gcs.make_bucket(bucket, "orders")
            stack.enter_context(mock.patch.dict(os.environ, {gcs.HOST_VARIABLE: bucket}))
            STORES.append(_on_servers(request.getfixturevalue("postgres")))
        yield


def _on_servers(postgres: PostgresServer) -> Callable[[Path], dict[str, str]]:
    """Give each home its own database and its own folder in the bucket."""

    @functools.cache
    def settings_of(home: Path) -> dict[str, str]:
        database = postgres.new_database()
        return {"ledger_url": postgres.url(database), "vault_url": f"gs://orders/{database}"}

    return settings_of


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
    """Return a function that makes a pipeline with settings by name, e.g. ``install(invite_limit=2)``."""

    def make(*, on_disk: bool = False, name: str = "home", **settings: Any) -> Pipeline:
        return Pipeline(server, clock, tmp_path / name, on_disk=on_disk, **settings)

    return make


@pytest.fixture
def install_in_memory(server: SandboxServer, world: World, clock: TestClock, tmp_path: Path) -> Iterator[Install]:
    """Install in memory if there is room: a kill loses nothing that was written there."""
    memory = Path("/dev/shm")
    base = memory / f"pycontw-{os.getpid()}-{tmp_path.name}" if os.access(memory, os.W_OK) else tmp_path / "homes"
    base.mkdir()

    def make(*, on_disk: bool = False, **settings: Any) -> Pipeline:
        return Pipeline(server, clock, base / "home", on_disk=on_disk, **settings)

    yield make
    shutil.rmtree(base)


@pytest.fixture
def pipeline(install: Install) -> Pipeline:
    return install()
