"""``release``: let the next poll invite the people of a cancelled campaign."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.pipeline.rebuild import release_batch


def add_to(commands: Commands) -> None:
    release = commands.add_parser("release", help="let the next poll invite the people of a cancelled campaign anew")
    release.add_argument("batch_key")
    release.set_defaults(run=_release)


def _release(parsed: argparse.Namespace) -> int:
    people = release_batch(checked_services(), parsed.batch_key)
    print(f"{people} people released; the next poll invites whoever has a ticket")
    return FINE
