"""``rebuild-ledger``: write a lost ledger again from the services and the vault."""

from __future__ import annotations

import argparse

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import compose_checked
from pycontw_assets.pipeline.history.importing import find_imports
from pycontw_assets.pipeline.rebuild import rebuild_ledger


def add_to(commands: Commands) -> None:
    """Register the command."""
    rebuild = commands.add_parser(
        "rebuild-ledger",
        help="write a lost ledger again",
        description="Write a lost ledger again from Klaviyo, Gather, Discord, KKTIX and the vault. Change nothing "
        "outside. A ledger that is in use is refused.",
        epilog="Exit 0: the ledger was written; read the problems that it prints. 1: a service did not answer, nothing "
        "was changed. 2: the ledger is not lost, or the configuration is wrong.",
    )
    rebuild.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    root = compose_checked()
    report = rebuild_ledger(
        kktix=root.kktix,
        gather=root.gather,
        discord=root.discord,
        discord_roles=root.discord_roles,
        klaviyo=root.mail_service,
        vault=root.vault,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
        settings=root.settings,
    )
    imports = find_imports(vault=root.vault, ledger=root.ledger)
    print(f"edition {report.edition}: " + ", ".join(f"{name} {number}" for name, number in report.counts.items()))
    if imports:
        print(f"imports: {', '.join(partition.key for partition in imports)}")
    for problem in report.problems:
        print(f"       ! {problem}")
    return FINE
