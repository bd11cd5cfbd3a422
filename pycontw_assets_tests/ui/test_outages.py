"""``pycontw-assets dev`` while one service after the other is killed: one clear alarm each, and nothing to be done.

Real processes: sandbox, Dagster's daemon and code server, a process per run. A channel and a dead man's switch listen
on loopback. Slow, and slower on a busy machine; nothing here counts seconds.
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


class Phone:
    """Who is told: takes what Apprise posts and the fetches of the dead man's switch."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.beats = 0
        phone = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                phone.messages.append({"title": told["title"].removeprefix(PREFIX), "body": told["message"]})
                self._fine()

            def do_GET(self) -> None:
                phone.beats += 1
                self._fine()

            def _fine(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.address = f"{HOST}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def titles(self) -> list[str]:
        """Alarms and their ends; the day's sales are none."""
        return [message["title"] for message in self.messages if not message["title"].startswith("sales of")]


@dataclass(frozen=True)
class Dev:
    command: Command
    dagster: Dagster
    sandbox_url: str
    phone: Phone

    def wait(self, look: Callable[[], bool], what: str) -> None:
        self.command.wait_for(lambda: look() or None, what)

    def order(self, action: str, **arguments: Any) -> Any:
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
        """The latest tick had nothing to ask for, for three events, and every run has ended."""
        reasons = [tick["skipReason"] or "" for tick in self.ticks(1)]
        at_rest = [reason.count("nothing new") == 3 and "behind" not in reason for reason in reasons]
        return at_rest == [True] and {run["status"] for run in self.runs()} <= {"SUCCESS", "FAILURE"}

    def runs(self) -> list[dict[str, Any]]:
        query = "{runsOrError {... on Runs {results {runId jobName status tags {key value}}}}}"
        return list(self.dagster.ask(query)["runsOrError"]["results"])

    def failed_runs(self) -> dict[str, str]:
        """Run id -> partition."""
        return {
            run["runId"]: {tag["key"]: tag["value"] for tag in run["tags"]}.get("dagster/partition", "")
            for run in self.runs()
            if run["status"] == "FAILURE"
        }

    def failure_metadata(self, run_id: str) -> dict[str, str]:
        """What the page of a failed run shows beside the error."""
        answer = self.dagster.ask(
            f'{{logsForRun(runId: "{run_id}") {{... on EventConnection {{events {{... on ExecutionStepFailureEvent '
            "{failureMetadata {metadataEntries {label ... on TextMetadataEntry {text}}}}}}}}"
        )
        failed = [event["failureMetadata"] for event in answer["logsForRun"]["events"] if event.get("failureMetadata")]
        return {entry["label"]: entry["text"] for entry in failed[0]["metadataEntries"]}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """After its first polls, with nothing open."""
    folder, phone = tmp_path_factory.mktemp("outages"), Phone()
    port, sandbox_port = free_port(), free_port()
    variables = {
        "POLL_INTERVAL_SECONDS": "3",
        "ALERT_URLS": f"json://{phone.address}/alarms",
        "HEARTBEAT_URL": f"http://{phone.address}/beat",
    }
    arguments = ("dev", "--port", str(port), "--sandbox-port", str(sandbox_port))
    with (
        closing_server(phone),
        Command("pycontw_assets", *arguments, home=folder / "home", folder=folder, **variables) as run,
    ):
        running = Dev(run, Dagster(port), f"http://{HOST}:{sandbox_port}", phone)
        running.wait(running.is_up, "sandbox")
        for attendee in running.state()["attendees"]:
            if not attendee["is_paid"] and attendee["state"] == "activated":
                running.order("pay", attendee_id=attendee["id"])
        running.wait(running.is_idle, "quiet")
        yield running


@contextmanager
def closing_server(phone: Phone) -> Iterator[None]:
    try:
        yield
    finally:
        phone.server.shutdown()
        phone.server.server_close()


@contextmanager
def killed(dev: Dev, service: str) -> Iterator[None]:
    """Every call to it is cut off."""
    dev.order("set_weather", service=service, weather="down")
    try:
        yield
    finally:
        dev.order("set_weather", service=service, weather="fine")


@contextmanager
def warehouse_taken(dev: Dev) -> Iterator[None]:
    """Somebody opened the file in another program and went for lunch."""
    import duckdb

    def take() -> duckdb.DuckDBPyConnection | None:
        try:
            return duckdb.connect(str(Path(dev.command.home) / "warehouse.duckdb"))
        except duckdb.IOException:
            return None  # a run has it just now

    with closing(dev.command.wait_for(take, "moment when the warehouse is free")):
        yield


def outage(dev: Dev, service: str) -> AbstractContextManager[None]:
    return warehouse_taken(dev) if service == "the warehouse" else killed(dev, service.lower())


@pytest.mark.parametrize("service", ["Gather", "Klaviyo", "the warehouse"])
def test_an_outage_is_one_alarm_touches_no_other_event_and_heals_by_itself(dev: Dev, service: str) -> None:
    told, failed, buyer = len(dev.phone.titles()), set(dev.failed_runs()), f"{service.split()[-1].lower()}@example.org"
    with outage(dev, service):
        dev.order("sell", event_id=EVENT, address=buyer)
        dev.wait(lambda: len(dev.phone.titles()) > told, "alarm")
        if service == "the warehouse":
            dev.wait(lambda: buyer in dev.mailed(), "invitation: tables are nothing a buyer waits for")
        new = {run_id: key for run_id, key in dev.failed_runs().items() if run_id not in failed}
        assert set(new.values()) == {KEY}
        shown = dev.failure_metadata(next(iter(new)))
        assert shown["next_attempt"].startswith("by itself, with the first poll after ")
    dev.wait(lambda: len(dev.phone.titles()) > told + 1, "word that it is over")
    dev.wait(dev.is_idle, "quiet")
    assert dev.phone.titles()[told:] == [f"{service} fails, 1 event waiting", f"over: {service} fails, 1 event waiting"]
    assert dev.mailed().count(buyer) == 1
    assert not set(dev.failed_runs().values()) & set(OTHERS)


def test_while_kktix_is_down_nothing_is_asked_for_and_the_heartbeat_stops(dev: Dev) -> None:
    told, runs = len(dev.phone.titles()), len(dev.runs())
    with killed(dev, "KKTIX".lower()):
        dev.wait(lambda: len(dev.phone.titles()) > told, "alarm")
        beats = dev.phone.beats
        dev.wait(lambda: {tick["status"] for tick in dev.ticks(4)} <= {"FAILURE", "STARTED"}, "row of failed ticks")
        assert dev.phone.beats == beats
        assert len(dev.runs()) == runs
    dev.wait(lambda: len(dev.phone.titles()) > told + 1, "word that it is over")
    dev.wait(lambda: dev.phone.beats > beats, "heartbeat")
    assert dev.phone.titles()[told:] == ["KKTIX fails", "over: KKTIX fails"]
    dev.wait(dev.is_idle, "quiet")
    assert sorted(set(dev.mailed())) == sorted(dev.mailed())
