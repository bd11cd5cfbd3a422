"""``erase``: forget one person, and say what remains where and why. The address is not logged or stored."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from pycontw_assets.commands.console import read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.pipeline.erase import Erased, Found, erase, find_person
from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    command = commands.add_parser("erase", help="forget one person; says what remains where and why")
    command.add_argument("who", metavar="ADDRESS", help="- for standard input (with --yes)")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.set_defaults(run=_erase)


def _erase(parsed: argparse.Namespace) -> int:
    wanted = read_argument(parsed.who)
    if not is_mailable(normalise_address(wanted)):
        raise InvalidSettings("ADDRESS: is not one")
    services = checked_services()
    found = find_person(services, wanted)
    if found.is_nothing:
        print(f"{found.who}: nothing is stored here")
        return FAILED
    print("\n".join(describe_found(found)))
    if not parsed.yes and not _confirmed():
        print("nothing was changed")
        return FAILED
    result = erase(services, wanted)
    print("\n".join(describe_erased(result)))
    return FAILED if result.problems else FINE


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input("This cannot be undone. Type yes to go on: ").strip().lower() == "yes"


def describe_found(found: Found) -> Iterator[str]:
    yield f"{found.who}:"
    for partition, ids in found.tickets.items():
        yield f"  {partition.key}: {len(ids)} attendees ({', '.join(map(str, sorted(ids)))})"
    if found.usable:
        yield f"  {found.usable} of these tickets may be used: they will be let in nowhere any more"
    if not found.tickets:
        yield "  no orders; only traces in the ledger"


def describe_erased(result: Erased) -> Iterator[str]:
    yield from (f"done     {line}" for line in result.done)
    yield from (f"remains  {line}" for line in result.remains)
    yield from (f"       ! {line}" for line in result.problems)
