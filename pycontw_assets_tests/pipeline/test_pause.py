"""``pause`` stops sensor, ``poll`` and runs by hand, wherever they run; ``resume`` goes on as if nothing had been."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, Failure
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.polls import Paused, begin_pause, end_pause, paused_since
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.orchestration.instance import look_at_machinery, open_instance
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.fakes.channels import Channels
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import INTERVAL_SECONDS, Pipeline, describe
from pycontw_assets_tests.pipeline.test_sensor import asked_for, key_of, tick

pytestmark = pytest.mark.long

DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def heartbeats() -> Iterator[tuple[str, list[str]]]:
    """Return the address of a dead man's switch, and the requests that it got."""
    beats: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            beats.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/beat", beats
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_paused_sensor_asks_nobody_and_says_why(
    install: Install, world: World, event: int, heartbeats: tuple[str, list[str]]
) -> None:
    """After a day it is an alarm, and no good poll any more; when it is over, the alarm is."""
    (url, beats), notes = heartbeats, Channels()
    pipeline = install(on_disk=True)
    pipeline.restart({"alerts": notes}, heartbeat_url=url)
    world.sell(event)
    begin_pause(pipeline.ledger)
    mark, since = pipeline.mark(), paused_since(pipeline.ledger)
    data = tick(pipeline)
    assert asked_for(data) == []
    assert data.skip_message == (
        f"polls are paused since {since:%Y-%m-%d %H:%M} UTC: nothing is done until `pycontw-assets resume`"
    )
    assert (notes.sent, len(beats)) == ([], 1)
    pipeline.clock.advance(DAY)
    tick(pipeline)
    assert notes.titles == [
        f"polls have been paused since {since:%Y-%m-%d %H:%M} UTC: nobody is let in or mailed until "
        "`pycontw-assets resume`"
    ]
    assert len(beats) == 1
    assert pipeline.requests(mark) == 0
    end_pause(pipeline.ledger)
    assert ("grant_access_job", key_of(event)) in asked_for(tick(pipeline))
    assert notes.titles[1:] == [f"over: {notes.titles[0]}"]
    assert len(beats) == 2


def test_a_run_that_somebody_starts_by_hand_is_refused_and_is_no_problem(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event)
    pipeline.poll()
    world.sell(event)
    begin_pause(pipeline.ledger)
    mark = pipeline.mark()
    for job in ("grant_access_job", "load_ods_kktix_ticket_individual_attendees_job"):
        definition = pipeline.definitions.resolve_job_def(job)
        result = definition.execute_in_process(
            instance=pipeline.instance, partition_key=key_of(event), raise_on_error=False
        )
        [failed, *_] = [event for event in result.all_events if event.is_step_failure]
        assert "polls are paused since" in str(failed.step_failure_data.user_failure_data)
    template = pipeline.definitions.resolve_job_def("klaviyo_template_job")
    with pytest.raises(Failure, match="paused"):
        template.execute_in_process(instance=pipeline.instance)
    assert pipeline.requests(mark) == 0
    assert open_problems(pipeline.ledger) == []
    end_pause(pipeline.ledger)
    assert pipeline.later_poll().ok
    assert pipeline.verdict() == []


@pytest.mark.parametrize(
    "path",
    ["campaign-send-jobs", pytest.param("/edit-guest-list|/setEmailGuestlist", marks=pytest.mark.long)],
)
def test_a_poll_at_work_stops_before_its_next_step(pipeline: Pipeline, world: World, path: str) -> None:
    """The pause comes while the first of two events is at work: no other event, and no later step of this one."""
    for family in ("Corporate", "Individual"):
        world.sell(world.add_event(f"PyCon TW 2031 Registration: {family}"))
    service = "klaviyo" if "campaign" in path else "gather"
    world.faults.add(service, "hook", path=path, acts=True, times=1, action=lambda: begin_pause(pipeline.ledger))
    report = pipeline.poll()
    [run] = [run for run in report.runs if run.job == "grant_access_job"]
    assert report.paused_since == paused_since(pipeline.ledger) is not None
    assert run.ok is ("campaign" in path), describe(report)
    assert len(pipeline.mailed()) == run.ok
    assert len(pipeline.guests()) == 1
    with pytest.raises(Paused):
        pipeline.later_poll()
    end_pause(pipeline.ledger)
    assert pipeline.later_poll().ok
    assert pipeline.verdict() == []


def test_the_commands_say_that_polls_are_paused(
    server: SandboxServer,
    world: World,
    event: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**server.environment, "PYCONTW_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)

    def say(*words: str) -> tuple[int, str]:
        return main(list(words)), capsys.readouterr().out

    assert say("pause") == (1, ""), "a sandbox that was never used is not the place that somebody means"
    assert say("poll")[0] == 0
    world.sell(event)
    for _ in range(2):
        assert say("pause")[0] == 0
    calls = world.calls.mark()
    code, text = say("poll")
    assert (code, text.startswith("polls are paused since")) == (0, True)
    code, text = say("poll", "--json")
    assert (code, json.loads(text)["ok"]) == (0, True)
    assert world.calls.count(None, since=calls) == 0
    assert "polls are paused since" in say("status")[1]
    assert json.loads(say("status", "--json")[1])["paused_since"]
    assert "warn pause: polls are paused since" in say("doctor")[1]
    assert "polls are paused since" in say("trace", "nobody@example.org")[1]
    code, text = say("plan")
    assert "nothing is done until `pycontw-assets resume`. The poll after that would do this:" in text
    assert "1 on the guest list" in text
    assert "polls go on; they were paused since" in say("resume")[1]
    assert "polls were not paused" in say("resume")[1]
    assert "paused" not in say("status")[1] + say("plan")[1]
    assert [mail.address for mail in world.outbox] == []


def test_a_pause_of_over_a_day_is_no_longer_fine(pipeline: Pipeline, clock: Any) -> None:
    begin_pause(pipeline.ledger)
    since = paused_since(pipeline.ledger)
    clock.advance(DAY)
    begin_pause(pipeline.ledger)
    assert paused_since(pipeline.ledger) == since, "pausing again does not begin again"
    with pytest.raises(Paused):
        pipeline.poll()
    assert [problem.subject for problem in open_problems(pipeline.ledger)] == ["pause"]


# -- the sensor's own switch --------------------------------------------------------------------------


def sensor_state(location: str, status: InstigatorStatus, ticked_ago: float | None) -> InstigatorState:
    origin = RemoteRepositoryOrigin(InProcessCodeLocationOrigin(_loadable(), location_name=location), "__repository__")
    ticked_at = None if ticked_ago is None else datetime.now(timezone.utc).timestamp() - ticked_ago
    data = SensorInstigatorData(last_tick_start_timestamp=ticked_at)
    return InstigatorState(RemoteInstigatorOrigin(origin, "kktix_orders_sensor"), InstigatorType.SENSOR, status, data)


def _loadable() -> Any:
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    return LoadableTargetOrigin(executable_path="python", module_name="pycontw_assets.definitions")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with open_instance(tmp_path_factory.mktemp("dagster")) as opened:
        yield opened


STOPPED, RUNNING = InstigatorStatus.STOPPED, InstigatorStatus.RUNNING


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([("in use", RUNNING, 60.0)], None),
        ([("in use", RUNNING, 60.0), ("stale", STOPPED, 90_000.0)], None),
        ([("in use", RUNNING, 60.0), ("stale", STOPPED, None)], None),
        ([("in use", STOPPED, 60.0), ("stale", RUNNING, 90_000.0)], "in use"),
        ([("in use", STOPPED, None), ("stale", RUNNING, 90_000.0)], "in use"),
    ],
)
def test_the_sensor_of_the_code_location_in_use_is_judged(
    instance: DagsterInstance, states: list[tuple[str, InstigatorStatus, float | None]], expected: str | None
) -> None:
    for state in states:
        instance.add_instigator_state(sensor_state(*state))
    [finding] = [found for found in look_at_machinery(instance, INTERVAL_SECONDS) if found.name == "sensor"]
    for stored in instance.all_instigator_state():
        instance.delete_instigator_state(stored.instigator_origin_id, stored.selector_id)
    assert finding.level == ("warn" if expected else "ok")
    assert expected is None or finding.what == f"kktix_orders_sensor is switched off (code location {expected})"
