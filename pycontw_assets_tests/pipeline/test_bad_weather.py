"""Faults that ``test_faults`` does not cover: a reply is lost, late or cut after the service acted, at every kind of
call of a poll; the disk is full or read-only; the clock jumps.

During a fault the report names it. After the fault, the following polls repair everything.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import sqlalchemy as sa

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.sandbox.oracle import events_of
from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.vault import VaultError
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.crash_scenarios import SCENARIOS, running_sale
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, describe

pytestmark = pytest.mark.slow

HOUR, DAY = 3600, 24 * 3600
SERVICES = ("kktix", "gather", "klaviyo")
Settle = Callable[[Pipeline], object]


class Place(NamedTuple):
    """A kind of call; ``path`` is a regular expression."""

    service: str
    method: str
    path: str


def problems_of(pipeline: Pipeline) -> str:
    """Poll, and return the problems of the report."""
    try:
        report = pipeline.later_poll()
    except (ServiceError, LedgerError, VaultError) as error:
        return str(error)
    return "" if report.ok else describe(report)


def report_of(pipeline: Pipeline) -> str:
    """Poll, and return the whole report, or the text of the error that ended the poll."""
    try:
        return describe(pipeline.later_poll())
    except (ServiceError, LedgerError, VaultError) as error:
        return str(error)


def all_is_well(pipeline: Pipeline, settle: Settle = Pipeline.until_quiet) -> None:
    settle(pipeline)
    assert pipeline.verdict() == []
    rows = {row["attendee_id"]: row["is_usable"] for table in pipeline.tables().values() for row in table}
    assert rows == {ticket.attendee_id: ticket.is_usable for ticket in pipeline.world.kktix.tickets.values()}


# -- calls ------------------------------------------------------------------------------------------


def kinds_of_calls(pipeline: Pipeline) -> list[Place]:
    """Return every kind of call of the next poll, in order."""
    mark = pipeline.mark()
    assert pipeline.later_poll().ok
    calls = pipeline.world.calls.find(since=mark.calls)
    return list(dict.fromkeys(Place(call.service, call.method, f"^{_template(call.path)}$") for call in calls))


def _template(path: str) -> str:
    """Replace the ids in a path: parts with a digit, or in capitals."""
    return re.sub(r"/(?!v2/)(?:[^/]*\d[^/]*|[A-Z]+)(?=/|$)", "/[^/]+", path)


@contextmanager
def lost_reply(pipeline: Pipeline, place: Place) -> Iterator[None]:
    fault = pipeline.world.faults.add(place.service, "reset", method=place.method, path=place.path, acts=True)
    yield
    assert fault.times == 0


@contextmanager
def late_reply(pipeline: Pipeline, place: Place) -> Iterator[None]:
    """Cause a real read time-out after the service acted."""
    pipeline.restart(timeouts=(1, 0.3))
    fault = pipeline.world.faults.add(place.service, "timeout", method=place.method, path=place.path, acts=True)
    yield
    assert fault.times == 0


@contextmanager
def torn_reply(pipeline: Pipeline, place: Place) -> Iterator[None]:
    """Reset the connection half-way through the body, after the service acted."""
    with Cutter(pipeline, place) as cutter:
        pipeline.restart(**cutter.doors)
        yield
    assert cutter.struck


class Cutter:
    """A proxy between the pipeline and the sandbox that cuts one reply in half with an RST."""

    def __init__(self, pipeline: Pipeline, place: Place) -> None:
        self.struck = False
        lock = threading.Lock()
        upstream = pipeline.settings.kktix_api_url.split("/")[2]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(handler) -> None:
                size = int(handler.headers.get("content-length", 0))
                connection = http.client.HTTPConnection(upstream)
                connection.request(handler.command, handler.path, handler.rfile.read(size), dict(handler.headers))
                reply = connection.getresponse()
                body = reply.read()
                connection.close()
                _, service, path = handler.path.partition("?")[0].split("/", 2)
                with lock:
                    is_hit = (service, handler.command) == place[:2] and re.search(place.path, f"/{path}")
                    is_hit = bool(is_hit) and not self.struck
                    self.struck |= is_hit
                handler.send_response(reply.status)
                for name, value in reply.headers.items():
                    if name not in ("date", "content-length"):
                        handler.send_header(name, value)
                handler.send_header("content-length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body[: len(body) // 2] if is_hit else body)
                if is_hit:
                    handler.wfile.flush()
                    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    handler.connection.close()
                    handler.close_connection = True

            do_GET = do_POST = do_PATCH = do_DELETE = forward

            def log_message(handler, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        here = f"127.0.0.1:{self._server.server_port}"
        self.doors = {
            f"{service}_api_url": getattr(pipeline.settings, f"{service}_api_url").replace(upstream, here)
            for service in SERVICES
        }

    def __enter__(self) -> Cutter:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


FAULTS: dict[str, Callable[[Pipeline, Place], Any]] = {
    "lost reply": lost_reply,
    "late reply": late_reply,
    "torn reply": torn_reply,
}


def struck_once(name: str, place: Place, pipeline: Pipeline, settle: Settle = Pipeline.until_quiet) -> None:
    with FAULTS[name](pipeline, place):
        report_of(pipeline)
        assert pipeline.verdict(settled=False) == []
        all_is_well(pipeline, settle)


def struck_for_long(place: Place, pipeline: Pipeline, settle: Settle) -> str:
    """Return the problems that the first poll reports. A poll that can see the effect of the call reports none."""
    pipeline.world.faults.add(place.service, "reset", method=place.method, path=place.path, acts=True, times=None)
    described = problems_of(pipeline)
    for _ in range(3):
        pipeline.clock.advance(HOUR)
        report_of(pipeline)
    assert pipeline.verdict(settled=False) == []
    pipeline.world.faults.clear()
    pipeline.clock.advance(HOUR)
    all_is_well(pipeline, settle)
    return described


# The name that people know a service by.
NAMES = {"kktix": r"kktix|attendance book|attendee \d", "gather": "gather", "klaviyo": "klaviyo|batch .* was sent"}
# Together these scenarios make every kind of call, except those of emergencies.
PATHS = ("first poll", "revocations", "scheduled, then refunded")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_every_fault_at_every_call_heals_and_mails_nobody_twice(install: Install, world: World, path: str) -> None:
    pipeline = SCENARIOS[path].prepare(install, world)
    places = pipeline.branch(kinds_of_calls).result()
    for place in places:
        for name in FAULTS:
            print(name, *place)
            pipeline.branch(partial(struck_once, name, place, settle=SCENARIOS[path].settle)).result()
    print(f"{len(places)} kinds of calls, {len(FAULTS)} faults each")


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_lasting_fault_names_the_service_and_heals_at_its_end(install: Install, world: World, path: str) -> None:
    pipeline = SCENARIOS[path].prepare(install, world)
    reported = set()
    for place in pipeline.branch(kinds_of_calls).result():
        described = pipeline.branch(partial(struck_for_long, place, settle=SCENARIOS[path].settle)).result()
        assert not described or re.search(NAMES[place.service], described, re.IGNORECASE), f"{place}: {described}"
        reported |= {place.service} if described else set()
    assert reported == set(SERVICES)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("torn reply", Place("klaviyo", "POST", "/campaigns$")),
        ("late reply", Place("klaviyo", "POST", "send-jobs$")),
    ],
)
def test_a_fault_after_a_write_does_not_repeat_the_write(
    pipeline: Pipeline, world: World, event: int, name: str, place: Place
) -> None:
    """Test the calls that cannot be undone; the slow test above runs all combinations."""
    world.sell(event)
    struck_once(name, place, pipeline)


# -- disks ------------------------------------------------------------------------------------------


@contextmanager
def unwritable(place: Path, number: int) -> Iterator[None]:
    """Imitate a full or read-only disk. File modes would not do: root may write anyway."""
    open_file = os.open

    def refuse(path: Any, flags: int, *args: Any, **details: Any) -> int:
        if str(path).startswith(str(place)) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(number, os.strerror(number))
        return open_file(path, flags, *args, **details)

    with mock.patch.object(os, "open", refuse):
        yield


@contextmanager
def broken_ledger(pipeline: Pipeline, pragma: str) -> Iterator[None]:
    """Limit SQLite itself: no further page, or no write at all."""
    engine = pipeline.ledger.engine

    def restrict(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA {pragma}")

    sa.event.listen(engine, "connect", restrict)
    yield
    sa.event.remove(engine, "connect", restrict)


class FullDisk:
    """A warehouse on a disk with room for a few more bytes. Reads work as usual."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse = warehouse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    def replace_partition(self, *args: Any, **options: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        try:
            return self._warehouse.replace_partition(*args, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, "No space left"), pytest.param(errno.EROFS, "Read-only", marks=pytest.mark.slow)],
)
def test_orders_that_cannot_be_stored_are_named_and_stored_by_a_later_poll(
    install: Install, world: World, number: int, text: str
) -> None:
    pipeline = running_sale(install, world)
    world.sell(*events_of(world, EDITION))
    mark = pipeline.mark()
    with unwritable(pipeline.home / "vault", number):
        described = report_of(pipeline)
    assert "vault" in described
    assert text in described
    assert pipeline.writes(mark) == [], "nobody is let in whose orders are not stored"
    all_is_well(pipeline)


@pytest.mark.parametrize(
    ("pragma", "text"),
    [
        pytest.param("query_only=ON", "readonly", id="read-only"),
        pytest.param("max_page_count=1", "full", id="full", marks=pytest.mark.slow),
    ],
)
def test_a_ledger_that_cannot_be_written_is_named_and_nobody_is_mailed(
    install: Install, world: World, pragma: str, text: str
) -> None:
    pipeline = running_sale(install, world)
    for _ in range(40):
        world.sell(*events_of(world, EDITION))
    mark = pipeline.mark()
    with broken_ledger(pipeline, pragma):
        described = report_of(pipeline)
    assert "ledger" in described
    assert text in described
    assert pipeline.mailed(mark) == []
    all_is_well(pipeline)


@pytest.mark.slow
@pytest.mark.embedded
def test_tables_in_a_read_only_folder_are_named_and_keep_nobody_out(install: Install, world: World) -> None:
    pipeline = running_sale(install, world)
    world.sell(*events_of(world, EDITION))
    with unwritable(pipeline.home / "warehouse.duckdb", errno.EROFS):
        described = report_of(pipeline)
    assert "warehouse.duckdb cannot be opened or written" in described
    assert "read-only" in described
    assert pipeline.verdict() == []
    all_is_well(pipeline)


@pytest.mark.embedded
def test_tables_that_cannot_be_written_are_named_and_keep_nobody_out(install: Install, world: World) -> None:
    pipeline = running_sale(install, world)
    world.sell(*events_of(world, EDITION))
    pipeline.restart({"warehouse": FullDisk(pipeline.root.warehouse)})
    described = report_of(pipeline)
    assert "DuckDB could not" in described
    assert "disk full" in described
    assert pipeline.verdict() == []
    pipeline.restart()
    all_is_well(pipeline)


# -- clocks -----------------------------------------------------------------------------------------


def set_clock(pipeline: Pipeline, ahead: float) -> None:
    """Set the clock of this machine wrong by so many seconds; the services keep the right time."""

    def wrong() -> Any:
        return pipeline.clock() + timedelta(seconds=ahead)

    pipeline.root.clock = pipeline.ledger.clock = wrong


def jump_and_back(pipeline: Pipeline, world: World, ahead: float) -> None:
    [event] = events_of(world, EDITION)
    for wrong_by in (ahead, 0.0):
        [leaving, *_] = [ticket.attendee_id for ticket in world.kktix.tickets.values() if ticket.is_usable]
        world.sell(event)
        world.refund(leaving)
        set_clock(pipeline, wrong_by)
        pipeline.later_poll()
        assert pipeline.verdict(settled=False) == []
        all_is_well(pipeline)


@pytest.mark.parametrize(
    "ahead", [-DAY, *(pytest.param(ahead, marks=pytest.mark.slow) for ahead in (HOUR, -HOUR, DAY))]
)
def test_a_clock_that_jumps_between_polls_and_back_again_does_no_harm(
    install: Install, world: World, ahead: float
) -> None:
    jump_and_back(running_sale(install, world), world, ahead)


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [HOUR, -HOUR, DAY, -DAY])
def test_a_clock_that_jumps_while_a_failed_event_waits_does_not_keep_it_waiting(
    install: Install, world: World, ahead: float
) -> None:
    pipeline = running_sale(install, world)
    world.sell(*events_of(world, EDITION))
    world.faults.add("gather", "status", times=None)
    for _ in range(3):
        assert not pipeline.later_poll().ok
    world.faults.clear()
    jump_and_back(pipeline, world, ahead)


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(Place("gather", "POST", "setEmailGuestlist$"), marks=pytest.mark.slow),
        Place("klaviyo", "POST", "send-jobs$"),
    ],
)
@pytest.mark.parametrize("ahead", [pytest.param(HOUR, marks=pytest.mark.slow), DAY])
def test_a_lock_that_expires_too_early_mails_nobody_twice(
    install: Install, world: World, place: Place, ahead: float
) -> None:
    """The lock looks expired to another process in the middle of the sending."""
    pipeline = running_sale(install, world)
    world.sell(*events_of(world, EDITION))
    ended = threading.Event()
    pipeline.clock.advance(ahead)
    other = pipeline.start_child()  # not in the middle of a request: a child forked there would inherit its locks
    pipeline.clock.advance(-ahead)

    def another() -> None:
        pipeline.clock.advance(ahead)
        other.go()
        assert other.join() in (0, 1)
        ended.set()

    world.faults.add(place.service, "hook", method=place.method, path=place.path, action=another)
    report_of(pipeline)
    assert ended.wait(300), "on a busy machine this poll is through its time-out first"
    assert pipeline.verdict(settled=False) == []
    all_is_well(pipeline)
