"""Returning people: who held a usable ticket of which edition, and how many came back. Pseudonyms and counts only.

``attendee_editions`` has a row per person, edition and family. It is made from the attendee tables, one edition and
family at a time, so no order of loads or imports matters. The view ``returning_attendees`` counts its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycontw_assets.load.readers.view import Dialect, View, ViewColumn
from pycontw_assets.load.schema import LOAD_COLUMNS, PARTITION_COLUMN, Table, TableColumn
from pycontw_assets.load.warehouse import Outcome, Warehouse, replace_rows
from pycontw_assets.records import Family

if TYPE_CHECKING:
    import pandas as pd

PERSON_COLUMN = "email_sha256"
FEWEST_SHOWN = 5  # people: a smaller count could point at somebody


def _column(name: str, kind: str, description: str, *, mode: str = "REQUIRED") -> TableColumn:
    return TableColumn(name=name, type=kind, mode=mode, description=description, source="tables")


ATTENDEE_EDITIONS = Table(
    "attendee_editions",
    "Who came: one row per person, edition and family with at least one usable ticket. A person is the pseudonym of "
    "the contact address, so several seats of a buyer are one, and a new address is a new person.",
    (
        _column(PARTITION_COLUMN, "STRING", "Edition and family: the rows of both are replaced together."),
        _column("edition", "STRING", "Conference year, four digits."),
        _column("year", "INT64", "The same as a number."),
        _column("family", "STRING", "Ticket family: corporate, individual or reserved."),
        _column(PERSON_COLUMN, "STRING", "The person, as in the attendee tables. Personal data: a pseudonym."),
        *LOAD_COLUMNS,
    ),
    keys=(PARTITION_COLUMN, PERSON_COLUMN),
)

_COUNTS = {
    "first_timers": "People with a ticket of this edition and family who had none in any edition before.",
    "returning_after_one_year": "People whose latest edition before was that of the year before.",
    "returning_after_more": "People whose latest edition before was longer ago.",
    "lapsed": "People with a ticket of this family in the edition before, and of no family in this one.",
}


def _shown(name: str) -> str:
    count = f"COUNT(CASE WHEN kind = '{name}' THEN 1 END)"
    return f"CASE WHEN {count} >= {FEWEST_SHOWN} THEN {count} END AS {name}"


# Plain SQL that DuckDB and BigQuery read alike. The years that are known are those of the table, so the edition before
# is the latest one in it; without its import nobody returns from a year.
_STATEMENT = f"""WITH seen AS (
  SELECT {PERSON_COLUMN}, year, LAG(year) OVER (PARTITION BY {PERSON_COLUMN} ORDER BY year) AS earlier
  FROM (SELECT DISTINCT {PERSON_COLUMN}, year FROM {{attendee_editions}}) AS person_years
), editions AS (
  SELECT year, LAG(year) OVER (ORDER BY year) AS earlier
  FROM (SELECT DISTINCT year FROM {{attendee_editions}}) AS years
), kinds AS (
  SELECT came.year, came.family,
    CASE WHEN seen.earlier IS NULL THEN 'first_timers'
      WHEN came.year - seen.earlier = 1 THEN 'returning_after_one_year'
      ELSE 'returning_after_more' END AS kind
  FROM {{attendee_editions}} AS came
  JOIN seen ON seen.{PERSON_COLUMN} = came.{PERSON_COLUMN} AND seen.year = came.year
  UNION ALL
  SELECT editions.year, came.family, 'lapsed' AS kind
  FROM editions
  JOIN {{attendee_editions}} AS came ON came.year = editions.earlier
  LEFT JOIN seen ON seen.{PERSON_COLUMN} = came.{PERSON_COLUMN} AND seen.year = editions.year
  WHERE seen.year IS NULL
)
SELECT CAST(year AS STRING) AS edition, family,
  {("," + chr(10) + "  ").join(map(_shown, _COUNTS))}
FROM kinds GROUP BY year, family"""  # noqa: S608 - plain names only
RETURNING_DESCRIPTION = (
    f"How many people came for the first time, came back, or did not, by edition and family. Counts under "
    f"{FEWEST_SHOWN} are NULL. In the earliest edition of all everybody looks new."
)
RETURNING_NAME = "returning_attendees"
RETURNING_COLUMNS = (
    ViewColumn(
        name="edition",
        type="STRING",
        description="Conference year, four digits.",
        sources=((ATTENDEE_EDITIONS.name, "year"),),
    ),
    ViewColumn(
        name="family",
        type="STRING",
        description="Ticket family: corporate, individual or reserved.",
        sources=((ATTENDEE_EDITIONS.name, "family"),),
    ),
    *(
        ViewColumn(
            name=name,
            type="INT64",
            description=text,
            sources=((ATTENDEE_EDITIONS.name, "year"), (ATTENDEE_EDITIONS.name, PERSON_COLUMN)),
        )
        for name, text in _COUNTS.items()
    ),
)


def returning_attendees(dialect: Dialect) -> View:
    """Return the view ``returning_attendees``, in the dialect of a warehouse. It is next to the tables."""
    return View(
        name=RETURNING_NAME,
        description=RETURNING_DESCRIPTION,
        columns=RETURNING_COLUMNS,
        query=_STATEMENT.format_map({ATTENDEE_EDITIONS.name: dialect.table(ATTENDEE_EDITIONS.name)}),
        is_next_to_tables=True,
    )


@dataclass(frozen=True, slots=True)
class Returning:
    """One row of the view. ``None``: fewer than five people."""

    edition: str
    family: str
    first_timers: int | None
    returning_after_one_year: int | None
    returning_after_more: int | None
    lapsed: int | None


def refresh_editions(warehouse: Warehouse, attendees: Table, edition: str, family: Family) -> Outcome:
    """Make ``attendee_editions`` hold the people of an edition and family, as the family's table has them now.

    The view is made where it is not there. Safe to repeat. Raise ``WarehouseError``.
    """
    outcome: Outcome = "unchanged"
    people, key = _people(warehouse, attendees, edition), f"{edition}-{family}"
    while replace_rows(warehouse, ATTENDEE_EDITIONS, key, _frame(people, edition, family)) == "written":
        outcome = "written"
        # Another event of the same edition and family may be loaded at the same time. The last to write looks again.
        before, people = people, _people(warehouse, attendees, edition)
        if people == before:
            break
    warehouse.put_view(returning_attendees(warehouse.dialect))
    return outcome


def editions_in(warehouse: Warehouse, attendees: Table) -> list[str]:
    """Return the editions that a table of attendees has rows of."""
    statement = f"SELECT DISTINCT edition FROM {{{attendees.name}}} ORDER BY edition"  # noqa: S608 - plain names only
    return [str(row[0]) for row in warehouse.select(statement, sources=[attendees])]


def read_returning(warehouse: Warehouse) -> list[Returning]:
    """Return the rows of the view, by edition and family; none while there are no tables."""
    statement = f"SELECT * FROM ({_STATEMENT}) AS counted ORDER BY edition, family"  # noqa: S608
    return [Returning(*row) for row in warehouse.select(statement, sources=[ATTENDEE_EDITIONS])]


def count_people(warehouse: Warehouse) -> int:
    """Return how many people there are in all editions together."""
    statement = f"SELECT COUNT(DISTINCT {PERSON_COLUMN}) FROM {{attendee_editions}}"  # noqa: S608 - plain names only
    rows = warehouse.select(statement, sources=[ATTENDEE_EDITIONS])
    return int(rows[0][0]) if rows else 0


def _people(warehouse: Warehouse, attendees: Table, edition: str) -> list[str]:
    statement = (
        f"SELECT DISTINCT {PERSON_COLUMN} FROM {{{attendees.name}}} "  # noqa: S608 - plain names only
        f"WHERE edition = ? AND is_usable AND {PERSON_COLUMN} IS NOT NULL"
    )
    return sorted(str(row[0]) for row in warehouse.select(statement, edition, sources=[attendees]))


def _frame(digests: Sequence[str], edition: str, family: Family) -> pd.DataFrame:
    import pandas as pd

    texts = {PARTITION_COLUMN: f"{edition}-{family}", "edition": edition, "family": family}
    columns: dict[str, Any] = {
        name: pd.Series([value] * len(digests), dtype="string[python]") for name, value in texts.items()
    }
    columns["year"] = pd.Series([int(edition)] * len(digests), dtype="Int64")
    columns[PERSON_COLUMN] = pd.Series(digests, dtype="string[python]")
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame
