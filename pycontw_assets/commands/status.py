"""``status``: one screen about everything, from what is stored here; asks no service."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.doctor import describe_finding
from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.commands.instance import checked_services, open_instance

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.pipeline.status import EventStatus, Status

_COLUMNS = ("attendees", "usable", "unpaid", "let in", "invited", "waiting", "unreachable", "quarantined")


def add_to(commands: Commands) -> None:
    status = commands.add_parser("status", help="one screen about everything; asks no service")
    status.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    status.set_defaults(run=_status)


def _status(parsed: argparse.Namespace) -> int:
    services = checked_services()
    from pycontw_assets.pipeline.status import look_up

    with open_instance(services.settings) as instance:
        status = look_up(services, instance)
    document = json.dumps(asdict(status), ensure_ascii=False, indent=2, default=str)
    print(document if parsed.json else "\n".join(describe_status(status)))
    return FAILED if status.problems else FINE


def describe_status(status: Status) -> Iterator[str]:
    yield paint(f"edition {status.edition or 'none yet'}: {len(status.events)} events", "bold")
    if status.events:
        yield from _table(status.events)
    for trouble in status.problems:
        for line in trouble.text.splitlines():
            where = f"{trouble.partition_key} " if trouble.partition_key else ""
            times = f", {trouble.times} times" if trouble.times > 1 else ""
            since = f"since {trouble.since:%Y-%m-%d %H:%M} UTC{times}"
            yield paint(f"! {where}{trouble.subject}: {line} ({since})", "red" if trouble.is_failure else "yellow")
    if not status.problems:
        yield paint("no open problems", "green")
    yield from map(describe_finding, status.machinery)


def _table(events: tuple[EventStatus, ...]) -> Iterator[str]:
    width = max(len(event.partition_key) for event in events)
    yield paint(f"{'':<{width}}  {'  '.join(_COLUMNS)}  last good poll    next attempt", "dim")
    for event in events:
        cells = [_cell(event.counts[name], len(name)) for name in _COLUMNS]
        failed = f" (failed {event.failures} times)" if event.failures else ""
        after = _moment(event.next_attempt_at, "with the next poll")
        polled = f"{_moment(event.polled_at, 'never'):<16}"
        yield "  ".join([f"{event.partition_key:<{width}}", *cells, polled, after + failed])


def _cell(number: int | None, width: int) -> str:
    return f"{'?' if number is None else number:>{width}}"


def _moment(moment: datetime | None, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else otherwise
