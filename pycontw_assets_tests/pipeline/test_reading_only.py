"""Commands that only read leave every byte of ledger, vault, warehouse and run history unchanged.

There is something to record each time: a run that died at work, and a guest-list space that was changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from dagster import AssetCheckKey, AssetKey, DagsterRunStatus, RunsFilter

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.guest_lists import enter_space, has_space_changed
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline
from pycontw_assets_tests.pipeline.kill_points import KillPoint
from pycontw_assets_tests.postgres import PostgresServer

pytestmark = pytest.mark.thorough  # says nothing about tables

ANNA, BEN = "anna@example.org", "ben@example.com"
COMMANDS = (
    *(["status"], ["status", "--json"], ["plan"], ["doctor"], ["trace", ANNA, "--live"]),
    *(["policy", "coverage"], ["policy", "suggest"]),
)

CHECKS = ("alarms_arrive", "events_are_matched", "every_event_is_up_to_date")


def ids(command: list[str]) -> str:
    return " ".join(command).replace(ANNA, "ADDRESS")


def bytes_of(home: Path) -> Iterator[tuple[str, object]]:
    """Return every file and folder under the home."""
    for path in sorted(home.rglob("*")):
        yield str(path.relative_to(home)), path.read_bytes() if path.is_file() else "folder"


def tables_of(url: str) -> Iterator[tuple[str, object]]:
    """Return every row and column of a database on a server."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.pool.NullPool)
    with engine.connect() as db:
        reflected = sa.MetaData()
        reflected.reflect(db)
        for table in reflected.sorted_tables:
            yield table.name, (str(table.columns), sorted(map(str, db.execute(sa.select(table)))))


def everything(pipeline: Pipeline) -> dict[str, object]:
    kept = dict(bytes_of(pipeline.home))
    url = pipeline.settings.ledger_location
    return kept if isinstance(url, Path) else kept | dict(tables_of(url))


def with_news_to_record(pipeline: Pipeline, world: World, event: int) -> None:
    """Set up a sale after one poll, with a refund, a dead run, and a guest list last kept in another space."""
    ticket, *_ = (world.sell(event, address=address)[0] for address in (ANNA, BEN))
    pipeline.poll()
    world.refund(ticket)
    world.sell(event, address="cara@example.net")
    exit_code, _ = pipeline.run_in_child(KillPoint("before a request", 10))
    assert exit_code < 0, "it was killed"
    enter_space(pipeline.ledger, "2029", "another space")
    assert has_space_changed(pipeline.ledger, pipeline.settings.gather_space_id)
    assert pipeline.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])), "a dead run waits"


def in_the_environment_of(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in pipeline._variables.items():
        monkeypatch.setenv(name.upper(), str(value))
    monkeypatch.setenv("DAGSTER_HOME", str(pipeline.home / "dagster"))


def look_at_everything(pipeline: Pipeline) -> None:
    """Run every command that only looks. Each must leave what the one before it left."""
    for command in COMMANDS:
        before, mark = everything(pipeline), pipeline.mark()
        assert main(command) in (0, 1)
        assert everything(pipeline) == before, command
        assert pipeline.writes(mark) == [], command


def test_commands_that_look_change_nothing(
    install: Install, world: World, event: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = install(on_disk=True)
    with_news_to_record(pipeline, world, event)
    in_the_environment_of(pipeline, monkeypatch)
    look_at_everything(pipeline)


@pytest.mark.long
def test_they_change_nothing_on_a_server_either(
    install: Install, world: World, event: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = install(on_disk=True, ledger_url=postgres.url(postgres.new_database()))
    with_news_to_record(pipeline, world, event)
    in_the_environment_of(pipeline, monkeypatch)
    look_at_everything(pipeline)


@pytest.mark.long
def test_the_checks_of_the_page_record_nothing(install: Install, world: World, event: int) -> None:
    """Dagster records the run of the check itself, and nothing else changes: the dead run is left to the next tick."""
    pipeline = install(on_disk=True)
    with_news_to_record(pipeline, world, event)
    runs = {run.run_id: run.status for run in pipeline.instance.get_runs()}
    before = {name: kept for name, kept in bytes_of(pipeline.home) if not name.startswith("dagster")}
    keys = {AssetCheckKey(AssetKey("kktix"), name) for name in CHECKS}
    job = pipeline.definitions.resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    result = subset.execute_in_process(instance=pipeline.instance)
    assert {evaluation.check_name for evaluation in result.get_asset_check_evaluations()} == {k.name for k in keys}
    assert {name: kept for name, kept in bytes_of(pipeline.home) if not name.startswith("dagster")} == before
    left = {run.run_id: run.status for run in pipeline.instance.get_runs() if run.run_id != result.run_id}
    assert left == runs


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
def test_a_command_that_looks_makes_no_home(
    command: list[str],
    server: SandboxServer,
    world: World,
    event: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "none yet"
    for name, value in {**server.environment, "PYCONTW_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    assert main(command) in (0, 1)
    assert not home.exists()
