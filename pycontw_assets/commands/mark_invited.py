"""``mark-invited``: let people in without a mail who were invited by other means."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose_checked
from pycontw_assets.pipeline.rebuild import find_live_edition, mark_all_holders, mark_people_invited
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    """Register the command."""
    mark = commands.add_parser(
        "mark-invited",
        help="mark people who were invited by other means",
        description="Mark people who were invited by other means: they are let in as usual, and not mailed for the "
        "ticket that they hold or buy next. Print counts, and the numbers of lines without an address. With "
        "--all-holders everybody who holds a ticket now is marked: after mail was switched off for a while, only those "
        "who buy from now on are invited.",
        epilog="Exit 0: all lines were taken. 1: some lines hold no address; the others were taken. 2: the "
        "configuration is wrong, or the file cannot be read.",
    )
    whom = mark.add_mutually_exclusive_group(required=True)
    whom.add_argument("file", metavar="FILE", nargs="?", help="file with one address per line; - reads standard input")
    whom.add_argument("--all-holders", action="store_true", help="everybody who holds a ticket now")
    mark.add_argument("--edition", help="four digits; default: the live edition")
    mark.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    if parsed.edition and not re.fullmatch("[0-9]{4}", parsed.edition):
        raise InvalidSettings("--edition: needs four digits")
    # Before the first poll of production people may be marked. In a sandbox nobody would ever ask for the marks.
    root = compose_checked(used_in=("sandbox",))
    edition = parsed.edition or find_live_edition(kktix=root.kktix, ledger=root.ledger, settings=root.settings)
    if parsed.all_holders:
        marked, known = mark_all_holders(edition, ledger=root.ledger)
        print(f"edition {edition}: {marked} marked as invited, {known} in a batch before")
        return FINE
    lines = _lines(parsed.file)
    report = mark_people_invited(edition, lines, ledger=root.ledger, pseudonymizer=root.pseudonymizer)
    print(f"edition {report.edition}: {report.marked} marked as invited, {report.known} in a batch before")
    if report.invalid_lines:
        print(f"       ! no address in {len(report.invalid_lines)} lines: {', '.join(map(str, report.invalid_lines))}")
    return FAILED if report.invalid_lines else FINE


def _lines(path: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InvalidSettings(f"FILE: cannot be read ({error.strerror})") from None
    return content.decode("utf-8-sig", errors="replace").split("\n")
