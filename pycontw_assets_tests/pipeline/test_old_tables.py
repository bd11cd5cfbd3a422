"""Tables that this program did not make stay as they are; set aside they are whole, and the old SQL reads both."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.ledger.events import known_events
from pycontw_assets.load.ownership import set_aside_name
from pycontw_assets.load.readers.old_reading import VIEW_NAMES, keep_views
from pycontw_assets.load.readers.view import View, ViewColumn
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import ForeignTable, Warehouse, WarehouseError, content_digest
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import FAMILIES, Attendee, AttendeeRecord, EventPartition, Family
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline import old_tables
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.engines import (
    ENGINES,
    KEY,
    NOW,
    TABLE,
    BigQueryEngine,
    DuckDBEngine,
    Engine,
    engine_of,
    frame,
    put,
)
from pycontw_assets_tests.pipeline.harness import Pipeline, describe
from pycontw_assets_tests.pipeline.test_doctor import examine
from pycontw_assets_tests.pipeline.test_lineage import metadata_of, specs
from pycontw_assets_tests.pipeline.test_reading_only import in_the_environment_of

pytestmark = pytest.mark.thorough  # it opens both warehouses itself

TABLES = attendee_tables(load_policy().columns)
VIEWS = "readings"


def views_of(engine: Engine) -> str:
    return VIEWS if engine.dataset == "ods" else f"{engine.dataset}_{VIEWS}"


def ticket(number: int, *, is_paid: bool = True, state: str = "activated") -> AttendeeRecord:
    attendee = Attendee(
        attendee_id=700_000 + number,
        is_paid=is_paid,
        state=state,
        answers=(("聯絡人 Email", f"buyer{number}@example.org"), ("Gender / 性別", "Male / 男性")),
        ticket_name='一般票 "A" / Regular',
        reg_no=number,
        price=1500.0,
        updated_at=1_930_000_000.0,
    )
    return AttendeeRecord(attendee, NOW, paid_seen_at=NOW if is_paid else None)


def load(warehouse: Warehouse, family: Family, records: list[AttendeeRecord], edition: str = "2031") -> None:
    partition = EventPartition(90_000 + FAMILIES.index(family), edition, family)
    rows = deidentify(records, partition, Pseudonymizer()).frame
    warehouse.replace_partition(TABLES[family], partition.key, rows, digest=content_digest(rows))


# -- somebody else's ----------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Warehouse], Any]] = {
    "replace_partition": lambda warehouse: put(warehouse, frame(3)),
    "partition_digest": lambda warehouse: warehouse.partition_digest(TABLE, KEY),
    "partition_rows": lambda warehouse: warehouse.partition_rows(TABLE, KEY),
    "read": lambda warehouse: warehouse.read(TABLE),
    "state": lambda warehouse: warehouse.state(TABLE),
}


def test_every_call_refuses_a_table_of_somebody_else_and_leaves_it_as_it_was(engine: Engine) -> None:
    old_tables.fill(engine, "individual")
    before = engine.fingerprint(TABLE.name)
    for name, call in CALLS.items():
        with pytest.raises(ForeignTable, match=f"{TABLE.name} was not made by this program") as caught:
            call(engine.warehouse)
        for way_out in ("TABLE_PREFIX", "BIGQUERY_DATASET", "adopt-tables"):
            assert way_out in str(caught.value), name
    assert engine.warehouse.count([TABLE], "email_sha256", "digest") == 0
    assert engine.warehouse.forget([TABLE], "email_sha256", "digest") == 0
    assert engine.warehouse.owner_of(TABLE) == "foreign"
    assert engine.fingerprint(TABLE.name) == before
    assert engine.tables() == [TABLE.name]


def test_an_old_table_to_which_a_former_version_added_its_columns_is_refused_too(engine: Engine) -> None:
    old_tables.fill(engine, "reserved", TABLE.name)
    types = {"STRING": "VARCHAR", "INT64": "BIGINT", "TIMESTAMP": "TIMESTAMP WITH TIME ZONE"}
    for column in TABLE.columns:
        type_ = types[column.type] if engine.dataset == "ods" else column.type
        engine.execute(f"ALTER TABLE {engine.dataset}.{TABLE.name} ADD COLUMN {column.name} {type_}")
    before = engine.fingerprint(TABLE.name)
    with pytest.raises(ForeignTable):
        put(engine.warehouse, frame(3))
    with pytest.raises(ForeignTable):
        engine.warehouse.forget([TABLE], "answer", "x")
    assert engine.fingerprint(TABLE.name) == before


def test_a_view_in_the_place_of_a_table_is_refused(engine: Engine) -> None:
    engine.execute("CREATE SCHEMA IF NOT EXISTS ods" if engine.dataset == "ods" else "SELECT 1")
    engine.execute(f"CREATE VIEW {engine.dataset}.{TABLE.name} AS SELECT 1 AS partition_key")
    with pytest.raises(ForeignTable):
        put(engine.warehouse, frame(1))
    with pytest.raises(WarehouseError, match="no table of somebody else"):
        engine.warehouse.set_aside(TABLE)


def test_with_a_prefix_ours_is_made_beside_it(engine: Engine) -> None:
    old_tables.fill(engine, "individual")
    before = engine.fingerprint(TABLE.name)
    warehouse = engine.open(prefix="pipeline_")
    assert put(warehouse, frame(3)) == "written"
    assert put(warehouse, frame(3)) == "unchanged"
    assert warehouse.partition_rows(TABLE, KEY) == len(warehouse.read(TABLE)) == 3
    assert warehouse.full_name(TABLE) == f"{engine.dataset}.pipeline_{TABLE.name}"
    assert sorted(engine.tables()) == sorted([TABLE.name, f"pipeline_{TABLE.name}"])
    assert engine.fingerprint(TABLE.name) == before


def test_a_table_of_a_former_version_is_ours_and_gets_the_mark_with_the_next_load(engine: Engine) -> None:
    put(engine.warehouse, frame(3))
    remove_mark(engine)
    assert engine.warehouse.owner_of(TABLE) == "unmarked"
    assert engine.warehouse.partition_rows(TABLE, KEY) == 3
    assert engine.warehouse.owner_of(TABLE) == "unmarked", "reading changes nothing"
    assert put(engine.warehouse, frame(3)) == "unchanged"
    assert engine.warehouse.owner_of(TABLE) == "ours"
    assert engine.warehouse.partition_rows(TABLE, KEY) == 3


def remove_mark(engine: Engine) -> None:
    if isinstance(engine, BigQueryEngine):
        table = engine.table()
        table.labels = dict.fromkeys(table.labels)
        engine.client.update_table(table, ["labels"])
    else:
        engine.execute(f"COMMENT ON TABLE ods.{TABLE.name} IS '{TABLE.description}'")


def test_a_table_without_the_columns_of_today_is_read_all_the_same(engine: Engine) -> None:
    put(engine.warehouse, frame(3))
    newer = attendee_tables([*TABLE.columns[:-2], *[c for c in load_policy().columns if c.name == "paid_at"]])
    stored = engine.warehouse.read(newer["individual"])
    assert len(stored) == 3
    assert stored["paid_at"].isna().all()


# -- setting aside ------------------------------------------------------------------------------------


def rows_in(engine: Engine, name: str) -> Counter[tuple[Any, ...]]:
    return Counter(engine.rows(f"SELECT * FROM {engine.dataset}.{name}"))


@pytest.mark.parametrize("family", ["individual", "corporate"], ids=["whole prices", "broken prices"])
def test_a_table_is_set_aside_whole_and_its_name_is_free(engine: Engine, family: Family) -> None:
    old_tables.fill(engine, family)
    table, copy = TABLES[family], set_aside_name(old_tables.name_of(family))
    before = rows_in(engine, table.name)
    done = engine.warehouse.set_aside(table)
    assert (done.rows, done.was_copied) == (before.total(), False)
    assert done.is_snapshot == (engine.dataset != "ods")
    assert rows_in(engine, copy) == before
    assert engine.warehouse.owner_of(table) == "absent"
    load(engine.warehouse, family, [ticket(1)])
    assert rows_in(engine, copy) == before
    with pytest.raises(WarehouseError, match="no table of somebody else"):
        engine.warehouse.set_aside(table)


def test_a_copy_that_is_not_the_table_as_it_is_now_frees_no_name(engine: Engine) -> None:
    old_tables.fill(engine, "individual")
    engine.warehouse.set_aside(TABLE)
    old_tables.fill(engine, "individual")
    engine.execute(f"DELETE FROM {engine.dataset}.{TABLE.name} WHERE registration_no = 2")
    before = engine.fingerprint(TABLE.name), rows_in(engine, set_aside_name(TABLE.name))
    with pytest.raises(WarehouseError, match=r"is not a copy of .* nothing was deleted"):
        engine.warehouse.set_aside(TABLE)
    assert (engine.fingerprint(TABLE.name), rows_in(engine, set_aside_name(TABLE.name))) == before


def test_a_table_that_somebody_else_keeps_under_the_name_of_the_copy_stays(engine: Engine) -> None:
    old_tables.fill(engine, "individual")
    old_tables.fill(engine, "individual", set_aside_name(TABLE.name))
    before = engine.fingerprint(set_aside_name(TABLE.name))
    with pytest.raises(WarehouseError, match="rename or delete"):
        engine.warehouse.set_aside(TABLE)
    assert engine.fingerprint(set_aside_name(TABLE.name)) == before
    assert engine.warehouse.owner_of(TABLE) == "foreign"


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DuckDBEngine:
    """Return the tables of the installation that commands find."""
    monkeypatch.setenv("PYCONTW_HOME", str(tmp_path / "home"))
    return DuckDBEngine(tmp_path / "home" / "warehouse.duckdb")


def test_the_command_asks_and_says_what_it_did(at_home: DuckDBEngine, capsys: pytest.CaptureFixture[str]) -> None:
    for family in ("individual", "reserved"):
        old_tables.fill(at_home, family)
    before = at_home.fingerprint(TABLE.name)
    assert main(["adopt-tables"]) == MISCONFIGURED, "nobody can be asked"
    assert at_home.fingerprint(TABLE.name) == before
    assert main(["adopt-tables", "--yes"]) == FINE
    shown = capsys.readouterr().out
    rows = sum(1 for _ in old_tables.old_rows("individual"))
    assert f"done     ods.{TABLE.name}: made a copy, ods.{TABLE.name}_legacy; its {rows} rows are the same" in shown
    assert sorted(at_home.tables()) == [set_aside_name(old_tables.name_of(f)) for f in ("individual", "reserved")]
    assert main(["adopt-tables", "--yes"]) == FINE
    assert "there is nothing to do" in capsys.readouterr().out


def test_the_command_goes_on_after_a_table_that_stays(
    at_home: DuckDBEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    for family in ("individual", "reserved"):
        old_tables.fill(at_home, family)
    old_tables.fill(at_home, "individual", set_aside_name(TABLE.name))
    assert main(["adopt-tables", "--yes"]) == FAILED
    shown = capsys.readouterr().out
    assert f"! ods.{TABLE.name}_legacy is not a copy of ods.{TABLE.name}" in shown
    assert "done     ods.ods_kktix_ticket_reserved_attendees" in shown


# -- the old reading ----------------------------------------------------------------------------------

DAILY = """
WITH unique_records AS (
  SELECT DISTINCT NAME, JSON_EXTRACT(ATTENDEE_INFO, '$.id') AS ORDER_ID,
    REPLACE(JSON_EXTRACT(ATTENDEE_INFO, '$.ticket_name'), '"', '') AS TICKET_NAME
  FROM {views}.ods_kktix_attendeeId_datetime
  WHERE ((REFUNDED IS NULL) OR (REFUNDED = FALSE)) AND (NAME LIKE 'PyCon TW {year} Registration%')
)
SELECT NAME, TICKET_NAME, COUNT(1) AS COUNTS FROM unique_records GROUP BY NAME, TICKET_NAME
"""
PROFILE = """
SELECT EXTRACT(YEAR FROM CAST(paid_date AS DATE)) AS year, email, organization, job_title, country_or_region,
  age_range, gender
FROM {views}.kktix_ticket_individual_attendees WHERE payment_status = 'paid'
"""
BOT = "SELECT ticket_type, qrcode, payment_status, paid_date FROM {views}.kktix_ticket_reserved_attendees"


def daily(engine: Engine, year: int) -> dict[tuple[str, str], int]:
    found = engine.rows(DAILY.format(views=views_of(engine), year=year))
    return {(name, ticket_name): count for name, ticket_name, count in found}


def expected_daily(year: int) -> dict[tuple[str, str], int]:
    return {
        (f"PyCon TW {year} Registration: {family.capitalize()}", name.replace('"', "\\")): count
        for family in FAMILIES
        for name, count in old_tables.paid_by_ticket(year, family).items()
    }


@pytest.fixture(scope="module", params=ENGINES)
def readable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return an engine with three old years set aside, an edition of ours, and the views. Tests leave it as it is."""
    engine = engine_of(request, tmp_path_factory.mktemp("readable"))
    old_tables.fill_all(engine)
    warehouse = engine.open(views_dataset=views_of(engine))
    for family in FAMILIES:
        warehouse.set_aside(TABLES[family])
        sold = [ticket(1), ticket(2), ticket(3, is_paid=False), ticket(4, state="cancelled")]
        load(warehouse, family, sold)
    assert [view.name for view in keep_views(warehouse).made] == list(VIEW_NAMES)
    return engine


def test_the_daily_count_is_right_for_old_years_and_new_ones(readable: Engine) -> None:
    for year in old_tables.YEARS:
        assert daily(readable, year) == expected_daily(year)
    assert daily(readable, 2031) == {
        (f"PyCon TW 2031 Registration: {family.capitalize()}", "一般票 \\A\\ / Regular"): 2 for family in FAMILIES
    }


def test_profiles_have_everybody_who_paid_and_nothing_in_clear(readable: Engine) -> None:
    found = readable.rows(PROFILE.format(views=views_of(readable)))
    old = Counter(
        int(row["paid_date"][:4]) for row in old_tables.old_rows("individual") if row["payment_status"] == "paid"
    )
    assert Counter(row[0] for row in found) == {**old, 2031: 3}
    assert {row[2:4] for row in found} == {(None, None)}
    assert {row[-1] for row in found} == {"Male / 男性"}
    assert sum(row[1] is None for row in found) == len(old_tables.YEARS), "the digest of nothing is no person"
    everything = [readable.rows(f"SELECT * FROM {views_of(readable)}.{name}") for name in VIEW_NAMES]
    assert not [secret for secret in old_tables.SECRETS if secret in str(everything)]


def test_the_bot_reads_its_columns_and_finds_no_token(readable: Engine) -> None:
    found = Counter(readable.rows(BOT.format(views=views_of(readable))))
    old: Counter[Any] = Counter(
        (row["ticket_type"], None, row["payment_status"], row["paid_date"]) for row in old_tables.old_rows("reserved")
    )
    name = '一般票 "A" / Regular'
    assert found == old + Counter({(name, None, "paid", "2031-06-01"): 3, (name, None, "not", None): 1})


def test_views_are_made_once_and_again_when_their_text_changes(readable: Engine) -> None:
    warehouse = readable.open(views_dataset=views_of(readable))
    assert keep_views(warehouse).made == ()
    readable.execute(f"DROP VIEW {views_of(readable)}.ods_kktix_attendeeId_datetime")
    assert [view.name for view in keep_views(warehouse).made] == ["ods_kktix_attendeeId_datetime"]


def test_views_cover_the_families_that_have_a_table(engine: Engine) -> None:
    warehouse = engine.open(views_dataset=views_of(engine), prefix="pipeline_")
    assert keep_views(warehouse).made == ()
    load(warehouse, "reserved", [ticket(1)])
    made = [view.name for view in keep_views(warehouse).made]
    assert made == ["kktix_ticket_reserved_attendees", "ods_kktix_attendeeId_datetime"]
    assert daily(engine, 2031) == {("PyCon TW 2031 Registration: Reserved", "一般票 \\A\\ / Regular"): 1}


def test_old_years_are_there_without_a_new_event_and_are_not_counted_twice(engine: Engine) -> None:
    old_tables.fill(engine, "corporate")
    warehouse = engine.open(views_dataset=views_of(engine))
    warehouse.set_aside(TABLES["corporate"])
    made = [view.name for view in keep_views(warehouse).made]
    assert made == ["kktix_ticket_corporate_attendees", "ods_kktix_attendeeId_datetime"]
    counts = {key: count for key, count in expected_daily(2018).items() if "Corporate" in key[0]}
    assert daily(engine, 2018) == counts
    load(warehouse, "corporate", [ticket(1)], edition="2018")
    assert [view.name for view in keep_views(warehouse).made] == made, "the year is ours from now on"
    assert sum(daily(engine, 2018).values()) == 1


def test_a_class_of_fewer_than_five_people_of_an_edition_is_hidden(engine: Engine) -> None:
    table = attendee_tables(load_policy().columns)["reserved"]
    partition = EventPartition(90_002, "2031", "reserved")
    rows = deidentify([ticket(number) for number in range(1, 10)], partition, Pseudonymizer()).frame
    rows = rows.assign(industry_category=pd.Series([6] * 5 + [9] * 4, dtype="Int64"))
    warehouse = engine.open(views_dataset=views_of(engine))
    warehouse.replace_partition(table, partition.key, rows, digest=content_digest(rows))
    keep_views(warehouse)
    flat = f"{views_of(engine)}.kktix_ticket_reserved_attendees"
    counted = engine.rows(f"SELECT industry_category, COUNT(*) FROM {flat} GROUP BY 1 ORDER BY 1")
    assert counted == [(0, 4), (6, 5)]


def test_a_view_next_to_the_tables_has_their_dataset_and_prefix(engine: Engine) -> None:
    warehouse = engine.open(prefix="pipeline_")
    load(warehouse, "reserved", [ticket(1), ticket(2)])
    source = warehouse.dialect.table(old_tables.name_of("reserved"))
    column = ViewColumn(name="n", type="INT64", description="How many.")
    view = View(
        name="counted",
        description="Rows.",
        columns=(column,),
        query=f"SELECT COUNT(*) AS n FROM {source}",
        is_next_to_tables=True,
    )
    assert [warehouse.put_view(view), warehouse.put_view(view)] == ["made", "unchanged"]
    assert engine.rows(f"SELECT * FROM {engine.dataset}.pipeline_counted") == [(2,)]


def test_a_view_never_hides_what_somebody_else_made(engine: Engine) -> None:
    views, name = views_of(engine), "kktix_ticket_reserved_attendees"
    warehouse = engine.open(views_dataset=views)
    load(warehouse, "reserved", [ticket(1)])
    engine.execute(f"CREATE SCHEMA IF NOT EXISTS {views}")
    engine.execute(f"CREATE TABLE {views}.{name} AS SELECT 1 AS a")
    kept = keep_views(warehouse)
    assert [view.name for view in kept.made] == ["ods_kktix_attendeeId_datetime"]
    [problem] = kept.problems
    assert f"{views}.{name} exists and was not made by this program" in problem
    assert engine.rows(f"SELECT * FROM {views}.{name}") == [(1,)]
    assert warehouse.view_owner(name) == "foreign"


REVENUE = """
SELECT CAST(paid_at AS DATE) AS day, COUNT(*), SUM(price)
FROM {dataset}.ods_kktix_ticket_individual_attendees
WHERE paid_at IS NOT NULL AND NOT is_cancelled AND paid_at_certainty IN ('hour', 'day')
GROUP BY day ORDER BY day
"""


def test_revenue_by_day_follows_from_paid_at(engine: Engine) -> None:
    def sold(number: int, day: int, since_hours: float) -> AttendeeRecord:
        at = datetime(2031, 6, day, 12, tzinfo=timezone.utc)
        record = ticket(number)
        return AttendeeRecord(record.attendee, at, paid_seen_at=at, paid_seen_after=at - timedelta(hours=since_hours))

    load(engine.warehouse, "individual", [sold(1, 1, 0.1), sold(2, 1, 20), sold(3, 2, 0.1), sold(4, 2, 30), ticket(5)])
    found = engine.rows(REVENUE.format(dataset=engine.dataset))
    assert [(day.day, count, price) for day, count, price in found] == [(1, 2, 3000.0), (2, 1, 1500.0)]


# -- whole installations ------------------------------------------------------------------------------


def foreign_world(install: Install, world: World, **settings: Any) -> tuple[Pipeline, Engine]:
    """Return an installation next to three old tables, with an event on sale, and its tables."""
    event = world.add_event("PyCon TW 2031 Registration: Individual")
    for _ in range(3):
        world.sell(event)
    pipeline = install(**settings)
    engine = DuckDBEngine(pipeline.settings.duckdb_file)
    old_tables.fill_all(engine)
    return pipeline, engine


def prints(engine: Engine) -> list[Any]:
    return [engine.fingerprint(old_tables.name_of(family)) for family in FAMILIES]


@pytest.mark.embedded
@pytest.mark.long
def test_next_to_old_tables_people_are_let_in_and_only_the_load_fails(install: Install, world: World) -> None:
    pipeline, engine = foreign_world(install, world)
    before = prints(engine)
    report = pipeline.poll()
    assert not report.ok
    assert "ods.ods_kktix_ticket_individual_attendees was not made by this program" in describe(report)
    assert len(pipeline.guests()) == 3
    assert len(pipeline.mailed()) == 3
    failed = [finding for finding in examine(pipeline) if finding.level == "FAIL" and finding.name == "warehouse"]
    assert [finding.what.split()[0] for finding in failed] == [f"ods.{old_tables.name_of(f)}" for f in FAMILIES]
    assert all("TABLE_PREFIX" in finding.fix for finding in failed)
    assert prints(engine) == before


@pytest.mark.embedded
@pytest.mark.long
def test_no_command_touches_a_table_of_others(install: Install, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, engine = foreign_world(install, world, on_disk=True)
    pipeline.poll()
    before, address = prints(engine), pipeline.mailed()[0]
    [partition] = known_events(pipeline.ledger).values()
    in_the_environment_of(pipeline, monkeypatch)
    commands = (
        "status",
        "plan",
        "doctor",
        "poll",
        f"trace {address}",
        f"refresh {address}",
        "policy coverage",
        "policy suggest",
        "reclassify",
        "rotate-vault",
        f"rename-event {partition.key} {partition.key.replace('individual', 'reserved')}",
        "poll",
        f"erase {address} --yes",
        "rebuild-ledger",
    )
    for command in commands:
        assert main(command.split()) in (FINE, FAILED, MISCONFIGURED), command
        assert prints(engine) == before, command


@pytest.mark.embedded
@pytest.mark.long
def test_with_a_prefix_or_after_setting_aside_everything_runs(install: Install, world: World) -> None:
    pipeline, engine = foreign_world(install, world, table_prefix="pipeline_", views_dataset=VIEWS)
    before = prints(engine)
    assert (report := pipeline.poll()).ok, describe(report)
    assert [finding for finding in examine(pipeline) if finding.level == "FAIL"] == []
    assert prints(engine) == before
    assert daily_total(engine, 2031) == 3
    assert daily_total(engine, 2019) == 0, "the old tables were not set aside"
    pipeline.restart(table_prefix="")
    for family in FAMILIES:
        pipeline.root.warehouse.set_aside(TABLES[family])
    assert (report := pipeline.later_poll()).ok, describe(report)
    assert daily_total(engine, 2031) == 3
    for year in old_tables.YEARS:
        assert daily(engine, year) == expected_daily(year)
    made = metadata_of(pipeline, "kktix_ticket_individual_attendees")
    assert made["columns"] > len(old_tables.COLUMNS)
    assert all(len(specs(pipeline)[name].description) > 40 for name in VIEW_NAMES)
    spec = specs(pipeline)["ods_kktix_attendeeId_datetime"]
    sources = spec.metadata["dagster/column_lineage"].deps_by_column["REFUNDED"]
    assert {(dep.asset_key.to_user_string(), dep.column_name) for dep in sources} == {
        (old_tables.name_of(family), column) for family in FAMILIES for column in ("is_cancelled", "is_paid")
    }


def daily_total(engine: Engine, year: int) -> int:
    return sum(daily(engine, year).values())


def test_without_a_dataset_for_them_there_are_no_views(pipeline: Pipeline) -> None:
    assert not set(VIEW_NAMES) & set(specs(pipeline))


# -- kill -9 ------------------------------------------------------------------------------------------

FORK = multiprocessing.get_context("fork")


def _work(engine: Engine, *, is_setting_aside: bool, gate: Any) -> None:
    gate.wait(60)
    warehouse = engine.open()
    if is_setting_aside:
        warehouse.set_aside(TABLE)
        return
    with suppress(ForeignTable):
        put(warehouse, frame(30, "new"))


def run_killed(engine: Engine, seconds: float | None, *, is_setting_aside: bool) -> float:
    """Work in another process and kill it after ``seconds`` (``None``: let it end). Return how long it took."""
    gate = FORK.Event()
    child = FORK.Process(target=_work, args=(engine,), kwargs={"is_setting_aside": is_setting_aside, "gate": gate})
    child.start()
    gate.set()
    begun_at = time.monotonic()
    child.join(60 if seconds is None else seconds)
    taken = time.monotonic() - begun_at
    child.kill()
    child.join(60)
    if isinstance(engine, BigQueryEngine):
        time.sleep(0.5)  # the service ends what it was asked for, whoever asked
    return taken


@pytest.mark.parametrize("kills", [pytest.param(4, marks=pytest.mark.long), pytest.param(200, marks=pytest.mark.slow)])
def test_killed_loads_leave_an_old_table_as_it_was(engine: Engine, kills: int) -> None:
    old_tables.fill(engine, "individual")
    before = engine.fingerprint(TABLE.name)
    whole = run_killed(engine, None, is_setting_aside=False)
    for kill in range(kills):
        run_killed(engine, whole * kill / kills, is_setting_aside=False)
    assert engine.fingerprint(TABLE.name) == before
    assert engine.tables() == [TABLE.name]


@pytest.mark.slow
def test_killed_at_any_moment_setting_aside_loses_nothing_and_can_be_repeated(engine: Engine) -> None:
    copy, kills = set_aside_name(TABLE.name), 60
    outcomes: Counter[str] = Counter()
    whole = 0.0
    for kill in range(kills + 1):
        old_tables.fill(engine, "individual")
        before = rows_in(engine, TABLE.name)
        whole = max(whole, run_killed(engine, 1.2 * whole * kill / kills if kill else None, is_setting_aside=True))
        owner = engine.warehouse.owner_of(TABLE)
        is_copied = copy in engine.tables()
        outcomes[f"{owner}, {'copied' if is_copied else 'not copied'}"] += 1
        if owner == "foreign":
            assert rows_in(engine, TABLE.name) == before
            done = engine.warehouse.set_aside(TABLE)
            assert done.rows == before.total()
        assert rows_in(engine, copy) == before
        assert engine.warehouse.owner_of(TABLE) == "absent"
        snapshot = "SNAPSHOT " if isinstance(engine, BigQueryEngine) else ""
        engine.execute(f"DROP {snapshot}TABLE {engine.dataset}.{copy}")
    print(f"\nafter {kills} kills the name belongs to: {dict(outcomes)}")
    assert min(outcomes["foreign, not copied"], outcomes["absent, copied"]) > 0
