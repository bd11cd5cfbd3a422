"""``dev``: sandbox page, Dagster UI and daemon with the sensor running."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import Commands
from pycontw_assets.settings import SANDBOX_PORT, InvalidSettings, load_settings


def add_to(commands: Commands) -> None:
    """Register the command."""
    dev = commands.add_parser(
        "dev",
        help="open sandbox page and Dagster UI, with the sensor running",
        description="Start the sandbox page, the Dagster UI and the daemon with its sensor. Print their addresses. "
        "Ctrl-C stops all of them. Refused with PYCONTW_ENV=production: the buyers are invented.",
    )
    dev.add_argument("--port", type=int, default=3000, help="port of the Dagster UI")
    dev.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT, help="port of the sandbox")
    dev.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    from pycontw_assets.pipeline.composition import Composition
    from pycontw_assets.play.dev import serve

    settings = load_settings()
    if settings.pycontw_env == "production":
        raise InvalidSettings(
            "PYCONTW_ENV: is production, and dev plays with invented buyers; run it in a folder without the .env of "
            "production. docs/production.md says how the real thing runs"
        )
    Composition(lambda: settings).check_place()
    print(f"data folder {settings.home}")
    return serve(settings, parsed.port, parsed.sandbox_port)
