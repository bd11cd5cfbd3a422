"""Killed at any point, a poll that runs again mails nobody twice, forgets nobody and tears nothing.

A scenario is an installation a moment before a poll. Each of its kill points is tried on a copy of everything: a
child runs the real poll and dies there. Then ordinary polls run until quiet, and the oracle judges. The outcome must
equal that of a poll without a kill.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from dagster import DagsterRunStatus, RunsFilter

from pycontw_assets.ledger.events import known_events
from pycontw_assets.sandbox.oracle import events_of
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import SCENARIOS, Scenario, running_sale
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline
from pycontw_assets_tests.pipeline.kill_matrix import KILLED, all_points, try_all
from pycontw_assets_tests.pipeline.kill_points import KINDS, KillPoint, Kind

pytestmark = pytest.mark.thorough  # says little about tables

# The oracle's numbers in the words of the report. "torn" and "differs" are found here.
FAULTS = {1: "mailed twice", 2: "forgotten", 3: "wrongly kept or let in", 4: "wrongly removed", 5: "mailed too early"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The final state of everything; ``tables`` without times, which differ between runs."""

    mails: Counter[str]
    guests: set[str]
    tables: Any


@dataclass(frozen=True, slots=True)
class Judgement:
    """``faults`` by name; empty when nothing was wrong. A point that did not exist kills nothing."""

    was_killed: bool
    faults: list[tuple[str, str]]
    outcome: Outcome


def try_point(scenario: Scenario, point: KillPoint | None, pipeline: Pipeline) -> Judgement:
    """Kill, recover and judge; runs in a branch."""
    exit_code, _ = pipeline.run_in_child(point, scenario.command)
    assert exit_code in (KILLED, 0), f"exit code {exit_code}"
    faults = list(findings(pipeline, settled=False))
    scenario.settle(pipeline)
    tables = pipeline.tables()
    faults += [*findings(pipeline, settled=True), *torn(pipeline, tables)]
    return Judgement(exit_code == KILLED, faults, outcome(pipeline, tables))


def count_points(scenario: Scenario, pipeline: Pipeline) -> dict[Kind, int]:
    """Return the number of points in a run without a kill."""
    exit_code, points = pipeline.run_in_child(command=scenario.command)
    assert exit_code == 0
    return points.counts


def findings(pipeline: Pipeline, *, settled: bool) -> Iterator[tuple[str, str]]:
    for finding in pipeline.verdict(settled=settled):
        yield FAULTS.get(finding.invariant, f"invariant {finding.invariant}"), str(finding)


def torn(pipeline: Pipeline, tables: dict[Any, list[dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """Return tables that differ from the sales of KKTIX, unreadable orders, and a corrupt ledger."""
    tickets = pipeline.world.kktix.tickets
    rows = {row["attendee_id"]: row["is_usable"] for table in tables.values() for row in table}
    if rows != {ticket.attendee_id: ticket.is_usable for ticket in tickets.values()}:
        yield "torn", "the tables differ from what was sold"
    stored: set[int] = set()
    for event in known_events(pipeline.ledger).values():
        snapshot = pipeline.root.vault.read(event.key)
        stored |= snapshot.records.keys() if snapshot else set()
    if stored != tickets.keys():
        yield "torn", "the vault differs from what was sold"
    with pipeline.ledger.engine.begin() as database:
        if database.exec_driver_sql("PRAGMA integrity_check").scalar() != "ok":
            yield "torn", "the ledger is damaged"


def outcome(pipeline: Pipeline, tables: dict[Any, list[dict[str, Any]]]) -> Outcome:
    timeless = {
        family: [{k: v for k, v in row.items() if not k.endswith("_at") and "digest" not in k} for row in rows]
        for family, rows in tables.items()
    }
    return Outcome(Counter(pipeline.mailed()), pipeline.guests(), timeless)


# -- the matrix -------------------------------------------------------------------------------------


@dataclass
class Matrix:
    """The kills so far, for the report at the end."""

    tried: dict[str, Counter[Kind]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        width = max(map(len, self.tried), default=0)
        totals = Counter[str]()
        lines = []
        for name, counts in self.tried.items():
            totals.update(counts)
            lines += [f"\n{name:{width}}  {sum(counts.values()):5} kill points"]
            lines += [f"{'':{width}}  {count:5} {kind}" for kind, count in counts.items()]
        lines += [f"\n{'in all':{width}}  {totals.total():5} kill points"]
        lines += [f"{'':{width}}  {totals[kind]:5} {kind}" for kind in KINDS if totals[kind]]
        wrong = [f"{name} {self.faults[name]}" for name in (*FAULTS.values(), "torn", "another outcome", "stuck")]
        return "\n".join([*lines, "", ", ".join(wrong)])


@pytest.fixture(scope="module")
def matrix() -> Iterator[Matrix]:
    found = Matrix()
    yield found
    if found.tried:
        print(f"\n{found}")


@pytest.fixture
def install(install_in_memory: Install) -> Install:
    return install_in_memory


def judge_all(
    pipeline: Pipeline, scenario: Scenario, points: list[KillPoint]
) -> tuple[Counter[Kind], list[tuple[str, str]]]:
    """Return the number of kills by kind, and everything that was wrong."""
    killed, faults = Counter[Kind](), []
    expected = pipeline.branch(partial(try_point, scenario, None)).result()
    for point, judgement in try_all(pipeline, points, partial(try_point, scenario)):
        if isinstance(judgement, str):
            faults.append(("stuck", f"{point}: {judgement}"))
            continue
        killed[point.kind] += judgement.was_killed
        faults += [(name, f"{point}: {text}") for name, text in judgement.faults]
        if judgement.outcome != expected.outcome:
            faults.append(("another outcome", f"{point}: {judgement.outcome} instead of {expected.outcome}"))
    return killed, [*expected.faults, *faults]


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_point_nobody_is_mailed_twice_forgotten_or_wrongly_kept(
    install: Install, world: World, matrix: Matrix, name: str
) -> None:
    scenario = SCENARIOS[name]
    pipeline = scenario.prepare(install, world)
    counts = pipeline.branch(partial(count_points, scenario)).result()
    points = all_points(counts, scenario.kinds)
    killed, faults = judge_all(pipeline, scenario, points)
    matrix.tried[name] = killed
    matrix.faults.update(kind for kind, _ in faults)
    assert not faults, "\n".join(text for _, text in faults[:20])
    assert killed.total() > 0.98 * len(points), "a few points depend on how fast Klaviyo and the warehouse are"


# The worst points for a kill: requests by their purpose, changes of the stores by their number.
REQUESTS = [("POST .*setEmailGuestlist$", 1), ("POST .*/api/campaigns$", 0), ("POST .*send-jobs$", 0)]
DEEDS = [
    KillPoint("after a COMMIT", 20),
    KillPoint("vault: half written", 1),
    KillPoint("somewhere in a replacement", 5),
]


def steps_of(pipeline: Pipeline) -> list[str]:
    mark = pipeline.mark()
    assert pipeline.run_in_child()[0] == 0
    return [f"{call.method} {call.path}" for call in pipeline.world.calls.find(since=mark.calls)]


@pytest.mark.embedded
def test_a_poll_killed_at_the_worst_points_loses_and_repeats_no_mail(install: Install, world: World) -> None:
    """Test a sample; the test above kills at every single point of every scenario."""
    scenario = SCENARIOS["changes of every kind"]
    pipeline = scenario.prepare(install, world)
    steps = pipeline.branch(steps_of).result()
    unheard = [
        [number for number, step in enumerate(steps, 1) if re.match(pattern, step)][which]
        for pattern, which in REQUESTS
    ]
    points = [*(KillPoint("request acted, reply unheard", number) for number in unheard), *DEEDS]
    killed, faults = judge_all(pipeline, scenario, points)
    assert not faults
    assert killed.total() == len(points)


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "status"),
    [
        (KillPoint("after a COMMIT of Dagster's", 12), DagsterRunStatus.NOT_STARTED),
        (KillPoint("before a request", 10), DagsterRunStatus.STARTED),
    ],
)
def test_a_run_whose_process_died_does_not_keep_its_event_waiting(
    install: Install, world: World, point: KillPoint, status: DagsterRunStatus
) -> None:
    """This holds also for a run that died before its first step."""
    pipeline = running_sale(install, world, on_disk=True)
    world.sell(*events_of(world, EDITION))
    assert pipeline.run_in_child(point)[0] == KILLED
    [dead] = pipeline.instance.get_runs(RunsFilter(statuses=[status]))
    pipeline.later_poll()
    buried = pipeline.instance.get_run_by_id(dead.run_id)
    assert buried
    assert buried.status == DagsterRunStatus.FAILURE
    assert pipeline.verdict() == []


def test_with_all_history_of_dagster_deleted_nobody_is_mailed_again(install: Install, world: World, event: int) -> None:
    pipeline = install()
    world.sell(event)
    pipeline.poll()
    mark = pipeline.mark()
    pipeline.forget_history()
    report = pipeline.later_poll()
    assert report.ok
    assert report.runs, "Dagster's assets are materialized again"
    assert pipeline.writes(mark) == []
    world.sell(event)
    pipeline.forget_history()
    pipeline.until_quiet()
    assert len(pipeline.mailed(mark)) == 1
    assert pipeline.verdict() == []
