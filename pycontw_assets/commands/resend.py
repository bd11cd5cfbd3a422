"""``resend``: send one person's invitation once more, because it was lost. A person decides; the ledger records it."""

from __future__ import annotations

import argparse
import sys

from pycontw_assets.commands.console import read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.commands.lookup import HELP, METAVAR, describe_choice, find_people
from pycontw_assets.commands.trace import describe_trace, trace
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.pipeline.resending.resend import NotResent, Resending
from pycontw_assets.pipeline.resending.ways import chosen_way
from pycontw_assets.pipeline.steps import stored_snapshots
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    """Register the command."""
    command = commands.add_parser(
        "resend",
        help="send one person's invitation once more, after it was lost",
        description="Send one person's invitation once more, after it was lost. It shows what is known of them, asks, "
        "and records the repeat in the ledger. It does so at most once an hour for one person, and only for people "
        "who may enter, were invited, and whom mail can reach.",
        epilog="Exit 0: the mail service took it over. 1: it was refused, or the next poll goes on with it; the reason "
        "is printed. 2: the configuration is wrong.",
    )
    command.add_argument("buyer", metavar=METAVAR, help=HELP)
    command.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    command.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_checked(used_in=ANYWHERE)
    buyer = read_argument(parsed.buyer)
    people = find_people(buyer, dict(stored_snapshots(root.ledger, root.vault)))
    if len(people) > 1:
        print("\n".join(describe_choice(buyer, people)))
        return FAILED
    if not people or people[0].address is None:
        print("no address here is known by that number, so there is nobody to write to")
        return FAILED
    known = trace(buyer, vault=root.vault, ledger=root.ledger, pseudonymizer=root.pseudonymizer, gather=root.gather)
    print("\n".join(describe_trace(known)))
    way, send = chosen_way(klaviyo=root.mail_service, ledger=root.ledger, waits=root.waits, settings=root.settings)
    resending = Resending(
        way=way,
        send=send,
        vault=root.vault,
        ledger=root.ledger,
        pseudonymizer=root.pseudonymizer,
        waits=root.waits,
        settings=root.settings,
    )
    return _resend(people[0].address, people[0].who, resending, asks=not parsed.yes)


def _resend(address: str, who: str, resending: Resending, *, asks: bool) -> int:
    """Ask, send, and print what came of it. Return the exit code."""
    if reason := resending.refusal(address):
        print(f"not sent: {reason}")
        return FAILED
    if asks and not _is_confirmed(who):
        print("nothing was changed")
        return FAILED
    try:
        result = resending.run(address)
    except (NotResent, Busy) as refused:
        print(f"not sent: {refused}")
        return FAILED
    print(f"{'sent once more' if result.is_handed_over else 'not sent yet'}: {result.text}")
    return FINE if result.is_handed_over else FAILED


def _is_confirmed(who: str) -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input(f"Send the invitation to {who} once more? Type yes to go on: ").strip().lower() == "yes"
