"""``pycontw-assets dev`` during outages of each service: one clear alarm each, and an automatic recovery.

The processes are real: sandbox, Dagster's daemon and code server, a process per run. A message channel and a heartbeat
monitor listen on loopback. The tests are slow, and slower on a busy machine; none of them counts seconds.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from pycontw_assets_tests.ui.processes import HOST, Command, Dagster, free_port

pytestmark = pytest.mark.slow

SENSOR = "kktix_orders_sensor"
EVENT, OTHERS = 90001, ("2031-corporate-90002", "2031-reserved-90003")
KEY = f"2031-individual-{EVENT}"
PREFIX = "pycontw-assets: "


class AlertReceiver:
    """Receives the messages that Apprise posts and the requests of the heartbeat."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.beats = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.messages.append({"title": message["title"].removeprefix(PREFIX), "body": message["message"]})
                self._answer_ok()

            def do_GET(self) -> None:
                receiver.beats += 1
                self._answer_ok()

            def _answer_ok(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.address = f"{HOST}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        """Return the titles of alarms and recoveries, without the daily sales reports."""
        return [message["title"] for message in self.messages if not message["title"].startswith("sales of")]


@dataclass(frozen=True)
class Dev:
    command: Command
    dagster: Dagster
    sandbox_url: str
    alerts: AlertReceiver

    def wait(self, look: Callable[[], bool], what: str) -> None:
        self.command.wait_for(lambda: look() or None, what)

    def act(self, action: str, **arguments: Any) -> Any:
        reply = requests.post(f"{self.sandbox_url}/control/{action}", json=arguments, timeout=10)
        reply.raise_for_status()
        return reply.json()["result"]

    def state(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.sandbox_url}/control/state", timeout=10).json())

    def is_up(self) -> bool:
        return bool(self.state())

    def mailed(self) -> list[str]:
        return [mail["address"] for mail in self.state()["outbox"]]

    def ticks(self, count: int = 5) -> list[dict[str, Any]]:
        return self.dagster.latest_ticks(SENSOR, count)

    def is_idle(self) -> bool:
        """Return whether the latest tick requested no run for the three events, and every run has ended."""
        reasons = [tick["skipReason"] or "" for tick in self.ticks(1)]
        idle = [reason.count("nothing new") == 3 and "behind" not in reason for reason in reasons]
        return idle == [True] and {run["status"] for run in self.runs()} <= {"SUCCESS", "FAILURE"}

    def runs(self) -> list[dict[str, Any]]:
        query = "{runsOrError {... on Runs {results {runId jobName status tags {key value}}}}}"
        return list(self.dagster.ask(query)["runsOrError"]["results"])

    def failed_runs(self) -> dict[str, str]:
        """Return the partition of each failed run, by run id."""
        return {
            run["runId"]: {tag["key"]: tag["value"] for tag in run["tags"]}.get("dagster/partition", "")
            for run in self.runs()
            if run["status"] == "FAILURE"
        }

    def failure_metadata(self, run_id: str) -> dict[str, str]:
        """Return the metadata that the page of a failed run shows with the error."""
        answer = self.dagster.ask(
            f'{{logsForRun(runId: "{run_id}") {{... on EventConnection {{events {{... on ExecutionStepFailureEvent '
            "{failureMetadata {metadataEntries {label ... on TextMetadataEntry {text}}}}}}}}"
        )
        failed = [event["failureMetadata"] for event in answer["logsForRun"]["events"] if event.get("failureMetadata")]
        return {entry["label"]: entry["text"] for entry in failed[0]["metadataEntries"]}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Start ``dev``, and wait until its first polls have left no open work."""
    folder, alerts = tmp_path_factory.mktemp("outages"), AlertReceiver()
    port, sandbox_port = free_port(), free_port()
    variables = {
        "POLL_INTERVAL_SECONDS": "3",
        "ALERT_URLS": f"json://{alerts.address}/alarms",
        "HEARTBEAT_URL": f"http://{alerts.address}/beat",
    }
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(sandbox_port))
    with (
        closing_server(alerts),
        Command("pycontw_assets", *arguments, home=folder / "home", folder=folder, **variables) as run,
    ):
        running = Dev(run, Dagster(port), sandbox_url=f"http://{HOST}:{sandbox_port}", alerts=alerts)
        running.wait(running.is_up, "sandbox")
        for attendee in running.state()["attendees"]:
            if not attendee["is_paid"] and attendee["state"] == "activated":
                running.act("pay", attendee_id=attendee["id"])
        running.wait(running.is_idle, "quiet")
        yield running


@contextmanager
def closing_server(alerts: AlertReceiver) -> Iterator[None]:
    try:
        yield
    finally:
        alerts.server.shutdown()
        alerts.server.server_close()


@contextmanager
def killed(dev: Dev, service: str) -> Iterator[None]:
    """Cut off every call to the service."""
    dev.act("set_faults", service=service, preset="down")
    try:
        yield
    finally:
        dev.act("set_faults", service=service, preset="fine")


@contextmanager
def warehouse_locked(dev: Dev) -> Iterator[None]:
    """Hold the warehouse file open, as another program would."""
    import duckdb

    def take() -> duckdb.DuckDBPyConnection | None:
        try:
            return duckdb.connect(str(Path(dev.command.home) / "warehouse.duckdb"))
        except duckdb.IOException:
            return None  # a run is using the file

    with closing(dev.command.wait_for(take, "moment when the warehouse is free")):
        yield


def outage(dev: Dev, service: str) -> AbstractContextManager[None]:
    return warehouse_locked(dev) if service == "the warehouse" else killed(dev, service.lower())


@pytest.mark.parametrize("service", ["Gather", "Klaviyo", "the warehouse"])
def test_an_outage_is_one_alarm_and_heals(dev: Dev, service: str) -> None:
    earlier, failed = len(dev.alerts.titles()), set(dev.failed_runs())
    buyer = f"{service.split()[-1].lower()}@example.org"
    with outage(dev, service):
        dev.act("sell", event_id=EVENT, address=buyer)
        dev.wait(lambda: len(dev.alerts.titles()) > earlier, "alarm")
        if service == "the warehouse":
            dev.wait(lambda: buyer in dev.mailed(), "invitation, which does not wait for the tables")
        new = {run_id: key for run_id, key in dev.failed_runs().items() if run_id not in failed}
        assert set(new.values()) == {KEY}
        shown = dev.failure_metadata(next(iter(new)))
        assert shown["next_attempt"].startswith("by itself, with the first poll after ")
    dev.wait(lambda: len(dev.alerts.titles()) > earlier + 1, "recovery message")
    dev.wait(dev.is_idle, "quiet")
    assert dev.alerts.titles()[earlier:] == [
        f"{service} fails, 1 event waiting",
        f"over: {service} fails, 1 event waiting",
    ]
    assert dev.mailed().count(buyer) == 1
    assert not set(dev.failed_runs().values()) & set(OTHERS)


def test_without_kktix_the_heartbeat_stops(dev: Dev) -> None:
    earlier, runs = len(dev.alerts.titles()), len(dev.runs())
    with killed(dev, "KKTIX".lower()):
        dev.wait(lambda: len(dev.alerts.titles()) > earlier, "alarm")
        beats = dev.alerts.beats
        dev.wait(lambda: {tick["status"] for tick in dev.ticks(4)} <= {"FAILURE", "STARTED"}, "row of failed ticks")
        assert dev.alerts.beats == beats
        assert len(dev.runs()) == runs
    dev.wait(lambda: len(dev.alerts.titles()) > earlier + 1, "recovery message")
    dev.wait(lambda: dev.alerts.beats > beats, "heartbeat")
    assert dev.alerts.titles()[earlier:] == ["KKTIX fails", "over: KKTIX fails"]
    dev.wait(dev.is_idle, "quiet")
    assert sorted(set(dev.mailed())) == sorted(dev.mailed())
