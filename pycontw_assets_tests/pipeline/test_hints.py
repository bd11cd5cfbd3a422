"""Hints of KKTIX's webhook wake the pipeline within seconds; wrong, late and lost ones change only the wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus, SensorDefinition, build_sensor_context
from dagster._core.definitions.sensor_definition import SensorExecutionData

from pycontw_assets.api.client import ServiceError
from pycontw_assets.extract.hook.delivery import read_delivery
from pycontw_assets.extract.snapshot import read_books
from pycontw_assets.ledger.database.tables import pool_lists
from pycontw_assets.ledger.events import known_events, register_events
from pycontw_assets.ledger.hints.deliveries import record_delivery
from pycontw_assets.ledger.hints.looks import hinted
from pycontw_assets.ledger.polls import Poll, begin_pause, record_poll
from pycontw_assets.ledger.restoration import begin
from pycontw_assets.orchestration.resources import resources_of
from pycontw_assets.pipeline.hints.look import look_at_hinted
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, OF_DISCORD, AttemptKind, Attempts, Decision, RunHistory
from pycontw_assets.pipeline.waiting_times import percentile
from pycontw_assets.records import EventPartition, Family
from pycontw_assets.sandbox.context import system_clock
from pycontw_assets.sandbox.page.view import ticket_progress
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.campaign_sending import POOL_SIZE
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, INTERVAL_SECONDS, Pipeline, TestClock, describe

pytestmark = pytest.mark.thorough  # says little about tables

SECRET = "a secret of the tests"
NAME = "PyCon TW 2031 Registration: Individual"


@pytest.fixture
def pipeline(install: Install) -> Pipeline:
    return install(on_disk=True, kktix_hook_secret=SECRET)


def tick(pipeline: Pipeline, name: str = "kktix_hints_sensor") -> SensorExecutionData:
    sensor = pipeline.definitions.resolve_sensor_def(name)
    assert isinstance(sensor, SensorDefinition)
    with build_sensor_context(
        instance=pipeline.instance,
        instance_ref=pipeline.instance.get_ref(),
        definitions=pipeline.definitions,
        resources=resources_of(pipeline.root, pipeline.settings),
    ) as context:
        data = sensor.evaluate_tick(context)
    for request in data.dynamic_partitions_requests or []:
        pipeline.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return data


def launch(pipeline: Pipeline, data: SensorExecutionData, *, tables: bool = True) -> None:
    """Do the runs that a tick asked for. ``tables``: those of the tables, too, which have processes of their own."""
    requests = data.run_requests or []
    for request in requests if tables else [r for r in requests if not str(r.job_name).startswith("load_")]:
        job = pipeline.definitions.resolve_job_def(str(request.job_name))
        selection = list(request.asset_selection) if request.asset_selection else None
        job.execute_in_process(
            instance=pipeline.instance,
            partition_key=request.partition_key,
            asset_selection=selection,
            tags=dict(request.tags),
            raise_on_error=False,
        )


def asked_for(data: SensorExecutionData) -> list[tuple[str | None, str | None]]:
    return [(request.job_name, request.partition_key) for request in data.run_requests or []]


def hint(pipeline: Pipeline, event: int, name: str = NAME, kind: str = "order_activated_paid") -> None:
    """Deliver what the endpoint takes, without its socket."""
    notification = {"type": kind, "event": {"name": name, "slug": f"event-{event}"}}
    deliver(pipeline, {"batch_id": "b", "notifications": [notification]})


def deliver(pipeline: Pipeline, payload: Any) -> None:
    delivery = read_delivery(json.dumps(payload).encode())
    record_delivery(pipeline.ledger, delivery.hints, delivery.kinds)


def key_of(event: int, family: str = "individual") -> str:
    return f"{EDITION}-{family}-{event}"


# -- looks, without Dagster ------------------------------------------------------------------------------


@pytest.fixture
def looking(install: Install, event: int) -> Pipeline:
    """Set up a pipeline that has polled its one event, of which nothing was sold."""
    pipeline = install(kktix_hook_secret=SECRET)
    begin(pipeline.ledger, EDITION)
    poll_of(pipeline, event)
    return pipeline


def poll_of(pipeline: Pipeline, event: int, family: Family = "individual") -> None:
    """Record what a good poll of an event records."""
    partition = EventPartition(event, EDITION, family)
    register_events(pipeline.ledger, [partition])
    book = read_books(pipeline.root.kktix, event)
    poll = Poll(partition.key, pipeline.clock(), book.digest, len(book.ids), 0, None, f"{len(book.ids)} orders")
    record_poll(pipeline.ledger, EDITION, poll, ())


USUAL = tuple(asset for asset in ACCESS_CHAIN if asset not in OF_DISCORD)


def look(pipeline: Pipeline, *, running: bool = False) -> set[str]:
    """Look at what is hinted, and return the keys of the events with something new."""
    return {key for key, decision in hinted_decisions(pipeline, running=running).items() if decision.access}


def hinted_decisions(pipeline: Pipeline, *, running: bool = False) -> Mapping[str, Decision]:
    keys = frozenset(partition.key for partition in known_events(pipeline.ledger).values())
    attempts: dict[tuple[str, AttemptKind], Attempts] = {(key, "access"): Attempts(running=running) for key in keys}
    history = RunHistory(dict.fromkeys(ACCESS_CHAIN, keys), attempts_by=attempts)
    tick = pipeline.call(look_at_hinted, history=history)
    return tick.decisions if tick else {}


def due(pipeline: Pipeline) -> list[str]:
    return [event.partition_key for event in hinted(pipeline.ledger)]


def test_a_look_costs_three_requests_and_one_more_for_an_event_that_is_not_known_yet(
    looking: Pipeline, world: World, event: int
) -> None:
    poll_of(looking, world.add_event("PyCon TW 2031 Registration: Corporate"), "corporate")
    world.sell(event)
    for requests in (4, 3):
        hint(looking, event)
        mark = looking.mark()
        assert look(looking) == {key_of(event)}
        assert looking.requests(mark) == requests, "the listing, the list of books, the book"


def test_an_event_is_done_with_when_something_new_was_seen(looking: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    hint(looking, event)
    assert look(looking) == {key_of(event)}
    poll_of(looking, event)
    mark = looking.mark()
    look(looking)
    assert due(looking) == []
    assert looking.requests(mark) == 0


def test_an_order_that_kktix_shows_late_is_seen_by_a_further_look(
    looking: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    hint(looking, event)
    assert look(looking) == set()
    world.sell(event)
    clock.advance(5)
    assert look(looking) == set()
    clock.advance(11)
    assert look(looking) == {key_of(event)}


def test_an_event_with_a_run_at_work_is_looked_at_after_it(looking: Pipeline, world: World, event: int) -> None:
    world.sell(event)
    hint(looking, event)
    look(looking)
    hint(looking, event)
    mark = looking.mark()
    assert look(looking, running=True) == set()
    assert looking.requests(mark) == 0
    assert look(looking) == {key_of(event)}


@pytest.mark.parametrize(
    "payload", [{"orders": []}, {"notifications": [{"event": {"name": "a new name", "slug": "new"}}]}], ids=str
)
def test_a_hint_that_says_no_event_makes_every_event_due(
    looking: Pipeline, world: World, event: int, payload: Any
) -> None:
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    poll_of(looking, other, "corporate")
    deliver(looking, payload)
    look(looking)
    assert due(looking) == [key_of(other, "corporate"), key_of(event)]


def test_a_hint_of_an_event_that_is_left_alone_costs_one_request_once(looking: Pipeline, world: World) -> None:
    party = world.add_event("PyCon TW 2031 Volunteer Party")
    mark = looking.mark()
    for name in ("PyCon TW 2031 Volunteer Party", "renamed since"):
        hint(looking, party, name)
        look(looking)
    assert looking.requests(mark) == 1, "its slug is learned from the first"
    assert due(looking) == []


def test_while_kktix_is_away_a_look_is_one_of_the_three(
    looking: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.sell(event)
    world.faults.add("kktix", "status", times=None, status=503)
    hint(looking, event)
    with pytest.raises(ServiceError):
        look(looking)
    world.faults.clear()
    assert look(looking) == set(), "the next one is not due yet, however often the sensor asks"
    clock.advance(20)
    assert look(looking) == {key_of(event)}


def test_while_lists_for_campaigns_are_scarce_a_hint_lets_in_now_and_mails_a_little_later(
    looking: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.sell(event)
    hint(looking, event)
    busy = [{"list_name": f"list {number}", "batch_key": f"batch {number}"} for number in range(POOL_SIZE - 1)]
    with looking.ledger.engine.begin() as db:
        db.execute(pool_lists.insert(), busy)
    decisions = hinted_decisions(looking)
    assert decisions[key_of(event)].access == USUAL[:-1]
    with looking.ledger.engine.begin() as db:
        db.execute(pool_lists.delete())
    clock.advance(31)
    assert hinted_decisions(looking)[key_of(event)].access == USUAL


def test_before_the_first_poll_a_hint_begins_nothing(install: Install, world: World, event: int) -> None:
    pipeline = install(kktix_hook_secret=SECRET)
    world.sell(event)
    hint(pipeline, event)
    assert look(pipeline) == set()
    assert due(pipeline) == []
    assert known_events(pipeline.ledger) == {}


# -- the sensor ------------------------------------------------------------------------------------------


def test_without_a_hint_a_tick_asks_nobody_and_in_a_pause_hints_wait(
    pipeline: Pipeline, world: World, event: int
) -> None:
    mark = pipeline.mark()
    assert tick(pipeline).skip_message == "0 hints are due"
    hint(pipeline, event)
    begin_pause(pipeline.ledger)
    assert "paused" in str(tick(pipeline).skip_message)
    assert pipeline.requests(mark) == 0


def test_without_kktix_no_tick_fails(pipeline: Pipeline, world: World, event: int) -> None:
    begin(pipeline.ledger, EDITION)
    poll_of(pipeline, event)
    world.faults.add("kktix", "status", times=None, status=503)
    hint(pipeline, event)
    assert "0 events could be looked at: KKTIX" in str(tick(pipeline).skip_message)


def test_without_a_secret_there_is_no_second_sensor(install: Install, event: int) -> None:
    assert [sensor.name for sensor in install().definitions.sensors or []] == ["kktix_orders_sensor"]


@pytest.mark.long
def test_a_hint_leads_to_an_invitation_and_never_to_two_runs_of_one_event(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    pipeline.poll()
    world.sell(event)
    hint(pipeline, event)
    data = tick(pipeline)
    assert asked_for(data) == [("grant_access_job", key_of(event))]
    run = pipeline.instance.create_run_for_job(
        pipeline.definitions.resolve_job_def("grant_access_job"),
        tags={"dagster/partition": key_of(event)},
        status=DagsterRunStatus.STARTED,
    )
    hint(pipeline, event)
    assert asked_for(tick(pipeline)) == asked_for(tick(pipeline, "kktix_orders_sensor")) == []
    pipeline.instance.report_run_canceled(run)
    launch(pipeline, tick(pipeline))
    assert len(world.outbox) == 1
    clock.advance(60)
    assert asked_for(tick(pipeline)) == []
    assert due(pipeline) == []
    assert pipeline.verdict() == []


@pytest.mark.long
def test_repeated_late_cancelled_first_and_test_deliveries_invite_nobody_twice_and_let_nobody_stay(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    pipeline.poll()
    [leaving], [_] = world.sell(event), world.sell(event)
    hint(pipeline, event, kind="order_cancelled")
    launch(pipeline, tick(pipeline))
    world.cancel(leaving)
    deliver(pipeline, {"notifications": [{"event": {"name": "Event Name", "slug": "event-slug"}}]})
    for _ in range(3):
        hint(pipeline, event)
        hint(pipeline, event)
        clock.advance(20)
        launch(pipeline, tick(pipeline))
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert len(world.outbox) == 2


@pytest.mark.long
def test_when_every_hint_is_lost_polls_do_what_they_do_without_a_webhook(
    install: Install, server: SandboxServer, clock: TestClock
) -> None:
    seen = [polled(install, server, clock, secret) for secret in (None, SECRET)]
    assert seen[0] == seen[1]
    mails, calls = seen[0]
    assert mails == [1, 1, 2]
    assert sum(calls[1].values()) == 3, "the second poll was idle"


def polled(
    install: Install, server: SandboxServer, clock: TestClock, secret: str | None
) -> tuple[list[int], list[Counter[tuple[str, str]]]]:
    """Return how many mails had left after each of three polls, and the calls of each.

    A buyer comes before the first, another one before the third.
    """
    server.world.reset(clock)
    event = server.world.add_event(NAME)
    pipeline = install(name=f"home-{bool(secret)}", **({"kktix_hook_secret": secret} if secret else {}))
    mails, calls = [], []
    for tickets in (2, 0, 1):
        if tickets:
            server.world.sell(event, tickets)
        mark = pipeline.mark()
        report = pipeline.later_poll()
        assert report.ok, describe(report)
        mails.append(len(server.world.outbox))
        calls.append(Counter((call.service, call.method) for call in server.world.calls.find(since=mark.calls)))
    return mails, calls


@pytest.mark.slow
def test_without_a_daemon_the_endpoint_starts_a_poll_for_a_delivery(
    world: World, server: SandboxServer, event: int, tmp_path: Path
) -> None:
    """Everything in processes: the simulated KKTIX delivers, the endpoint starts ``poll``, the mail leaves."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    variables = {"HOME": str(tmp_path), "PYCONTW_HOME": str(tmp_path / "home"), "KKTIX_HOOK_SECRET": SECRET}
    world.reset(system_clock)
    event = world.add_event(NAME)
    with subprocess.Popen(
        [sys.executable, "-m", "pycontw_assets", "hooks", "--port", "0", "--poll"],
        env={**kept, **server.environment, **variables},
        stdout=subprocess.PIPE,
        text=True,
    ) as hooks:
        assert hooks.stdout
        world.kktix.webhook.set_up(hooks.stdout.readline().split()[-1], SECRET)
        world.sell(event)
        deadline = time.monotonic() + 120
        while not world.outbox and time.monotonic() < deadline:
            time.sleep(0.2)
        hooks.terminate()
        assert hooks.wait(60) == -signal.SIGTERM
    assert len(world.outbox) == 1


# -- an hour of sale -----------------------------------------------------------------------------------


class Daemon:
    """Evaluates both sensors as Dagster's daemon does, for an hour of a sale. Runs begin with their tick.

    Hints arrive ``hint_after`` seconds after a payment; ``None``: all are lost.
    """

    def __init__(self, pipeline: Pipeline, event: int, hint_after: float | None) -> None:
        self._pipeline, self._event, self._hint_after = pipeline, event, hint_after
        self._began = pipeline.clock()

    @property
    def seconds(self) -> float:
        return (self._pipeline.clock() - self._began).total_seconds()

    def play(self, sold_at: Iterator[float], seconds: float) -> None:
        next_poll, next_sale, hints = 0.0, next(sold_at), list[float]()
        while self.seconds < seconds + INTERVAL_SECONDS + 60:
            while next_sale <= min(self.seconds, seconds):
                self._pipeline.world.sell(self._event)
                hints.append(next_sale)
                next_sale = next(sold_at)
            if self._hint_after is not None and hints and hints[0] + self._hint_after <= self.seconds:
                hint(self._pipeline, self._event)
                hints.clear()
            if self.seconds >= next_poll:
                next_poll += INTERVAL_SECONDS
                launch(self._pipeline, tick(self._pipeline, "kktix_orders_sensor"), tables=False)
            launch(self._pipeline, tick(self._pipeline))
            self._pipeline.clock.advance(5)


def sales() -> Iterator[float]:
    """Yield the seconds of payments: one every 40 seconds, and rushes of six."""
    moment = 10.0
    while True:
        yield from [moment] * (6 if int(moment) % 7 == 0 else 1)
        moment += 40.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "hint_after", "bound"),
    [("event", 3.0, (0, 20)), ("campaign", 3.0, (0, 160)), ("campaign", None, (200, 330))],
    ids=["hints, by event", "hints, by campaign", "all lost"],
)
def test_from_payment_to_invitation_takes_seconds_with_hints_and_minutes_without(
    install: Install, world: World, event: int, way: str, hint_after: float | None, bound: tuple[float, float]
) -> None:
    """Campaigns share a pool of lists, of which hints leave enough to polls; invitations by event need none."""
    pipeline = install(on_disk=True, kktix_hook_secret=SECRET, invite_via=way)
    world.klaviyo.flows.prepare(INVITATION_METRIC, status="live")
    pipeline.poll()
    Daemon(pipeline, event, hint_after).play(sales(), 3600)
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    waits = sorted(way.mail.seconds for way in ticket_progress(world).values() if way.mail.seconds is not None)
    p95 = percentile(waits, 95)
    print(f"{len(waits)} tickets, p50 {percentile(waits, 50):.0f} s, p95 {p95:.0f} s, max {waits[-1]:.0f} s")
    assert len(waits) > 80
    assert bound[0] <= p95 <= bound[1]
