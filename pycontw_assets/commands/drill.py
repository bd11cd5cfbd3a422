"""``drill``: an opening day, rehearsed with invented people."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE, Commands

if TYPE_CHECKING:
    from pycontw_assets.play.drill.sale import Step


def add_to(commands: Commands) -> None:
    drill = commands.add_parser(
        "drill", help="rehearse an opening day: a wave of orders, every service failing, a crash"
    )
    drill.add_argument("--orders", type=_orders, default=60, metavar="N", help="how many orders come in; default: 60")
    drill.add_argument("--seed", type=int, default=0, help="another number, another day; the same, the same day")
    drill.add_argument("--plot", type=Path, metavar="FILE", help="draw the waiting times as PNG, too; needs [drill]")
    drill.set_defaults(run=_drill)


def _orders(text: str) -> int:
    from pycontw_assets.play.drill.script import FEWEST_ORDERS, MOST_ORDERS

    if not text.isdecimal() or not FEWEST_ORDERS <= int(text) <= MOST_ORDERS:
        raise argparse.ArgumentTypeError(f"must be a number from {FEWEST_ORDERS} to {MOST_ORDERS}")
    return int(text)


def _drill(parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.drill.plot import check_plot
    from pycontw_assets.play.drill.script import write_script

    if parsed.plot:
        check_plot(parsed.plot)
    return rehearse(write_script(parsed.orders, parsed.seed), parsed.seed, parsed.plot)


def rehearse(script: Iterable[Step], seed: int = 0, plot: Path | None = None) -> int:
    """Exit code of a drill by any script; 0 is a verdict, so an interrupted one must not end with it."""
    from pycontw_assets.play.drill.play import play

    try:
        return FINE if play(script, seed, plot) else FAILED
    except KeyboardInterrupt:
        print("\nInterrupted: no verdict.")
        return FAILED
