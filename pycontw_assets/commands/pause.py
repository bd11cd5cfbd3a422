"""``pause``: stop all polls, on every machine and under every name that Dagster knows the sensor by."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose, refuse_unused
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.polls import RESUME, begin_pause, paused_since


def add_to(commands: Commands) -> None:
    """Register the command."""
    pause = commands.add_parser(
        "pause",
        help="stop everything: no poll, and no run in Dagster, does anything until `resume`",
        description="Stop everything: the sensor, `poll`, and runs that somebody starts in the Dagster UI do nothing "
        "until `resume`. What is at work stops before its next step. Nothing is lost. People are alerted after a day.",
        epilog="Exit 0: polls are paused. 1: no poll ever ran with this ledger, so it may be another one than that of "
        "the polls. 2: the configuration is wrong, and nothing was paused.",
    )
    pause.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.orchestration.instance import read_history

    root = compose()  # unchecked: whatever else is wrong, the ledger is enough to stop
    refuse_unused(root.settings, ("sandbox",))
    begin_pause(root.ledger)
    print(f"polls are paused since {paused_since(root.ledger):%Y-%m-%d %H:%M} UTC, until {RESUME}")
    running = read_history(root.settings.dagster_folder, root.ledger).running
    if running:
        print(f"still at work: {', '.join(sorted(running))}. It stops before its next step")
    if not known_events(root.ledger):
        print("no poll ever ran with this ledger; are PYCONTW_HOME and LEDGER_URL those of the polls?")
        return FAILED
    return FINE
