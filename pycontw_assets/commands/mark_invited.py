"""``adopt``: people who were invited by other means."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import checked_services
from pycontw_assets.pipeline.rebuild import live_edition, mark_people_invited
from pycontw_assets.settings import InvalidSettings


def add_to(commands: Commands) -> None:
    adopt = commands.add_parser("adopt", help="people already invited by other means: let in, not mailed")
    adopt.add_argument("file", help="one address per line; - for standard input")
    adopt.add_argument("--edition", help="four digits; default: the live one")
    adopt.set_defaults(run=_adopt)


def _adopt(parsed: argparse.Namespace) -> int:
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
