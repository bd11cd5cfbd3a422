"""``status`` shows on one screen how far everybody is, what holds them up, and whether anything runs."""

from __future__ import annotations

import json

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.status import Status, describe_status, look_up
from pycontw_assets.orchestration.run_history import read_run_history
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.thorough  # says little about tables

ANNA = "anna@example.org"


def status(pipeline: Pipeline) -> Status:
    return pipeline.call(look_up, history=read_run_history(pipeline.instance, pipeline.ledger))


def test_everybody_is_counted_where_they_stand(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.suppress("suppressed@example.org")
    for address in (ANNA, ANNA, "suppressed@example.org"):
        world.sell(event, address=address)
    world.sell(event, address="ben@example.com", paid=False)
    [broken] = world.sell(event, address="cara@example.net")
    world.faults.add("kktix", "shape", path=f"attendees/{broken}$", times=None)
    pipeline.poll()
    mark = pipeline.mark()
    found = status(pipeline)
    assert pipeline.requests(mark) == 0
    [one] = found.events
    assert one.counts == {
        "attendees": 4,
        "usable": 3,
        "unpaid": 1,
        "not activated": 0,
        "missing": 0,
        "unclear": 0,
        "cancelled": 0,
        "quarantined": 1,
        "let in": 2,
        "invited": 1,
        "waiting": 0,
        "unreachable": 1,
        "no invite": 0,
        "not seen": 0,
    }
    assert one.polled_at is not None
    assert any(f"attendee {broken}" in problem.text for problem in found.problems)
    assert ANNA not in "\n".join(describe_status(found))


@pytest.mark.slow
def test_a_service_that_fails_shows_with_the_next_attempt(install: Install, world: World, event: int) -> None:
    pipeline = install()
    world.sell(event, address=ANNA)
    world.faults.add("gather", "status", times=None)
    for _ in range(3):
        pipeline.later_poll()
    found = status(pipeline)
    [one] = found.events
    assert (one.counts["let in"], one.counts["waiting"]) == (0, 1)
    assert one.failures == 3
    assert any("Gather" in problem.text for problem in found.problems)
    world.faults.clear()
    pipeline.until_quiet()
    assert status(pipeline).problems == ()


@pytest.mark.slow
def test_the_command_works_before_and_after_the_first_poll(
    server: SandboxServer, install: Install, world: World, event: int, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pipeline = install(on_disk=True)
    for name, value in {**server.environment, "PYCONTW_HOME": str(pipeline.home)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", str(pipeline.home / "dagster"))
    assert main(["status"]) == 1
    assert "never used" in capsys.readouterr().err
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:9] == [f"2031-individual-{event}", *"11001100"] for line in lines)
    assert "no open problems" in lines
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["edition"] == "2031"
