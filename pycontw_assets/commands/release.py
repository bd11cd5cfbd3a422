"""``release``: let the next poll invite the people of a cancelled campaign who did not get its mail."""

from __future__ import annotations

import argparse
import sys

from pycontw_assets.commands.exits import FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked, mention_pause
from pycontw_assets.pipeline.rebuild import ReleaseReport, release_batch


def add_to(commands: Commands) -> None:
    """Register the command."""
    release = commands.add_parser(
        "release",
        help="let the next poll invite the people of a cancelled campaign who got no mail",
        description="Let the next poll invite the people of a cancelled campaign who got no mail. Klaviyo is asked "
        "twice, a minute apart, who got it: they count as invited, and only the others are released. Every other batch "
        "is refused.",
        epilog="Exit 0: the people were released. 1: a service did not answer, nothing was changed. 2: the batch is "
        "not released; the reason is printed.",
    )
    release.add_argument("batch_key", metavar="BATCH_KEY", help="key of the batch, as the alarm prints it")
    release.add_argument(
        "--by-hand",
        action="store_true",
        help="release also where Klaviyo cannot prove who got the mail: you looked, and marked its recipients with "
        "`mark-invited`",
    )
    release.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose_checked(used_in=ANYWHERE)
    print("Looks twice who got the mail, a minute apart …", file=sys.stderr, flush=True)
    report = release_batch(
        parsed.batch_key,
        klaviyo=root.mail_service,
        ledger=root.ledger,
        waits=root.waits,
        settings=root.settings,
        by_hand=parsed.by_hand,
    )
    print(describe_release(report))
    mention_pause(root.ledger)
    return FINE


def describe_release(report: ReleaseReport) -> str:
    """Return the line that the command prints."""
    freed = f"{report.freed} people released; the next poll invites everybody of them who has a ticket"
    mailed = f"{report.received} of this batch got the mail and count as invited"
    bounced = f"; the mails of {report.bounced} came back" if report.bounced else ""
    return f"{freed}. {mailed}{bounced}"
