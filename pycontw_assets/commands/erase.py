"""``erase``: forget one person, and say what remains where and why.

The address is neither logged nor stored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator

from pycontw_assets.commands.console import read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.pipeline.erase import Erased, Erasure, Found
from pycontw_assets.pseudonyms import is_mailable, normalise_address
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    """Register the command."""
    command = commands.add_parser(
        "erase",
        help="forget one person, and say what remains",
        description="Forget one person: remove them from the vault, the tables, the guest list and the mailing lists, "
        "and keep nothing of their orders again. With KLAVIYO_DELETE_PROFILES=1 Klaviyo deletes their profile, too. "
        "Look in each place whether they are gone. Polls go on with what cannot be removed now. The last sentence says "
        "what is gone, what goes when, and what is left to you (docs/privacy.md). It is safe to repeat.",
        epilog="Exit 0: gone from all these places. 1: nothing was stored, nothing was confirmed, or polls go on with "
        "the rest. 2: the configuration is wrong.",
    )
    command.add_argument("address", metavar="ADDRESS", help="the address; - reads standard input (needs --yes)")
    command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    command.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    address = read_argument(parsed.address)
    if not is_mailable(normalise_address(address)):
        raise InvalidSettings("ADDRESS: is not an address")
    root = compose_checked(used_in=ANYWHERE)
    erasure = Erasure(
        gather=root.gather,
        discord=root.discord,
        klaviyo=root.klaviyo,
        vault=root.vault,
        warehouse=root.warehouse,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
        settings=root.settings,
        stop=root.stop,
    )
    found = erasure.find(address)
    if found.is_nothing:
        print(f"{found.who}: nothing is stored here")
        return FAILED
    print("\n".join(describe_found(found)))
    if not parsed.yes and not _is_confirmed():
        print("nothing was changed")
        return FAILED
    result = erasure.run(address)
    print("\n".join([*describe_erased(result), "", last_words(found.who, result)]))
    return FAILED if result.unfinished else FINE


def _is_confirmed() -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input("This cannot be undone. Type yes to go on: ").strip().lower() == "yes"


def describe_found(found: Found) -> Iterator[str]:
    """Yield the lines that say what is stored of the person."""
    yield f"{found.who}:"
    for partition, ids in found.tickets.items():
        yield f"  {partition.key}: {len(ids)} attendees ({', '.join(map(str, sorted(ids)))})"
    if found.usable:
        yield f"  {found.usable} of these tickets are usable: they will not let anybody in any more"
    if not found.tickets:
        yield "  no orders; only traces in the ledger" if found.is_in_ledger else "  no orders"
    if found.rows:
        yield f"  {found.rows} rows of the tables"
    if found.requested_at:
        yield f"  an erasure of {found.requested_at:%Y-%m-%d %H:%M} UTC that is not finished"
    yield from (f"  not looked at: {reason}" for reason in found.unseen)


def describe_erased(result: Erased) -> Iterator[str]:
    """Yield the lines that say what was done, what remains, and what is not done yet."""
    yield from (f"done     {line}" for line in result.done)
    yield from (f"remains  {line}" for line in result.remains)
    yield from (f"       ! {line}" for line in result.problems)


def last_words(who: str, result: Erased) -> str:
    """Return one sentence: what is gone now, what goes when, and what a person must do."""
    gone = [place for place in result.places if place not in result.unfinished]
    parts = [f"{who} is gone now from {_listed(gone)}" if gone else f"{who} is gone from nowhere yet"]
    if result.unfinished:
        parts.append(
            f"not yet from {_listed(result.unfinished)}, which every poll tries again, with an alarm if it lasts"
        )
    parts += result.goes
    if result.todo:
        parts.append(f"you have to {_listed(result.todo)}")
    return "; ".join(parts) + "."


def _listed(items: Iterable[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last
