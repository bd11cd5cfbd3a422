"""``resend``: send one person's invitation once more, because it was lost. A person decides; the ledger records it."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from pycontw_assets.commands.console import read_argument
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked
from pycontw_assets.commands.lookup import HELP, METAVAR, describe_choice, find_people
from pycontw_assets.commands.trace import describe_trace, trace
from pycontw_assets.ledger.database.tables import RepeatWay
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.resending.by_campaign import send_by_campaign
from pycontw_assets.pipeline.resending.resend import NotResent, SendAgain, look_up, refusal_now, resend
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
    address = people[0].address
    known = trace(buyer, vault=root.vault, ledger=root.ledger, pseudonymizer=root.pseudonymizer)
    print("\n".join(describe_trace(known)))
    return _resend(root, address, people[0].who, asks=not parsed.yes)


def _resend(root: Composition, address: str, who: str, *, asks: bool) -> int:
    way, send = way_of(root)
    asked = look_up(
        address, vault=root.vault, ledger=root.ledger, pseudonymizer=root.pseudonymizer, settings=root.settings
    )
    if reason := refusal_now(asked, ledger=root.ledger, settings=root.settings):
        print(f"not sent: {reason}")
        return FAILED
    if asks and not _is_confirmed(who):
        print("nothing was changed")
        return FAILED
    try:
        result = resend(
            address,
            way=way,
            send=send,
            vault=root.vault,
            ledger=root.ledger,
            pseudonymizer=root.pseudonymizer,
            waits=root.waits,
            settings=root.settings,
        )
    except (NotResent, Busy) as refused:
        print(f"not sent: {refused}")
        return FAILED
    print(f"{'sent once more' if result.is_handed_over else 'not sent yet'}: {result.text}")
    return FINE if result.is_handed_over else FAILED


def way_of(root: Composition) -> tuple[RepeatWay, SendAgain]:
    """Return the way that invitations take, and how it sends one once more."""
    send = partial(send_by_campaign, klaviyo=root.klaviyo, ledger=root.ledger, waits=root.waits, settings=root.settings)
    return "campaign", send


def _is_confirmed(who: str) -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input(f"Send the invitation to {who} once more? Type yes to go on: ").strip().lower() == "yes"
