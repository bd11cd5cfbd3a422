"""``refresh``: have the next poll read one person's tickets again, after a correction in KKTIX."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pycontw_assets.commands.console import read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked, mention_pause
from pycontw_assets.commands.lookup import HELP, METAVAR, Person, describe_choice, find_people
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import request_refresh
from pycontw_assets.pipeline.steps import stored_snapshots


def add_to(commands: Commands) -> None:
    """Register the command."""
    refresh = commands.add_parser(
        "refresh",
        help="have the next poll read one person's tickets again",
        description="Have the next poll read all tickets of one person again, for example after a ticket was "
        "transferred or its contact address was corrected in KKTIX. Without it, a ticket in order is read again "
        "within a day. An event that KKTIX does not list any more is not read.",
        epilog="Exit 0: the next poll reads them. 1: nobody here is known by that, or several people are. 2: the "
        "configuration is wrong.",
    )
    refresh.add_argument("buyer", metavar=METAVAR, help=HELP)
    refresh.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_checked(used_in=ANYWHERE)
    buyer = read_argument(parsed.buyer)
    people = find_people(buyer, dict(stored_snapshots(root.ledger, root.vault)))
    if len(people) > 1:
        print("\n".join(describe_choice(buyer, people)))
        return FAILED
    if not people or not people[0].seats:
        print("no ticket stored here has this address or number; every poll reads new tickets without being asked")
        return FAILED
    print("\n".join(request(people[0], root.ledger)))
    mention_pause(root.ledger)
    return FINE


def request(person: Person, ledger: Ledger) -> Iterator[str]:
    """Ask for all tickets of the person, and yield a line per event."""
    by_event: dict[str, list[int]] = {}
    for seat in person.seats:
        by_event.setdefault(seat.partition.key, []).append(seat.attendee_id)
    for partition_key, numbers in by_event.items():
        request_refresh(ledger, partition_key, numbers)
        listed = ", ".join(map(str, numbers))
        yield f"{person.who}: the next poll reads attendees {listed} of {partition_key} again"
