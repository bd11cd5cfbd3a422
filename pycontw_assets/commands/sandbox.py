"""``sandbox``: the simulated KKTIX, Gather and Klaviyo with their page, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
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

    # Ctrl-C is the usual end of a server.
    with suppress(KeyboardInterrupt):
        serve(parsed.port, ask_pipeline=pipeline_of(load_settings()))
    return FINE


def pipeline_of(settings: Settings) -> AskPipeline:
    """Return a function that reads the open problems of the pipeline in the same home.

    It returns ``None`` before the pipeline's first poll.
    """
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
            Refusal(
                partition_key=problem.partition_key,
                text=f"{problem.subject}: {problem.text}",
                is_failure=problem.is_failure,
                since=problem.since,
                times=problem.times,
            )
            for problem in problems
        ]

    return ask
