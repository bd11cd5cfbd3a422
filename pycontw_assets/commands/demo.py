"""``demo``: the whole main job against a sandbox, with invented people."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FAILED, FINE, Commands


def add_to(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="play the whole main job against a sandbox and judge the outcome")
    demo.set_defaults(run=_demo)


def _demo(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.demo import play

    return FINE if play() else FAILED
