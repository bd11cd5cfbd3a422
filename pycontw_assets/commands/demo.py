"""``demo``: the whole main job in the sandbox, with invented people."""

from __future__ import annotations

import argparse

from pycontw_assets.api.stopping import OF_THIS_PROCESS
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.interrupts import run_until_stopped


def add_to(commands: Commands) -> None:
    """Register the command."""
    demo = commands.add_parser(
        "demo",
        help="play the whole main job in the sandbox, and judge it",
        description="Play sales, a late payment, a refund, a transfer, failing services and a crash in the sandbox. "
        "Judge every promise. Takes about two minutes.",
        epilog="Exit 0: every promise was kept. 1: a promise was broken; it is named. 130: it was stopped; no verdict.",
    )
    demo.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.demo import play

    return run_until_stopped(lambda: FINE if play() else FAILED, OF_THIS_PROCESS)
