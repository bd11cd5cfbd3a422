"""``sandbox``: the simulated KKTIX, Gather and Klaviyo with their page, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.settings import SANDBOX_PORT, Settings, load_settings

if TYPE_CHECKING:
    from pycontw_assets.sandbox.page.view import AskPipeline, Refusal


def add_to(commands: Commands) -> None:
    """Register the command."""
    sandbox = commands.add_parser(
        "sandbox",
        help="start only the simulated KKTIX, Gather and Klaviyo",
        description="Start only the simulated KKTIX, Gather and Klaviyo, with their page (the box office).",
    )
    sandbox.add_argument("--port", type=int, default=SANDBOX_PORT, help="port of the sandbox")
    sandbox.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.sandbox.server import serve

    serve(parsed.port, ask_pipeline=pipeline_of(load_settings()))
    return FINE


def pipeline_of(settings: Settings) -> AskPipeline:
    """Return a function that reads the open problems of the pipeline in the same home.

    It returns ``None`` before the pipeline's first poll.
    """
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
                problems = read_standing(db)
        except (sa.exc.SQLAlchemyError, LedgerError):
            return None
        return [
            Refusal(
                problem.partition_key,
                f"{problem.subject}: {problem.text}",
                problem.is_failure,
                problem.since,
                problem.times,
            )
            for problem in problems
        ]

    return ask
