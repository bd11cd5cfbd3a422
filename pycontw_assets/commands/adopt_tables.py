"""``adopt-tables``: keep older tables under another name, so that ours can have theirs. Nothing of them is lost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.load.ownership import SET_ASIDE_SUFFIX, set_aside_name
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import SetAside, Warehouse, WarehouseError
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    """Register the command."""
    command = commands.add_parser(
        "adopt-tables",
        help="copy older tables aside, so that their names are free for ours",
        description="Find the tables that have the names of ours and that this program did not make. Copy each of them "
        f"to the name with {SET_ASIDE_SUFFIX} behind it, in BigQuery as a snapshot; compare the copy row for row; and "
        "only then delete the table, so that the next poll makes ours. The views of VIEWS_DATASET show the rows of the "
        "copies, too. Stop what writes the old tables first. It may be interrupted at any point and repeated.",
        epilog="Exit 0: no name is taken (any more). 1: at least one table stays as it was; the reason is printed, or "
        "you did not confirm. 2: the configuration is wrong.",
    )
    command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    command.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose()
    root.check_settings()
    warehouse = root.warehouse
    foreign = foreign_tables(warehouse)
    if not foreign:
        print("no table of somebody else has a name of ours: there is nothing to do")
        return FINE
    print("\n".join(describe_plan(warehouse, foreign)))
    if not parsed.yes and not _is_confirmed():
        print("nothing was changed")
        return FAILED
    failures = 0
    for table in foreign:
        try:
            print(describe_result(warehouse.set_aside(table)), flush=True)
        except WarehouseError as error:
            failures += 1
            print(f"       ! {error}", flush=True)
    return FAILED if failures else FINE


def foreign_tables(warehouse: Warehouse) -> list[Table]:
    """Return our tables whose names something has that this program did not make."""
    tables = attendee_tables(load_policy().columns).values()
    return [table for table in tables if warehouse.owner_of(table) == "foreign"]


def describe_plan(warehouse: Warehouse, foreign: Iterable[Table]) -> Iterator[str]:
    """Yield the lines that say what will be done."""
    yield "made by somebody else:"
    for table in foreign:
        name = warehouse.full_name(table)
        yield f"  {name}: is copied to {set_aside_name(name)}, compared row for row, and then deleted"


def describe_result(done: SetAside) -> str:
    """Say what was done with one table."""
    how = "found the copy of an earlier attempt" if done.was_copied else "made a copy"
    kind = ", a snapshot, which nobody can change" if done.is_snapshot else ""
    return f"done     {done.name}: {how}, {done.copy}{kind}; its {done.rows} rows are the same; the name is free"


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input("Has everything stopped that writes them? Type yes to go on: ").strip().lower() == "yes"
