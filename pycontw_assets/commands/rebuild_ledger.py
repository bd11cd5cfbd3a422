"""``rebuild-ledger``: write a lost ledger again."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.pipeline.rebuild import rebuild_ledger


def add_to(commands: Commands) -> None:
    rebuild = commands.add_parser("rebuild-ledger", help="write a lost ledger again from Klaviyo, Gather and KKTIX")
    rebuild.set_defaults(run=_rebuild_ledger)


def _rebuild_ledger(_parsed: argparse.Namespace) -> int:
    report = rebuild_ledger(checked_services())
    print(f"edition {report.edition}: " + ", ".join(f"{name} {number}" for name, number in report.counts.items()))
    print("\n".join(f"       ! {problem}" for problem in report.problems), end="\n" if report.problems else "")
    return FINE
