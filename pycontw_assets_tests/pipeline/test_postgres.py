"""The ledger on a server: clients killed inside its transactions, the server itself cut off and restarted.

The full matrix of kill points is in ``test_crashes``. These samples cover the differences of another engine.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus, Definitions, RunsFilter

from pycontw_assets.orchestration.poll import poll
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import changes, make_swift
from pycontw_assets_tests.pipeline.harness import EDITION, Child, Command, Pipeline, call, definer, describe
from pycontw_assets_tests.pipeline.kill_points import KillPoint, KillPoints, Kind
from pycontw_assets_tests.postgres import PostgresServer, age_locks

pytestmark = pytest.mark.long

IN_TRANSACTIONS: tuple[Kind, ...] = ("after a write, uncommitted", "before a COMMIT", "after a COMMIT")
STRIDE = 3  # of the kill points of a poll
MOMENTS = [("kktix", "attendees/", "GET"), ("gather", "", "POST"), ("klaviyo", "campaigns", "POST")]


def all_is_well(pipeline: Pipeline) -> None:
    age_locks(pipeline.ledger.engine, 600)  # during an outage of the server a lock could not be dropped
    pipeline.until_quiet()
    world = pipeline.world
    assert pipeline.verdict() == []
    assert pipeline.guests() == entitled(world, EDITION)
    rows = {row["attendee_id"]: row["is_usable"] for table in pipeline.tables().values() for row in table}
    assert rows == {t.attendee_id: t.is_usable for t in world.kktix.tickets.values()}


@pytest.fixture
def served(install: Install, postgres: PostgresServer) -> Callable[..., Pipeline]:
    """Return a function that makes installations with a ledger on the server."""
    url = postgres.url(postgres.new_database())
    return lambda **settings: install(ledger_url=url, **settings)


# -- the client dies ----------------------------------------------------------------------------------


def dying(pipeline: Pipeline, points: KillPoints) -> Command:
    def run(definitions: Definitions, root: Composition, instance: DagsterInstance) -> bool:
        points.watch(vault=f"{root.settings.home}/vault", ledger=str(pipeline.ledger.engine.url.database))
        return call(root, poll, definer(root), instance).ok

    return run


def run_child(pipeline: Pipeline, point: KillPoint | None) -> tuple[int, dict[Kind, int]]:
    points = KillPoints(point)
    variables = {name: str(value) for name, value in pipeline._variables.items()}
    child = Child(variables, pipeline.clock.skipped, None, instance=pipeline.instance, command=dying(pipeline, points))
    child.go()
    return child.join(), points.counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_TRANSACTIONS)
def test_a_killed_client_leaves_a_transaction_whole_or_undone(
    served: Callable[..., Pipeline], world: World, kind: Kind
) -> None:
    """Each killed poll goes on where the last one died, until one comes to its end."""
    pipeline = changes(served, world)
    for number in range(1, 1000, STRIDE):
        exit_code, counts = run_child(pipeline, KillPoint(kind, number))
        if exit_code != -9:
            break
        assert pipeline.verdict(settled=False) == []
    assert number > 4 * STRIDE, "hardly anything was killed"
    assert counts[kind] < number
    all_is_well(pipeline)


# -- the server dies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment", [MOMENTS[-1], *(pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS[:-1])]
)
@pytest.mark.parametrize(
    "is_back_at_once", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["stays away", "is back at once"]
)
def test_a_server_that_dies_costs_one_poll(
    served: Callable[..., Pipeline],
    world: World,
    postgres: PostgresServer,
    moment: tuple[str, str, str],
    is_back_at_once: bool,
) -> None:
    pipeline = changes(served, world)
    service, path, method = moment
    accident = postgres.restart if is_back_at_once else postgres.crash
    world.faults.add(service, "hook", path=path, method=method, acts=True, action=accident)
    text = describe_even_if_it_fails(pipeline)
    assert is_back_at_once or "LEDGER_URL" in text
    world.faults.clear()
    if not is_back_at_once:
        postgres.start()
    assert pipeline.verdict(settled=False) == []
    all_is_well(pipeline)


def describe_even_if_it_fails(pipeline: Pipeline) -> str:
    try:
        return describe(pipeline.poll())
    except Exception as error:  # noqa: BLE001 - what a command would print
        return str(error)


# -- Dagster with it ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_same_server_keeps_dagsters_storage_too(
    served: Callable[..., Pipeline], world: World, event: int, postgres: PostgresServer
) -> None:
    make_swift(world)
    # Spelled out: SQLAlchemy 2.1 takes another driver for a plain "postgresql", which Dagster cannot use.
    url = postgres.url(postgres.new_database(), driver="postgresql+psycopg2")
    pipeline = served()
    folder = pipeline.home / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump({"storage": {"postgres": {"postgres_url": url}}}))
    world.sell(event)
    assert pipeline.poll_in_child() == 0
    with DagsterInstance.from_config(str(folder)) as instance:
        ended = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))
        assert {record.dagster_run.job_name for record in ended} >= {"grant_access_job", "klaviyo_template_job"}
    assert len(pipeline.mailed()) == 1
    assert not list(folder.rglob("*.db"))
