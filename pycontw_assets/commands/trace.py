"""``trace``: where one buyer stands at each step, for the help desk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE
from pycontw_assets.commands.instance import checked_services

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands
    from pycontw_assets.pipeline.trace import Passage, Trace


def add_to(commands: Commands) -> None:
    trace = commands.add_parser("trace", help="where one buyer stands at each step, masked")
    trace.add_argument("who", metavar="ADDRESS", help="or the attendee's number in KKTIX; - for standard input")
    trace.add_argument("--live", action="store_true", help="also ask Gather and Klaviyo")
    trace.set_defaults(run=_trace)


def asked_for(argument: str) -> str:
    """A command line is remembered by the shell; standard input is not."""
    return sys.stdin.readline().strip() if argument == "-" else argument


def _trace(parsed: argparse.Namespace) -> int:
    services = checked_services()
    from pycontw_assets.pipeline.trace import trace

    found = trace(services, asked_for(parsed.who), live=parsed.live)
    print("\n".join(describe_trace(found)))
    return FINE if found.passages else FAILED


def describe_trace(found: Trace) -> Iterator[str]:
    if not found.passages:
        yield f"{found.who}: unknown"
    for passage in found.passages:
        yield from _describe_passage(found.who, passage)
    yield from (f"  now     {line}" for line in found.live)
    yield from (f"  hint    {line}" for line in found.hints)


def _describe_passage(who: str, passage: Passage) -> Iterator[str]:
    yield paint(f"{who}, edition {passage.edition}", "bold")
    for ticket in passage.tickets:
        yield f"  ticket  {ticket.partition_key} attendee {ticket.attendee_id}: {ticket.text}"
        yield f"  table   {ticket.table}"
    if not passage.tickets:
        yield "  ticket  none in the vault"
    yield f"  guest list  {passage.guest_list}"
    yield f"  invitation  {passage.invitation}"
    yield f"  next    {passage.next}"
