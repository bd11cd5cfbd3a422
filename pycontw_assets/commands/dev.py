"""``dev``: sandbox page, Dagster UI and daemon with the sensor running."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import Commands
from pycontw_assets.settings import SANDBOX_PORT, load_settings


def add_to(commands: Commands) -> None:
    dev = commands.add_parser("dev", help="sandbox page, Dagster UI and daemon with the sensor running")
    dev.add_argument("--port", type=int, default=3000, help="of the Dagster UI")
    dev.add_argument("--sandbox-port", type=int, default=SANDBOX_PORT)
    dev.set_defaults(run=_dev)


def _dev(parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.dev import serve

    return serve(load_settings(), parsed.port, parsed.sandbox_port)
