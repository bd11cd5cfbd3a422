"""``demo``, ``drill``, ``dev``, ``sandbox``: seeing it work on one machine, with invented people."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.settings import SANDBOX_PORT, Settings, load_settings

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.play.drill.sale import Step
    from pycontw_assets.sandbox.page.view import AskPipeline, Refusal


def add_to(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="play the whole main job against a sandbox and judge the outcome")
    demo.set_defaults(run=_demo)

    drill = commands.add_parser(
        "drill", help="rehearse an opening day: a wave of orders, every service failing, a crash"
    )
    drill.add_argument("--orders", type=_orders, default=60, metavar="N", help="how many orders come in; default: 60")
    drill.add_argument("--seed", type=int, default=0, help="another number, another day; the same, the same day")
    drill.add_argument("--plot", type=Path, metavar="FILE", help="draw the waiting times as PNG, too; needs [drill]")
    drill.set_defaults(run=_drill)

    dev = commands.add_parser("dev", help="sandbox page, Dagster UI and daemon with the sensor running")
    dev.add_argument("--port", type=int, default=3000, help="of the Dagster UI")
    dev.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT)
    dev.set_defaults(run=_dev)

    sandbox = commands.add_parser("sandbox", help="only the simulated KKTIX, Gather and Klaviyo, with their page")
    sandbox.add_argument("--port", type=int, default=SANDBOX_PORT)
    sandbox.set_defaults(run=_sandbox)


def _demo(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.demo import play

    return FINE if play() else FAILED


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


def _dev(parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.dev import serve

    return serve(load_settings(), parsed.port, parsed.sandbox_port)


def _sandbox(parsed: argparse.Namespace) -> int:
    from pycontw_assets.sandbox.server import serve

    serve(parsed.port, ask_pipeline=pipeline_of(load_settings()))
    return FINE


def pipeline_of(settings: Settings) -> AskPipeline:
    """What the pipeline of the same home has recorded as its troubles; ``None`` before its first poll."""
    import sqlalchemy as sa

    from pycontw_assets.ledger.database.engine import LedgerError
    from pycontw_assets.ledger.ledger import Ledger
    from pycontw_assets.ledger.reporting.problems import open_problems
    from pycontw_assets.sandbox.page.view import Refusal

    file = settings.ledger_file

    def ask() -> Sequence[Refusal] | None:
        if file and not file.exists():
            return None
        try:
            problems = open_problems(Ledger.reading(settings.ledger_location))
        except (sa.exc.SQLAlchemyError, LedgerError):
            return None
        return [
            Refusal(found.partition_key, f"{found.subject}: {found.text}", found.is_failure, found.since, found.times)
            for found in problems
        ]

    return ask
