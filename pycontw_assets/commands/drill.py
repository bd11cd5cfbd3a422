"""``drill``: rehearse an opening day with invented people."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE, Commands

if TYPE_CHECKING:
    from pycontw_assets.play.drill.sale import Step


def add_to(commands: Commands) -> None:
    """Register the command."""
    drill = commands.add_parser(
        "drill",
        help="rehearse an opening day in the sandbox",
        description="Rehearse an opening day in the sandbox: a rush of orders, late payments, refunds, every service "
        "failing once, a poll killed at work. Then judge every promise, and show how long buyers waited.",
        epilog="Exit 0: every promise was kept. 1: a promise was broken (it is named), or the drill was interrupted.",
    )
    drill.add_argument("--orders", type=_orders, default=60, metavar="N", help="number of orders")
    drill.add_argument(
        "--seed", type=int, default=0, help="another number makes another day; the same number makes the same day"
    )
    drill.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="also draw the waiting times as PNG; needs pycontw_assets[drill]",
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
    return rehearse(write_script(parsed.orders, parsed.seed), parsed.seed, parsed.plot)


def rehearse(script: Iterable[Step], seed: int = 0, plot: Path | None = None) -> int:
    """Play a script and return the exit code. An interrupted drill has no verdict, so it must not end with 0."""
    from pycontw_assets.play.drill.play import play

    try:
        return FINE if play(script, seed, plot) else FAILED
    except KeyboardInterrupt:
        print("\nInterrupted: no verdict.")
        return FAILED
