"""``rebuild-ledger``, ``adopt``, ``release``: a person's word where the ledger cannot know."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.settings import InvalidSettings

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands


def add_to(commands: Commands) -> None:
    rebuild = commands.add_parser("rebuild-ledger", help="write a lost ledger again from Klaviyo, Gather and KKTIX")
    rebuild.set_defaults(run=_rebuild_ledger)

    adopt = commands.add_parser("adopt", help="people already invited by other means: let in, not mailed")
    adopt.add_argument("file", help="one address per line; - for standard input")
    adopt.add_argument("--edition", help="four digits; default: the live one")
    adopt.set_defaults(run=_adopt)

    release = commands.add_parser("release", help="let the next poll invite the people of a cancelled campaign anew")
    release.add_argument("batch_key")
    release.set_defaults(run=_release)


def _rebuild_ledger(_parsed: argparse.Namespace) -> int:
    from pycontw_assets.pipeline.rebuild import rebuild_ledger

    report = rebuild_ledger(checked_services())
    print(f"edition {report.edition}: " + ", ".join(f"{name} {number}" for name, number in report.counts.items()))
    print("\n".join(f"       ! {problem}" for problem in report.problems), end="\n" if report.problems else "")
    return FINE


def _adopt(parsed: argparse.Namespace) -> int:
    from pycontw_assets.pipeline.rebuild import live_edition, mark_people_invited

    services = checked_services()
    if parsed.edition and not re.fullmatch("[0-9]{4}", parsed.edition):
        raise InvalidSettings("--edition: needs four digits")
    report = mark_people_invited(services, parsed.edition or live_edition(services), _lines(parsed.file))
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


def _release(parsed: argparse.Namespace) -> int:
    from pycontw_assets.pipeline.rebuild import release_batch

    people = release_batch(checked_services(), parsed.batch_key)
    print(f"{people} people released; the next poll invites whoever has a ticket")
    return FINE
