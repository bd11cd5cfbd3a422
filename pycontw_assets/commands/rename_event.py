"""``rename-event``: give an event that was recorded under a wrong edition or family its right key."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.pipeline.consistency.renaming import Renaming, partition_named


def add_to(commands: Commands) -> None:
    """Register the command."""
    rename = commands.add_parser(
        "rename-event",
        help="correct the edition or family that an event was recorded under",
        description="Give an event that was recorded under a wrong edition or family its right key. Orders, rows and "
        "everything that the ledger knows of it move together. Nobody is let in, removed or mailed by it, and people "
        "who were invited count as invited. Stop the sensor or the timer first. It may be interrupted and repeated.",
        epilog="Exit 0: the event has the new key. 1: another process is at work on the event; try again. 2: nothing "
        "was changed; the reason is printed.",
    )
    rename.add_argument("event", metavar="EVENT", help="number of the event at KKTIX, or its recorded key")
    rename.add_argument("new_key", metavar="NEW_KEY", help="the right key, for example 2031-individual-90001")
    rename.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.instance import open_instance
    from pycontw_assets.orchestration.observations import forget_partition

    new = partition_named(parsed.new_key)
    root = compose_checked(used_in=ANYWHERE)
    renaming = Renaming(
        vault=root.vault,
        warehouse=root.warehouse,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
        settings=root.settings,
    )
    renamed = renaming.run(parsed.event, new)
    with open_instance(root.settings.dagster_folder) as instance:
        forget_partition(instance, new)
    was = "" if renamed.before == renamed.key else f", and was {renamed.before}"
    print(f"{renamed.key}: recorded{was}; {renamed.rows} rows in its table")
    if not renamed.is_mapped:
        print(
            f"       ! also map event {new.event_id} in KKTIX_EVENTS, unless its name says the same: a lost ledger is "
            "rebuilt by it"
        )
    return FINE
