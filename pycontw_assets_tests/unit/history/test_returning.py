"""People who return are counted right to the person, whatever the order of imports; small counts are hidden."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.extract.exports.reading import File, read_export
from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse
from pycontw_assets.load.readers.returning import (
    ATTENDEE_EDITIONS,
    Returning,
    count_people,
    read_returning,
    refresh_editions,
)
from pycontw_assets.load.schema import Table, TableColumn, attendee_tables
from pycontw_assets.load.warehouse import WarehouseError, replace_rows
from pycontw_assets.orchestration.history.editions import plot
from pycontw_assets.pipeline.history.importing import next_records
from pycontw_assets.records import FAMILIES, EventPartition, Family
from pycontw_assets_tests.unit.conftest import PSEUDONYMIZER
from pycontw_assets_tests.unit.history.exports import attendee, attendees_csv
from pycontw_assets_tests.unit.history.test_exports import NOW

Truth = Mapping[tuple[str, Family], frozenset[str]]
TABLES = attendee_tables(load_policy().columns)
EDITIONS = [str(year) for year in range(2018, 2031) if year != 2021]  # a year without a conference
FEW = EDITIONS[1:4]


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(tmp_path / "warehouse.duckdb")


def people(*numbers: int) -> frozenset[str]:
    return frozenset(f"person-{number}@example.org" for number in numbers)


def invent(seed: int, editions: Sequence[str]) -> Truth:
    """Return who came to which edition with a ticket of which family: most come for a few years, some skip years."""
    chance = random.Random(seed)
    truth: dict[tuple[str, Family], frozenset[str]] = {}
    for edition, family in itertools.product(editions, FAMILIES):
        first = (int(edition) - 2018) * 10
        truth[edition, family] = people(*(n for n in range(first, first + 60) if chance.random() < 0.3))
    return truth


def expected(truth: Truth) -> list[Returning]:
    """Count the same by hand, person by person."""
    years: dict[str, set[int]] = {}
    for (edition, _), found in truth.items():
        for person in found:
            years.setdefault(person, set()).add(int(edition))
    editions = sorted({edition for (edition, _), found in truth.items() if found})
    rows = []
    for edition, family in itertools.product(editions, FAMILIES):
        year, before = int(edition), max((each for each in editions if each < edition), default=None)
        last = [max((y for y in years[p] if y < year), default=None) for p in truth.get((edition, family), ())]
        gone = [p for p in truth.get((before, family), ()) if year not in years[p]] if before else []
        counts = (
            sum(y is None for y in last),
            sum(y == year - 1 for y in last),
            sum(y is not None and y < year - 1 for y in last),
            len(gone),
        )
        if sum(counts):
            rows.append(Returning(edition, family, *(n if n >= 5 else None for n in counts)))
    return rows


def import_into(warehouse: DuckDBWarehouse, edition: str, family: Family, found: frozenset[str]) -> None:
    """Import an export of these people: some bought several seats, some typed their address in another way."""
    rows = []
    for number, address in enumerate(sorted(found) * 2, start=1):
        typed = f" {address.upper()}" if number % 3 == 0 else address
        rows.append(attendee(number, typed, year=int(edition), Payment_Status="paid"))
    rows.append(attendee(9999, "never-paid@example.org", year=int(edition), Payment_Status="unpaid"))
    export = read_export(File("x.csv", attendees_csv(rows)), edition=edition, family=family)
    partition, table = EventPartition.imported(edition, family), TABLES[family]
    records = next_records(None, export.attendees, (), NOW).values()
    replace_rows(warehouse, table, partition.key, deidentify(records, partition, PSEUDONYMIZER).frame)
    refresh_editions(warehouse, table, edition, family)


@pytest.mark.parametrize(
    ("editions", "seed"),
    [
        pytest.param(FEW, 1, marks=pytest.mark.long),
        *(pytest.param(EDITIONS, seed, marks=pytest.mark.slow) for seed in range(5)),
    ],
)
def test_everybody_is_counted_right_whatever_the_order_of_imports(
    editions: list[str], seed: int, warehouse: DuckDBWarehouse
) -> None:
    truth = invent(seed, editions)
    order = list(truth)
    random.Random(seed).shuffle(order)
    for edition, family in order:
        import_into(warehouse, edition, family, truth[edition, family])
    assert read_returning(warehouse) == expected(truth)
    assert count_people(warehouse) == len(frozenset().union(*truth.values()))
    rows = warehouse.read(ATTENDEE_EDITIONS)
    assert len(rows) == sum(map(len, truth.values()))
    assert not rows["email_sha256"].str.contains("@").any()


def test_a_later_import_of_an_earlier_edition_makes_first_timers_return(warehouse: DuckDBWarehouse) -> None:
    import_into(warehouse, "2020", "individual", people(*range(20)))
    assert read_returning(warehouse) == [Returning("2020", "individual", 20, None, None, None)]
    import_into(warehouse, "2019", "corporate", people(*range(12)))
    assert read_returning(warehouse) == [
        Returning("2019", "corporate", 12, None, None, None),
        Returning("2020", "individual", 8, 12, None, None),
    ]
    import_into(warehouse, "2018", "reserved", people(*range(10, 19)))
    assert read_returning(warehouse)[-1] == Returning("2020", "individual", None, 12, 7, None)


def test_whoever_does_not_come_has_lapsed_in_the_family_they_had(warehouse: DuckDBWarehouse) -> None:
    import_into(warehouse, "2019", "individual", people(*range(10)))
    import_into(warehouse, "2022", "corporate", people(*range(4)))
    assert read_returning(warehouse) == [
        Returning("2019", "individual", 10, None, None, None),
        Returning("2022", "corporate", None, None, None, None),
        Returning("2022", "individual", None, None, None, 6),
    ]


@pytest.mark.parametrize(("number", "shown"), [(4, None), (5, 5)])
def test_a_count_under_five_is_hidden(number: int, shown: int | None, warehouse: DuckDBWarehouse) -> None:
    import_into(warehouse, "2019", "individual", people(*range(number)))
    assert [row.first_timers for row in read_returning(warehouse)] == [shown]


def test_two_events_of_an_edition_and_family_have_one_row_per_person(warehouse: DuckDBWarehouse) -> None:
    for partition, found in (("2019-individual-90001", people(1, 2)), ("2019-individual-90002", people(2, 3))):
        export = read_export(
            File("x.csv", attendees_csv([attendee(n, a) for n, a in enumerate(sorted(found), start=1)])),
            edition="2019",
            family="individual",
        )
        event = EventPartition(int(partition[-5:]), "2019", "individual")
        frame = deidentify(next_records(None, export.attendees, (), NOW).values(), event, PSEUDONYMIZER).frame
        replace_rows(warehouse, TABLES["individual"], partition, frame)
        refresh_editions(warehouse, TABLES["individual"], "2019", "individual")
    assert len(warehouse.read(ATTENDEE_EDITIONS)) == 3


def test_a_replaced_import_takes_its_people_along(warehouse: DuckDBWarehouse) -> None:
    import_into(warehouse, "2019", "individual", people(*range(10)))
    import_into(warehouse, "2019", "individual", people(*range(5, 12)))
    assert read_returning(warehouse) == [Returning("2019", "individual", 7, None, None, None)]


def test_without_tables_nobody_is_counted_and_nothing_is_made(warehouse: DuckDBWarehouse, tmp_path: Path) -> None:
    assert read_returning(warehouse) == []
    assert count_people(warehouse) == 0
    assert list(tmp_path.glob("*.duckdb")) == []


def test_the_view_shows_what_the_program_reads(warehouse: DuckDBWarehouse) -> None:
    import_into(warehouse, "2019", "individual", people(*range(6)))
    rows = warehouse.select("SELECT * FROM ods.returning_attendees", sources=[ATTENDEE_EDITIONS])
    assert rows == [("2019", "individual", 6, None, None, None)]


@pytest.mark.parametrize(
    "made", ["CREATE TABLE ods.returning_attendees (x INT)", "CREATE VIEW ods.returning_attendees AS SELECT 1 AS x"]
)
def test_what_somebody_else_made_is_not_replaced_by_the_view(
    made: str, warehouse: DuckDBWarehouse, tmp_path: Path
) -> None:
    import duckdb

    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE SCHEMA ods")
        connection.execute(made)
    with pytest.raises(WarehouseError, match="returning_attendees"):
        import_into(warehouse, "2019", "individual", people(1))
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        assert connection.table("ods.returning_attendees").columns == ["x"]


def test_the_plot_is_a_picture_without_hidden_counts() -> None:
    counts = [Returning("2019", "individual", 10, None, None, None), Returning("2020", "individual", 5, 5, None, 7)]
    value = str(plot(counts).value)
    image = base64.b64decode(value.partition("base64,")[2].rstrip(")")).decode()
    assert value.startswith("![people by edition](data:image/svg+xml;base64,")
    assert image.count("<rect") == 1 + 2 * 3 + 3
    assert plot([]).value == "none"


def test_rows_have_the_keys_of_their_table(warehouse: DuckDBWarehouse) -> None:
    column = TableColumn(name="partition_key", type="STRING", mode="REQUIRED", description="x", source="tables")
    assert Table("t", "d", (column,)).keys == ("event_id", "attendee_id")
    assert ATTENDEE_EDITIONS.keys == ("partition_key", "email_sha256")


def test_two_loads_at_once_leave_the_people_of_both(warehouse: DuckDBWarehouse) -> None:
    """The slower one has read the people before the faster one's rows were there, and writes last."""
    import_into(warehouse, "2019", "individual", people(1, 2))

    class Slow(DuckDBWarehouse):
        def replace_partition(self, *arguments: Any, **options: Any) -> Any:
            if late:
                import_into(warehouse, "2019", "individual", late.pop())
            return super().replace_partition(*arguments, **options)

    late = [people(1, 2, 3)]
    refresh_editions(Slow(warehouse._path), TABLES["individual"], "2019", "individual")
    assert count_people(warehouse) == 3
