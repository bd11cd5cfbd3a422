"""``policy``: which answers the rules keep, and what rules are missing."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_to_read
from pycontw_assets.deidentify.coverage import Coverage, count_coverage, coverage_gaps, coverage_of_counts, kept_in_all
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.suggestions import Unclassified
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.records import AttendeeRecord, EventPartition
from pycontw_assets.vault.vault import OrdersStore

_WHATS = ("suggest", "coverage", "version")
_NOTHING = "# Every question and answer has a rule: there is nothing to suggest."


def add_to(commands: Commands) -> None:
    """Register the command."""
    policy = commands.add_parser(
        "policy",
        help="show which answers are kept, and suggest rules for the rest",
        description="Show what the rules of the form (deidentify/policy.yaml, and POLICY_FILE) do with the answers in "
        "the vault. `coverage` prints for each column how many answers are kept whole. `suggest` prints entries for "
        "POLICY_FILE: for questions without a rule, and for answers outside the choices. It shows a question or an "
        "answer only when at least 5 people gave it, and nothing that looks like an address or a long number. "
        "`version` prints the version of the rules, which every row names. Nothing is changed.",
        epilog="Exit 0: all is well. 1: `coverage` found a column below ANSWERS_KEPT_PERCENT, or orders could not be "
        "read. 2: the configuration is wrong.",
    )
    policy.add_argument("what", choices=_WHATS, metavar="WORD", help="what to print")
    policy.add_argument("--edition", metavar="YEAR", help="only the events of this edition")
    policy.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_to_read(used_in=() if parsed.what == "version" else ANYWHERE)
    _ = root.settings
    if parsed.what == "version":
        print(load_policy().version)
        return FINE
    stored = _stored(root.ledger_to_read, root.vault_to_read, parsed.edition)
    if parsed.what == "suggest":
        unclassified = Unclassified(load_policy())
        for _partition, records in stored:
            unclassified.add(records)
        print("\n".join(list(unclassified.suggest()) or [_NOTHING]))
        return FINE
    counts: Counter[tuple[str, str]] = Counter()
    for _partition, records in stored:
        count_coverage(records, load_policy(), root.pseudonymizer, counts)
    coverage = coverage_of_counts(load_policy(), counts)
    print("\n".join(describe(coverage)))
    below = coverage_gaps(coverage, root.settings.answers_kept_percent)
    print("\n".join(f"! {gap}" for gap in below))
    return FAILED if below else FINE


def _stored(
    ledger: Ledger, vault: OrdersStore, edition: str | None
) -> Iterator[tuple[EventPartition, Iterator[AttendeeRecord]]]:
    """Yield the events whose orders are in the vault, with their attendees."""
    for partition in sorted(known_events(ledger).values(), key=lambda item: item.key):
        if edition in (None, partition.edition) and (stored := vault.stream(partition.key)):
            yield partition, stored[1]


def describe(coverage: Coverage) -> Iterator[str]:
    """Yield a line per column, and one about all of them."""
    for kept in coverage.columns:
        yield f"{kept.column:<30} {kept.whole:>7} of {kept.answers:>7}  {kept.percent:5.1f} %"
    if coverage.unknown_questions:
        yield f"{'(questions without a rule)':<30} {0:>7} of {coverage.unknown_answers:>7}  {0:5.1f} %"
    yield kept_in_all(coverage)
