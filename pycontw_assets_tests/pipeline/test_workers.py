"""Runs of several events on several workers: Dagster's daemon, its queue, and its launcher for Celery, as processes.

Ledger, Dagster's storage and Celery's queue are databases of one PostgreSQL server; vault and tables are one folder.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance, RunRecord, RunsFilter

from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import NAMES, make_swift
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline
from pycontw_assets_tests.postgres import PostgresServer
from pycontw_assets_tests.ui.processes import Command

OWNER_TAG = "pycontw/owner"
QUEUE = "dagster"

pytestmark = pytest.mark.slow


@dataclass
class Installation:
    """Shared stores of the processes, and a way to start another. Each process has its own name for the home."""

    pipeline: Pipeline
    folder: Path
    variables: dict[str, str]

    def process(self, name: str, module: str, *arguments: str) -> Command:
        home = self.folder / name
        home.symlink_to(self.pipeline.home)
        return Command(module, *arguments, home=home, folder=self.folder, **self.variables)

    def daemon(self) -> Command:
        return self.process("daemon", "dagster._daemon", "run", "-m", "pycontw_assets.definitions")

    def worker(self, name: str) -> Command:
        """Start a worker for one run at a time: parallel runs need several workers."""
        options = ["--concurrency", "1", "--loglevel", "WARNING", "-n", f"{name}@%h", "-Q", QUEUE]
        return self.process(name, "celery", "-A", "dagster_celery.app", "worker", *options)

    @contextmanager
    def instance(self) -> Iterator[DagsterInstance]:
        with DagsterInstance.from_config(self.variables["DAGSTER_HOME"]) as instance:
            yield instance

    def runs(self) -> list[RunRecord]:
        with self.instance() as instance:
            return list(instance.get_run_records(RunsFilter(job_name="grant_access_job")))


@pytest.fixture
def installation(server: SandboxServer, install: Install, postgres: PostgresServer, tmp_path: Path) -> Installation:
    kombu = pytest.importorskip("kombu", reason="Celery is an extra")

    def database() -> str:
        return postgres.url(postgres.new_database(), driver="postgresql+psycopg2")

    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    queue = database()
    celery = {"broker": f"sqla+{queue}", "backend": f"db+{queue}"}
    # The first process makes the tables; several at once could not.
    with kombu.Connection(celery["broker"]) as connection:
        connection.SimpleQueue(QUEUE).close()
    (tmp_path / "dagster_celery_config.py").write_text(
        f"broker_url = {celery['broker']!r}\nresult_backend = {celery['backend']!r}\n"
    )
    config = {
        "telemetry": {"enabled": False},
        "storage": {"postgres": {"postgres_url": database()}},
        "run_launcher": {
            "module": "dagster_celery.launcher",
            "class": "CeleryRunLauncher",
            "config": {**celery, "default_queue": QUEUE},
        },
        "concurrency": {
            "runs": {
                "max_concurrent_runs": 4,
                "tag_concurrency_limits": [
                    {"key": "dagster/partition", "limit": 1, "value": {"applyLimitPerUniqueValue": True}}
                ],
            }
        },
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 60, "poll_interval_seconds": 10},
    }
    (dagster_home / "dagster.yaml").write_text(yaml.safe_dump(config))
    ledger_url = postgres.url(postgres.new_database())
    variables = {
        **server.environment,
        "DAGSTER_HOME": str(dagster_home),
        "LEDGER_URL": ledger_url,
        "POLL_INTERVAL_SECONDS": "5",
        "PYTHONPATH": str(tmp_path),
    }
    return Installation(install(ledger_url=ledger_url), tmp_path, variables)


def is_done(pipeline: Pipeline) -> bool:
    world = pipeline.world
    rows = {row["attendee_id"]: row["is_usable"] for table in pipeline.tables().values() for row in table}
    sold = {ticket.attendee_id: ticket.is_usable for ticket in world.kktix.tickets.values()}
    return rows == sold and pipeline.guests() == entitled(world, EDITION) and pipeline.verdict() == []


def test_events_served_by_several_workers_at_once_keep_every_promise(installation: Installation, world: World) -> None:
    """One worker is killed in the middle of its sending. Another one continues its work."""
    make_swift(world)
    pipeline = installation.pipeline
    friend = world.kktix.people.next()
    for name in NAMES.values():
        event = world.add_event(name)
        for person in (friend, None, None, None):
            world.sell(event, person=person)
    with ExitStack() as stack:
        workers = [stack.enter_context(installation.worker(name)) for name in ("one", "two", "three")]
        daemon = stack.enter_context(installation.daemon())
        killed: list[Command] = []

        def kill_the_sender() -> None:
            sender = next(worker for worker in workers if is_sending(worker, installation))
            killed.append(sender)
            os.killpg(sender.process.pid, signal.SIGKILL)

        world.faults.add("klaviyo", "hook", path="send-jobs$", method="POST", acts=True, action=kill_the_sender)
        daemon.wait_for(lambda: True if killed else None, "sending")
        daemon.wait_for(lambda: True if is_done(pipeline) else None, "end", pause=3)
        runs = installation.runs()
    assert len(pipeline.mailed()) == len(set(pipeline.mailed())) == 10
    assert any(several_at_once(runs))
    pipeline.until_quiet()
    assert pipeline.verdict() == []


def is_sending(worker: Command, installation: Installation) -> bool:
    """Return whether any worker is sending."""
    pids = {str(pid) for pid in worker.processes()}
    at_work = [owner(run) for run in installation.runs() if not run.dagster_run.is_finished]
    return any(signed.split("/")[1] in pids for signed in at_work if signed)


def owner(record: RunRecord) -> str:
    return str(record.dagster_run.tags.get(OWNER_TAG, ""))


def several_at_once(runs: list[RunRecord]) -> Iterator[bool]:
    """Return whether runs of different processes overlapped."""
    for one, other in combinations([run for run in runs if run.start_time and run.end_time and owner(run)], 2):
        overlap = one.start_time < other.end_time and other.start_time < one.end_time  # type: ignore[operator]
        yield overlap and owner(one) != owner(other)
