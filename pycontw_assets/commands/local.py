"""``demo``, ``dev``, ``sandbox``: seeing it work on one machine, with invented people."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.settings import SANDBOX_PORT, Settings, load_settings

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.sandbox.desk import AskPipeline, Refusal


def add_to(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="play the whole main job against a sandbox and judge the outcome")
    demo.set_defaults(run=_demo)

    dev = commands.add_parser("dev", help="sandbox page, Dagster UI and daemon with the sensor running")
    dev.add_argument("--port", type=int, default=3000, help="of the Dagster UI")
    dev.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT)
    dev.set_defaults(run=_dev)

    sandbox = commands.add_parser("sandbox", help="only the simulated KKTIX, Gather and Klaviyo, with their page")
    sandbox.add_argument("--port", type=int, default=SANDBOX_PORT)
    sandbox.set_defaults(run=_sandbox)


def _demo(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.demo import play

    return FINE if play() else FAILED


def _dev(parsed: argparse.Namespace) -> int:
    from pycontw_assets.dev import serve

    return serve(load_settings(), parsed.port, parsed.sandbox_port)


def _sandbox(parsed: argparse.Namespace) -> int:
    from pycontw_assets.sandbox.server import serve

    serve(parsed.port, ask_pipeline=pipeline_of(load_settings()))
    return FINE


def pipeline_of(settings: Settings) -> AskPipeline:
    """What the pipeline of the same home has recorded as its troubles; ``None`` before its first poll."""
    import sqlalchemy as sa

    from pycontw_assets.ledger_engine import LedgerError, open_reader
    from pycontw_assets.sandbox.desk import Refusal
    from pycontw_assets.troubles import read_standing

    file = settings.ledger_file
    engine = open_reader(settings.ledger_location)

    def ask() -> Sequence[Refusal] | None:
        if file and not file.exists():
            return None  # looking must not make the file: its tables would be missing
        try:
            with engine.connect() as db:
                standing = read_standing(db)
        except (sa.exc.SQLAlchemyError, LedgerError):
            return None
        return [
            Refusal(found.partition_key, f"{found.subject}: {found.text}", found.is_failure, found.since, found.times)
            for found in standing
        ]

    return ask
