"""``resume``: end a pause of all polls."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import compose, refuse_unused
from pycontw_assets.ledger.polls import end_pause, paused_since


def add_to(commands: Commands) -> None:
    """Register the command."""
    resume = commands.add_parser(
        "resume",
        help="go on after `pause`",
        description="Go on after `pause`: the next poll does what is due by then.",
        epilog="Exit 0: polls are not paused. 1: no poll ever ran with this data folder. 2: the configuration is "
        "wrong.",
    )
    resume.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    root = compose()
    refuse_unused(root.settings)
    ledger = root.ledger
    since = paused_since(ledger)
    end_pause(ledger)
    paused = f"polls go on; they were paused since {since:%Y-%m-%d %H:%M} UTC" if since else "polls were not paused"
    print(f"{paused}. `pycontw-assets plan` shows what the next poll does")
    return FINE
