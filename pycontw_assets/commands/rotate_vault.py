"""``rotate-vault``: everything in the vault encrypted with the first key of ``VAULT_KEY``."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import unchecked_services


def add_to(commands: Commands) -> None:
    rotate = commands.add_parser("rotate-vault", help="encrypt the whole vault with the first key of VAULT_KEY")
    rotate.set_defaults(run=_rotate_vault)


def _rotate_vault(_parsed: argparse.Namespace) -> int:
    rotation = unchecked_services().vault.rotate()
    print(f"vault: {rotation.reencrypted} encrypted anew, {rotation.current} had the first key already")
    if not rotation.unreadable:
        return FINE
    print("\n".join(f"       ! {problem}" for problem in rotation.unreadable))
    return MISCONFIGURED
