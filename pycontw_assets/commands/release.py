"""``release``: let the next poll invite the people of a cancelled campaign again."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.pipeline.rebuild import release_batch


def add_to(commands: Commands) -> None:
    """Register the command."""
    release = commands.add_parser(
        "release",
        help="let the next poll invite the people of a cancelled campaign again",
        description="Let the next poll invite the people of a cancelled campaign again. Every other batch is refused.",
        epilog="Exit 0: the people were released. 1: a service did not answer, nothing was changed. 2: the batch is "
        "not released; the reason is printed.",
    )
    release.add_argument("batch_key", metavar="BATCH_KEY", help="key of the batch, as the alarm prints it")
    release.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_checked(used_in=ANYWHERE)
    people = release_batch(parsed.batch_key, klaviyo=root.klaviyo, ledger=root.ledger, waits=root.waits)
    print(f"{people} people released; the next poll invites everybody of them who has a ticket")
    return FINE
