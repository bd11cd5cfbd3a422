"""``rotate-vault``: encrypt everything in the vault with the first key of ``VAULT_KEY``."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import compose


def add_to(commands: Commands) -> None:
    """Register the command."""
    rotate = commands.add_parser(
        "rotate-vault",
        help="encrypt the whole vault with the first key of VAULT_KEY",
        description="Encrypt the whole vault with the first key of VAULT_KEY. First put the new key in front "
        "(VAULT_KEY=new,old) on every machine. It may be interrupted and repeated; when all objects have the new key, "
        "the old one can go.",
        epilog="Exit 0: every object has the first key. 2: some objects cannot be read; they are named.",
    )
    rotate.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    rotation = compose().vault.rotate()
    print(f"vault: {rotation.reencrypted} encrypted again, {rotation.current} had the first key already")
    for problem in rotation.unreadable:
        print(f"       ! {problem}")
    return MISCONFIGURED if rotation.unreadable else FINE
