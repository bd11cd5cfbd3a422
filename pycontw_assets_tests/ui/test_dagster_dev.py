"""``dagster dev``, as in Dagster's own manual, in a fresh checkout: only the home is configured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.ui.processes import Command, Dagster, free_port

pytestmark = pytest.mark.browser

CHECKOUT = Path(__file__).parents[2]
# Dagster recommends another command, which refuses a project with a setup.py.
_EXPECTED_WARNING = "SupersessionWarning: Function `dev_command`"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dagster_dev")


@pytest.fixture(scope="module")
def dagster_dev(folder: Path) -> Iterator[tuple[Command, Dagster]]:
    port = free_port()
    with (
        SandboxServer(World()) as empty_sandbox,
        Command(
            "dagster",
            *("dev", "--port", str(port)),
            home=folder / "home",
            folder=CHECKOUT,
            PYCONTW_ENV="sandbox",
            DAGSTER_DISABLE_TELEMETRY="yes",
            **empty_sandbox.environment,
        ) as command,
    ):
        yield command, Dagster(port)


@pytest.fixture(scope="module")
def location(dagster_dev: tuple[Command, Dagster]) -> dict[str, Any]:
    command, dagster = dagster_dev
    return command.wait_for(dagster.location, "code location")


def test_the_checkout_loads_without_changes(location: dict[str, Any]) -> None:
    assert (location["__typename"], location.get("name")) == ("RepositoryLocation", "pycontw_assets.definitions")


def test_the_sensor_runs_by_default(location: dict[str, Any]) -> None:
    sensors = {sensor["name"]: sensor["sensorState"]["status"] for sensor in location["repositories"][0]["sensors"]}
    assert sensors == {"kktix_orders_sensor": "RUNNING"}


def test_polling_without_events_warns_of_nothing(
    dagster_dev: tuple[Command, Dagster], location: dict[str, Any]
) -> None:
    command, dagster = dagster_dev

    def skipped() -> dict[str, Any] | None:
        ticks = dagster.latest_ticks("kktix_orders_sensor", 1)
        return ticks[0] if ticks and ticks[0]["status"] != "STARTED" else None

    tick = command.wait_for(skipped, "tick")
    assert (tick["status"], tick["skipReason"]) == ("SKIPPED", "0 events listed")
    warnings = [line for line in command.output.splitlines() if re.search("warn|error|traceback", line, re.I)]
    assert [line for line in warnings if _EXPECTED_WARNING not in line] == []


def test_the_temporary_instance_is_deleted_at_the_end(
    dagster_dev: tuple[Command, Dagster], location: dict[str, Any]
) -> None:
    command, _ = dagster_dev
    match = re.search(r"Using temporary directory (\S+)", command.output)
    assert match
    instance = Path(match[1])
    assert (instance.parent, instance.exists()) == (CHECKOUT, True)
    command.interrupt()
    assert not instance.exists()
