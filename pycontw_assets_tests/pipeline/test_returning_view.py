"""The view of returning people is the same in every warehouse, and takes nobody's name away."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from pycontw_assets.load.readers.returning import (
    ATTENDEE_EDITIONS,
    RETURNING_NAME,
    Returning,
    count_people,
    read_returning,
    refresh_editions,
    returning_attendees,
)
from pycontw_assets.load.schema import Table, TableColumn
from pycontw_assets.load.warehouse import Warehouse, WarehouseError, replace_rows
from pycontw_assets.records import Family
from pycontw_assets_tests.pipeline.engines import Engine

pytestmark = pytest.mark.thorough  # it opens both warehouses itself


def column(name: str, kind: str) -> TableColumn:
    return TableColumn(name=name, type=kind, mode="NULLABLE", description=f"The {name}.", source="form: x")


ATTENDEES = Table(
    "attendees",
    "Attendees, with as many columns as the count of people needs.",
    (
        *(column(name, "STRING") for name in ("partition_key", "edition", "email_sha256")),
        *(column(name, "INT64") for name in ("event_id", "attendee_id")),
        column("is_usable", "BOOL"),
        *ATTENDEE_EDITIONS.columns[-2:],
    ),
)


def came(warehouse: Warehouse, edition: str, family: Family, people: range) -> None:
    """Load attendees: each of the people with two seats, and one more with a ticket that nobody can use."""
    key, seats = f"{edition}-{family}-90001", [*people, *people, 999]
    frame = pd.DataFrame(
        {
            "partition_key": pd.Series([key] * len(seats), dtype="string[python]"),
            "edition": pd.Series([edition] * len(seats), dtype="string[python]"),
            "email_sha256": pd.Series([f"{person:064x}" for person in seats], dtype="string[python]"),
            "event_id": pd.Series([90001] * len(seats), dtype="Int64"),
            "attendee_id": pd.Series(range(len(seats)), dtype="Int64"),
            "is_usable": pd.Series([person != 999 for person in seats], dtype="boolean"),
        }
    )
    replace_rows(warehouse, ATTENDEES, key, frame)
    refresh_editions(warehouse, ATTENDEES, edition, family)


def test_the_view_counts_people_by_edition_and_family(warehouse: Warehouse, engine: Engine) -> None:
    assert read_returning(warehouse) == []
    came(warehouse, "2020", "individual", range(20))
    came(warehouse, "2018", "individual", range(7, 13))
    came(warehouse, "2019", "individual", range(10))
    expected = [
        Returning("2018", "individual", 6, None, None, None),
        Returning("2019", "individual", 7, None, None, None),
        Returning("2020", "individual", 7, 10, None, None),
    ]
    assert read_returning(warehouse) == expected
    assert count_people(warehouse) == 20
    statement = "SELECT * FROM {attendee_editions} AS e WHERE e.year = 2020"
    assert len(warehouse.select(statement, sources=[ATTENDEE_EDITIONS])) == 20
    view = f"{getattr(engine, 'dataset', 'ods')}.returning_attendees"
    shown = warehouse.select(f"SELECT * FROM {view} ORDER BY edition", sources=[ATTENDEE_EDITIONS])
    assert [Returning(*row) for row in shown] == expected
    came(warehouse, "2019", "individual", range(5))
    assert [row.returning_after_one_year for row in read_returning(warehouse)] == [None, None, 5]


def test_a_view_of_an_older_statement_is_made_again(warehouse: Warehouse, engine: Engine) -> None:
    came(warehouse, "2019", "individual", range(6))
    view = returning_attendees(warehouse.dialect)
    older = f"SELECT 1 AS one FROM {warehouse.dialect.table(ATTENDEE_EDITIONS.name)}"
    warehouse.put_view(replace(view, query=older, columns=()))
    came(warehouse, "2020", "individual", range(6))
    name = f"{getattr(engine, 'dataset', 'ods')}.returning_attendees"
    assert len(warehouse.select(f"SELECT edition FROM {name}", sources=[ATTENDEE_EDITIONS])) == 2


def test_somebody_elses_table_of_this_name_stays(warehouse: Warehouse) -> None:
    theirs = Table(RETURNING_NAME, "Somebody's own.", ATTENDEES.columns)
    frame = pd.DataFrame({name: [] for name in theirs.content_columns})
    replace_rows(warehouse, theirs, "2019-individual-90001", frame)
    with pytest.raises(WarehouseError, match="returning_attendees"):
        came(warehouse, "2019", "individual", range(3))
    assert warehouse.read(theirs).empty
