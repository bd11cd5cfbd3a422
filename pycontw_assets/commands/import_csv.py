"""``import-csv``: take the organisers' exports of a former edition into vault and tables."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.exports.reading import File, read_export
from pycontw_assets.extract.exports.sheet import ExportError
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.polls import Paused, refuse_while_paused
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.pipeline.history.importing import Imported, import_export, kind_of_question, remove_import
from pycontw_assets.records import FAMILIES, EventPartition, Family
from pycontw_assets.settings import InvalidSettings

if TYPE_CHECKING:
    from dagster import Definitions

    from pycontw_assets.load.warehouse import Warehouse
    from pycontw_assets.orchestration.poll import RunReport

_FIRST_EDITION = 2012  # of PyCon Taiwan


def add_to(commands: Commands) -> None:
    """Register the command."""
    command = commands.add_parser(
        "import-csv",
        help="take KKTIX's CSV export of a former edition into vault and tables",
        description="Take the exports of a former edition into vault and tables, by the same field policy as polled "
        "orders, as the partition EDITION-FAMILY-import. Nobody is let in or mailed because of an import, whatever "
        "EDITION is live. The same files again change nothing; other files replace the import before. A file that "
        "does not fit is refused as a whole, with row and column, before anything is written (docs/history.md).",
        epilog="Exit 0: imported, or nothing to change. 1: the import is stored, and its table could not be written, "
        "polls are paused, or there is none to remove; run it again. 2: the file was refused, or the configuration is "
        "wrong; nothing was changed.",
    )
    command.add_argument("edition", metavar="EDITION", help="conference year, four digits")
    command.add_argument("family", metavar="FAMILY", choices=FAMILIES, help="ticket family")
    command.add_argument(
        "attendees", metavar="ATTENDEES", type=Path, nargs="?", help="KKTIX's export of attendees, a CSV file"
    )
    command.add_argument(
        "orders", metavar="ORDERS", type=Path, nargs="?",
        help="its export of orders, for the time and way of payment and for orders cancelled since",
    )  # fmt: skip
    command.add_argument(
        "--replace", action="store_true", help="also replace an import with many more attendees than the file has"
    )
    command.add_argument(
        "--remove", action="store_true", help="take a wrong import away again, out of vault and tables; without files"
    )
    command.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.graph.build import build_definitions

    partition = _partition(parsed.edition, parsed.family)
    if parsed.remove == bool(parsed.attendees):
        raise InvalidSettings("ATTENDEES: is needed, and is left out with --remove")
    if parsed.remove:
        return _remove(partition)
    try:
        export = read_export(
            _file(parsed.attendees, "ATTENDEES"),
            _file(parsed.orders, "ORDERS") if parsed.orders else None,
            edition=partition.edition,
            family=partition.family,
            kind_of=kind_of_question,
        )
        root = compose_checked()
        refuse_while_paused(root.ledger)
        imported = import_export(
            partition,
            export,
            vault=root.vault,
            ledger=root.ledger,
            pseudonymizer=root.pseudonymizer,
            waits=root.waits,
            may_shrink=parsed.replace,
        )
    except ExportError as refused:
        print(f"{refused}. Nothing was changed.", file=sys.stderr)
        return MISCONFIGURED
    except Paused as paused:
        print(paused, file=sys.stderr)
        return FAILED
    print(describe_import(imported))
    reports = _load(
        imported, lambda: build_definitions(root), folder=root.settings.dagster_folder, warehouse=root.warehouse
    )
    failures = [line for report in reports for line in (*report.failures, *report.problems)]
    for line in failures:
        print(f"       ! {line}")
    return FAILED if failures else FINE


def _remove(partition: EventPartition) -> int:
    from pycontw_assets.orchestration.history.imports import remove_partition
    from pycontw_assets.orchestration.instance import open_instance

    root = compose_checked(used_in=ANYWHERE)
    if partition.key not in known_imports(root.ledger):
        print(f"{partition.key}: no such import; nothing was changed")
        return FAILED
    rows = remove_import(
        partition,
        vault=root.vault,
        warehouse=root.warehouse,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
    )
    with open_instance(root.settings.dagster_folder) as instance:
        remove_partition(instance, partition)
    print(f"{partition.key}: removed, with {rows} rows")
    return FINE


def describe_import(imported: Imported) -> str:
    """Return the line that says what became of the files."""
    parts = [f"{imported.partition.key}: {imported.outcome}, {imported.attendees} attendees"]
    if imported.gone:
        parts.append(f"{imported.gone} of the import before are gone")
    if imported.left_out:
        parts.append(f"{imported.left_out} left out because they asked to be forgotten")
    return ", ".join(parts)


def _load(
    imported: Imported, define: Callable[[], Definitions], *, folder: Path, warehouse: Warehouse
) -> Iterator[RunReport]:
    """Load the table, and show both in Dagster. Also after an interrupted import of the same files."""
    from pycontw_assets.orchestration.history.imports import is_shown, load_import
    from pycontw_assets.orchestration.instance import open_instance

    partition = imported.partition
    with open_instance(folder) as instance:
        table = attendee_tables(load_policy().columns)[partition.family]
        is_loaded = warehouse.partition_rows(table, partition.key) == imported.attendees
        if imported.outcome == "unchanged" and is_loaded and is_shown(instance, partition):
            return
        yield from load_import(define(), instance, partition)


def _partition(edition: str, family: Family) -> EventPartition:
    if not re.fullmatch("20[0-9]{2}", edition) or int(edition) < _FIRST_EDITION:
        raise InvalidSettings(f"EDITION: needs the year of a conference, four digits from {_FIRST_EDITION} on")
    return EventPartition.imported(edition, family)


def _file(path: Path, argument: str) -> File:
    try:
        return File(path.name, path.read_bytes())
    except OSError as error:
        raise InvalidSettings(f"{argument}: cannot be read ({error.strerror})") from None
