"""All views with the old names, and keeping them: made after a load, and again when what they say changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pycontw_assets.api.log import log_step
from pycontw_assets.load.ownership import set_aside_name
from pycontw_assets.load.readers.daily_count import NAME, daily_count
from pycontw_assets.load.readers.flat_attendees import flat_attendees
from pycontw_assets.load.readers.view import Dialect, View
from pycontw_assets.load.schema import attendee_table_name
from pycontw_assets.load.warehouse import Warehouse, WarehouseError
from pycontw_assets.records import FAMILIES

VIEW_NAMES = (*(f"kktix_ticket_{family}_attendees" for family in FAMILIES), NAME)
_TABLES = tuple(map(attendee_table_name, FAMILIES))


@dataclass(frozen=True, slots=True)
class KeptViews:
    """``made``: the views that were made or replaced. ``problems``: why others were not. Texts name views only."""

    made: tuple[View, ...] = ()
    problems: tuple[str, ...] = ()


def old_reading(available: Mapping[str, Collection[str]], dialect: Dialect) -> list[View]:
    """Return the views over the tables that are there. ``available``: table -> its columns."""
    families = [f for f in FAMILIES if {(name := attendee_table_name(f)), set_aside_name(name)} & available.keys()]
    flat = [flat_attendees(family, available, dialect) for family in families]
    count = daily_count(available, dialect)
    return [*flat, count] if count else flat


def keep_views(warehouse: Warehouse) -> KeptViews:
    """Bring the views up to date. A view that cannot be made keeps nothing else from being made, and is a problem."""
    made, problems = [], []
    try:
        available = warehouse.columns([*_TABLES, *map(set_aside_name, _TABLES)])
        views = old_reading(
            {name: columns for name, columns in available.items() if _is_readable(name, columns)},
            warehouse.dialect,
        )
    except WarehouseError as error:
        return KeptViews(problems=(str(error),))
    for view in views:
        try:
            if warehouse.put_view(view) == "made":
                made.append(view)
        except WarehouseError as error:
            problems.append(str(error))
    for view in made:
        log_step("view_made", step="load", table=view.name.lower())
    return KeptViews(tuple(made), tuple(problems))


def _is_readable(name: str, columns: Collection[str]) -> bool:
    """Whether a table has the columns without which a view says nothing.

    A table of a former version has not, until its next load. An older one without a date has no year.
    """
    needed = {"paid_at", "edition", "is_cancelled"} if name in _TABLES else {"paid_date"}
    return needed <= set(columns)
