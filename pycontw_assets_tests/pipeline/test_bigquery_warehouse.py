"""BigQuery: described tables, writers at once, kill -9 between any two requests, and refusals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any, Literal

import pytest

from pycontw_assets.deidentify.policy import Column
from pycontw_assets.load.bigquery_warehouse import LABELS, STAGING_LIFETIME
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import WarehouseError, content_digest
from pycontw_assets_tests.bigquery import forward
from pycontw_assets_tests.clients.scripted_server import Answer, Received, ScriptedServer
from pycontw_assets_tests.pipeline.engines import (
    KEY,
    KEY_COLUMNS,
    OTHER_KEY,
    TABLE,
    BigQueryEngine,
    frame,
    put,
)

pytestmark = pytest.mark.bigquery

FORK = multiprocessing.get_context("fork")
PATIENCE_SECONDS = 120
OLD, NEW = ["old"] * 20, ["new"] * 30


@pytest.fixture
def engine(bigquery_emulator: dict[str, str]) -> BigQueryEngine:
    return BigQueryEngine(bigquery_emulator)


class Gateway:
    """A server in front of the emulator. It sees every request, and may answer or do something else instead."""

    def __init__(self, server: ScriptedServer, engine: BigQueryEngine) -> None:
        self._server = server
        self._upstream = engine.variables["BIGQUERY_EMULATOR_HOST"]
        self.url = server.url
        self.instead: Callable[[Received], Answer | None] = lambda request: None
        server.behave(lambda request: self.instead(request) or self.forward(request))

    def forward(self, request: Received) -> Answer:
        return forward(request, self._upstream)

    def requests(self) -> list[str]:
        return [f"{request.method} {request.path.rpartition('/')[2]}" for request in self._server.received]


@pytest.fixture
def gateway(engine: BigQueryEngine) -> Iterator[Gateway]:
    with ScriptedServer() as server:
        yield Gateway(server, engine)


def answers(engine: BigQueryEngine, key: str = KEY) -> list[str]:
    stored = engine.open().read(TABLE)
    return list(stored[stored["partition_key"] == key]["answer"])


# -- tables -------------------------------------------------------------------------------------------


def test_dataset_and_table_describe_themselves(engine: BigQueryEngine) -> None:
    put(engine.warehouse, frame(1))
    dataset, table = engine.client.get_dataset(engine.dataset), engine.table()
    assert dataset.description
    assert table.description == TABLE.description
    assert dataset.labels == table.labels == LABELS
    assert table.clustering_fields == ["partition_key"]
    assert table.expires is None
    assert {field.name for field in table.schema if field.mode == "REQUIRED"} == {
        "partition_key",
        "event_id",
        "attendee_id",
    }


def test_a_table_that_is_up_to_date_is_not_touched(engine: BigQueryEngine, gateway: Gateway) -> None:
    put(engine.warehouse, frame(3))
    warehouse = engine.open(gateway.url)
    assert put(warehouse, frame(3)) == "unchanged"
    assert gateway.requests() == [f"GET {TABLE.name}", "POST queries"]


def test_two_processes_that_add_a_column_at_once_both_succeed(engine: BigQueryEngine, gateway: Gateway) -> None:
    put(engine.warehouse, frame(1))
    newer = attendee_tables(
        [*TABLE.columns[:-2], Column(name="diet", type="STRING", description="Diet.", source="form: y")]
    )["individual"]
    newest = attendee_tables(
        [*TABLE.columns[:-2], Column(name="size", type="STRING", description="Size.", source="form: z")]
    )["individual"]

    def other_is_first(request: Received) -> None:
        if request.method == "PATCH":
            gateway.instead = lambda request: None
            put(engine.open(), frame(1).assign(diet="vegan"), table=newer)

    gateway.instead = other_is_first
    put(engine.open(gateway.url), frame(1).assign(size="M"), table=newest)
    assert [field.name for field in engine.table().schema][-2:] == ["diet", "size"]


def test_new_rows_wait_in_a_table_of_their_own_that_expires(engine: BigQueryEngine, gateway: Gateway) -> None:
    put(engine.warehouse, frame(1))
    kept: list[Any] = []

    def look(request: Received) -> None:
        if request.method == "DELETE":
            kept.append(engine.client.get_table(f"{engine.dataset}.{request.path.rpartition('/')[2]}"))

    gateway.instead = look
    put(engine.open(gateway.url), frame(7, "y"))
    [staging] = kept
    assert staging.table_id.startswith(f"{TABLE.name}_staging_")
    assert staging.num_rows == 7
    assert timedelta() < staging.expires - datetime.now(timezone.utc) <= STAGING_LIFETIME
    assert staging.labels == LABELS


def test_a_staging_table_that_cannot_be_dropped_fails_nothing(engine: BigQueryEngine, gateway: Gateway) -> None:
    gateway.instead = lambda request: refusal(403, "accessDenied") if request.method == "DELETE" else None
    assert put(engine.open(gateway.url), frame(2)) == "written"
    assert len(answers(engine)) == 2


# -- several at once ----------------------------------------------------------------------------------


def _write(engine: BigQueryEngine, number: int) -> None:
    warehouse = engine.open()
    own = f"2031-individual-{number}"
    for turn in range(3):
        put(warehouse, frame(20 + turn, f"of {number}", key=own), own)
        put(warehouse, frame(10 * number, f"of {number}"))


def _read_for_ever(engine: BigQueryEngine, seen: Any, stop: Event) -> None:
    warehouse = engine.open()
    while not stop.is_set():
        stored = warehouse.read(TABLE)
        seen.put(tuple(stored[stored["partition_key"] == KEY]["answer"]))


def test_processes_write_and_read_at_once_and_nothing_is_lost_or_half(engine: BigQueryEngine) -> None:
    put(engine.warehouse, frame(10, "of 1"))
    seen, stop = FORK.SimpleQueue(), FORK.Event()
    writers: list[BaseProcess] = [FORK.Process(target=_write, args=(engine, number)) for number in (1, 2, 3)]
    reader = FORK.Process(target=_read_for_ever, args=(engine, seen, stop))
    for process in (reader, *writers):
        process.start()
    looks: Counter[tuple[str, ...]] = Counter()
    while any(writer.is_alive() for writer in writers) or not seen.empty():
        if seen.empty():
            time.sleep(0.01)
        else:
            looks[seen.get()] += 1
    stop.set()
    while reader.is_alive():
        if not seen.empty():
            looks[seen.get()] += 1
        reader.join(0.01)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    whole = {tuple([f"of {number}"] * 10 * number) for number in (1, 2, 3)}
    assert looks
    assert set(looks) <= whole, "never empty, never half"
    assert [engine.warehouse.partition_rows(TABLE, f"2031-individual-{number}") for number in (1, 2, 3)] == [22] * 3
    assert tuple(answers(engine)) in whole
    assert engine.tables() == [TABLE.name]


# -- kill -9 ------------------------------------------------------------------------------------------

Moment = Literal["before", "after"]


def _load(engine: BigQueryEngine, url: str, gate: Event) -> None:
    gate.wait(PATIENCE_SECONDS)
    put(engine.open(url), frame(30, "new"))


def killed_load(engine: BigQueryEngine, gateway: Gateway, kill_at: int, when: Moment) -> bool:
    """Kill a load in its own process at its k-th request. Return ``False`` when it has fewer."""
    gate = FORK.Event()
    child = FORK.Process(target=_load, args=(engine, gateway.url, gate))
    count = 0

    def executioner(request: Received) -> Answer | None:
        nonlocal count
        count += 1
        if count != kill_at:
            return None
        if when == "after":
            gateway.forward(request)
        os.kill(child.pid or 0, signal.SIGKILL)
        # Wait until it is dead; ``join`` collects its exit code.
        os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)
        return Answer(503)

    gateway.instead = executioner
    child.start()
    gate.set()
    child.join(PATIENCE_SECONDS)
    gateway.instead = lambda request: None
    assert child.exitcode in (0, -signal.SIGKILL)
    return count >= kill_at


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_load_killed_at_any_request_is_all_or_nothing(engine: BigQueryEngine, gateway: Gateway, when: Moment) -> None:
    put(engine.warehouse, frame(5, "other", OTHER_KEY), OTHER_KEY)

    def with_old_rows() -> None:
        put(engine.warehouse, frame(20, "old"))

    assert kills_at_every_request(engine, gateway, when, with_old_rows, OLD) == 6
    assert answers(engine, OTHER_KEY) == ["other"] * 5


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_first_load_killed_at_any_request_leaves_nothing_or_all(
    engine: BigQueryEngine, gateway: Gateway, when: Moment
) -> None:
    def without_a_dataset() -> None:
        engine.client.delete_dataset(engine.dataset, delete_contents=True, not_found_ok=True)

    assert kills_at_every_request(engine, gateway, when, without_a_dataset, []) == 9


def kills_at_every_request(
    engine: BigQueryEngine, gateway: Gateway, when: Moment, prepare: Callable[[], None], old: list[str]
) -> int:
    """Kill at every request, and return their number. Each time the partition is old or new, and the next load new."""
    outcomes: Counter[str] = Counter()
    leftovers = 0
    for kill_at in range(1, 100):
        prepare()
        if not killed_load(engine, gateway, kill_at, when):
            break
        found = answers(engine)
        assert found in (old, NEW), f"{when} {kill_at}"
        outcomes["new" if found == NEW else "old"] += 1
        leftovers = len(staging := staging_tables(engine))
        assert all(table.expires for table in staging)
        assert put(engine.warehouse, frame(30, "new")) == ("unchanged" if found == NEW else "written")
        assert answers(engine) == NEW
    print(
        f"\nkilled {when} each of {kill_at - 1} requests: {dict(outcomes)}, {leftovers} staging tables left to expire"
    )
    assert min(outcomes["old"], outcomes["new"]) >= 1
    return kill_at - 1


def staging_tables(engine: BigQueryEngine) -> list[Any]:
    from google.api_core.exceptions import NotFound

    try:
        return [engine.table(name) for name in engine.tables() if "_staging_" in name]
    except NotFound:
        return []


# -- refusals -----------------------------------------------------------------------------------------

SECRET = "robot@project.example.com sent Zebulon Quokkaworth in SELECT 1"


def refusal(status: int, reason: str, message: str = SECRET) -> Answer:
    error = {"reason": reason, "message": message}
    return Answer(status, {"error": {"code": status, "message": message, "errors": [error]}})


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (403, "accessDenied", "BigQuery Data Editor on the dataset and BigQuery Job User on the project"),
        (403, "billingNotEnabled", "has no billing"),
        (403, "quotaExceeded", "later polls try again"),
        (404, "notFound", "check BIGQUERY_PROJECT, BIGQUERY_DATASET and BIGQUERY_LOCATION"),
        (400, "invalidQuery", "400 invalidQuery"),
        (503, "backendError", "later polls try again"),
    ],
)
def test_a_refusal_names_the_fix_and_quotes_nothing(
    engine: BigQueryEngine, gateway: Gateway, status: int, reason: str, said: str
) -> None:
    gateway.instead = lambda request: refusal(status, reason)
    with pytest.raises(WarehouseError, match=said) as caught:
        put(engine.open(gateway.url, patience_seconds=0.5), frame(1))
    assert f"replace {KEY} in {TABLE.name}" in str(caught.value)
    assert not {"robot", "Zebulon", "SELECT"} & set(str(caught.value).split())
    assert caught.value.__suppress_context__


def test_a_conflicting_statement_is_repeated_later(engine: BigQueryEngine, gateway: Gateway) -> None:
    put(engine.warehouse, frame(1))
    conflict = refusal(400, "invalidQuery", "Could not serialize access to table x due to concurrent update")
    pauses: list[float] = []

    def two_conflicts(request: Received) -> Answer | None:
        return conflict if b"MERGE" in request.body and len(pauses) < 2 else None

    gateway.instead = two_conflicts
    assert put(engine.open(gateway.url, sleep=pauses.append), frame(9)) == "written"
    assert len(pauses) == 2
    assert len(answers(engine)) == 9


def test_a_conflict_without_end_is_an_error_and_leaves_the_old_rows(engine: BigQueryEngine, gateway: Gateway) -> None:
    put(engine.warehouse, frame(1))
    conflict = refusal(400, "invalidQuery", "Could not serialize access to table x due to concurrent update")
    gateway.instead = lambda request: conflict if b"MERGE" in request.body else None
    with pytest.raises(WarehouseError, match="other processes were writing the same table"):
        put(engine.open(gateway.url, patience_seconds=0.2), frame(9))
    assert len(answers(engine)) == 1
    assert engine.tables() == [TABLE.name]


def test_rows_that_got_lost_on_the_way_are_not_merged(engine: BigQueryEngine, gateway: Gateway) -> None:
    """Half a partition with the digest of a whole one would stay until the event changes again."""
    put(engine.warehouse, frame(4))

    def halve(request: Received) -> Answer | None:
        if not request.target.startswith("/upload"):
            return None
        head, _, rest = request.body.partition(b'{"partition_key"')
        rows, _, tail = rest.partition(b"\r\n--")
        first = rows.split(b"\n")[0]
        return gateway.forward(
            Received(
                request.method,
                request.target,
                {name: value for name, value in request.headers.items() if name != "content-length"},
                head + b'{"partition_key"' + first + b"\r\n--" + tail,
                request.connection,
            )
        )

    gateway.instead = halve
    with pytest.raises(WarehouseError, match=f"took 1 of the 8 rows of {KEY} for {TABLE.name}"):
        put(engine.open(gateway.url), frame(8, "y"))
    assert answers(engine) == ["x"] * 4


def test_an_unreachable_service_is_an_error_after_a_bounded_wait(engine: BigQueryEngine) -> None:
    with pytest.raises(WarehouseError, match="later polls try again"):
        engine.open("http://127.0.0.1:9", patience_seconds=0.3).partition_digest(TABLE, KEY)


def test_without_credentials_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pycontw_assets.pipeline.composition import Composition
    from pycontw_assets.settings import load_settings

    monkeypatch.setenv("NO_GCE_CHECK", "true")
    settings = load_settings(warehouse="bigquery", bigquery_project="project-of-tests")
    rows = frame(1)
    with pytest.raises(WarehouseError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        Composition(lambda: settings).warehouse.replace_partition(TABLE, KEY, rows, digest=content_digest(rows))


def test_moments_numbers_and_odd_texts_arrive_as_they_were(engine: BigQueryEngine) -> None:
    columns = [
        *KEY_COLUMNS,
        Column(name="at", type="TIMESTAMP", description="A moment.", source="x"),
        Column(name="price", type="FLOAT64", description="A number.", source="x"),
        Column(name="text", type="STRING", description="A text.", source="x"),
    ]
    table = attendee_tables(columns)["individual"]
    at = datetime(2031, 6, 1, 18, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    texts = ['"quoted"\n\\', "票 🎟 \u2028", "", None]
    rows = frame(4)[["partition_key", "event_id", "attendee_id"]].assign(
        at=[at, None, at, at], price=[0.1 + 0.2, None, 1e300, -0.0], text=texts
    )
    engine.warehouse.replace_partition(table, KEY, rows, digest="digest")
    stored = engine.warehouse.read(table).sort_values("attendee_id")[["at", "price", "text"]]
    found = stored.astype(object).where(stored.notna(), None).to_dict("list")
    assert found == {"at": [at, None, at, at], "price": [0.1 + 0.2, None, 1e300, 0.0], "text": texts}
