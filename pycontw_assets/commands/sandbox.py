"""``sandbox``: only the simulated KKTIX, Gather and Klaviyo, with their page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.settings import SANDBOX_PORT, Settings, load_settings

if TYPE_CHECKING:
    from pycontw_assets.sandbox.page.view import AskPipeline, Refusal


def add_to(commands: Commands) -> None:
    sandbox = commands.add_parser("sandbox", help="only the simulated KKTIX, Gather and Klaviyo, with their page")
    sandbox.add_argument("--port", type=int, default=SANDBOX_PORT)
    sandbox.set_defaults(run=_sandbox)


def _sandbox(parsed: argparse.Namespace) -> int:
    from pycontw_assets.sandbox.server import serve

    serve(parsed.port, ask_pipeline=pipeline_of(load_settings()))
    return FINE


def pipeline_of(settings: Settings) -> AskPipeline:
    """What the pipeline of the same home has recorded as its troubles; ``None`` before its first poll."""
    import sqlalchemy as sa

    from pycontw_assets.alerts.problems import read_standing
    from pycontw_assets.ledger.engine import LedgerError, open_reader
    from pycontw_assets.sandbox.page.view import Refusal

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
