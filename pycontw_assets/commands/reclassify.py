"""``reclassify``: make the rows of all events again after the rules changed."""

from __future__ import annotations

import argparse
from collections import Counter

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.pipeline.consistency.rules import Remade, reclassify


def add_to(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "reclassify",
        help="make the rows of all events again after the rules changed",
        description="Bring the rows of every event to the present rules (deidentify/policy.yaml, categories.yaml and "
        "POLICY_FILE), from the orders in the vault. Polls do it for events that they read; this does it for all, also "
        "those of former years. Rows that these rules made are left alone. It may be interrupted and repeated. Nothing "
        "but the warehouse is written, and no service is asked.",
        epilog="Exit 0: all rows are of the present rules. 1: some could not be made again, each with its "
        "reason, and stay as they were. 2: the configuration is wrong.",
    )
    parser.set_defaults(run=_run)


def _run(_parsed: argparse.Namespace) -> int:
    root = compose_checked(used_in=ANYWHERE)
    counts: Counter[str] = Counter()
    for remade in reclassify(
        vault=root.vault,
        warehouse=root.warehouse,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
    ):
        counts[remade.outcome] += 1
        print(describe(remade))
    print(f"rules {load_policy().version}: {_sum(counts)}")
    return FAILED if counts["refused"] else FINE


def describe(remade: Remade) -> str:
    """Return what became of the rows of one event as one line."""
    words = {
        "made again": f"{remade.rows} rows made again",
        "unchanged": f"{remade.rows} rows, which are the same by the present rules",
        "current": f"{remade.rows} rows, made by the present rules already",
        "empty": "no rows",
        "refused": f"not made again: {remade.reason}",
    }
    return f"{remade.partition.key}: {words[remade.outcome]}"


def _sum(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no events"
