"""``drill``: rehearse an opening day with invented people."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.api.stopping import OF_THIS_PROCESS
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.interrupts import run_until_stopped

if TYPE_CHECKING:
    from pycontw_assets.play.drill.sale import Step


def add_to(commands: Commands) -> None:
    """Register the command."""
    drill = commands.add_parser(
        "drill",
        help="rehearse an opening day in the sandbox",
        description="Rehearse an opening day in the sandbox: a rush of orders, late payments, refunds, every service "
        "failing once, a broken alarm channel, an older vault put back, a poll killed at work. Then judge every "
        "promise, and show how long buyers waited.",
        epilog="Exit 0: every promise was kept. 1: a promise was broken; it is named. 130: it was stopped; no verdict.",
    )
    drill.add_argument("--orders", type=_orders, default=60, metavar="N", help="number of orders")
    drill.add_argument(
        "--seed", type=int, default=0, help="another number makes another day; the same number makes the same day"
    )
    drill.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="also draw the waiting times as PNG; needs pycontw_assets[pictures]",
    )
    drill.set_defaults(run=_run)


def _orders(text: str) -> int:
    from pycontw_assets.play.drill.script import FEWEST_ORDERS, MOST_ORDERS

    if not text.isdecimal() or not FEWEST_ORDERS <= int(text) <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"must be a number from {FEWEST_ORDERS} to {MOST_ORDERS}")
    return int(text)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.drill.plot import check_plot
    from pycontw_assets.play.drill.script import write_script

    if parsed.plot:
        check_plot(parsed.plot)
    script = write_script(parsed.orders, parsed.seed)
    return run_until_stopped(lambda: rehearse(script, parsed.seed, parsed.plot), OF_THIS_PROCESS)


def rehearse(script: Iterable[Step], seed: int = 0, plot: Path | None = None) -> int:
    """Play a script and return the exit code."""
    from pycontw_assets.play.drill.play import play

    return FINE if play(script, seed, plot) else FAILED
