"""Printing for people: colour and progress on a terminal that wants them, plain lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from pycontw_assets.api.client import ServiceError
from pycontw_assets.extract.kktix_client import KktixClient

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}
_WORTH_A_BAR = 20  # attendees; fewer are read before anybody wonders


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """``text`` in a colour, where the stream is a terminal and nobody said no (``NO_COLOR``)."""
    stream = stream or sys.stdout
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if is_wanted and stream.isatty() else text


class ShownKktixClient(KktixClient):
    """Shows a bar on a terminal while many attendees are read."""

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int], *options: Any
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        wanted = tuple(ids)
        answers = super().fetch_attendees(event_id, wanted, *options)
        if len(wanted) < _WORTH_A_BAR or not sys.stderr.isatty():
            return answers
        from tqdm import tqdm  # type: ignore[import-untyped]

        bar: Iterator[tuple[int, dict[str, Any] | ServiceError]] = iter(
            tqdm(answers, desc=f"event {event_id}", total=len(wanted), unit=" attendees", file=sys.stderr, leave=False)
        )
        return bar


def read_argument(argument: str) -> str:
    """A command line is remembered by the shell; standard input is not."""
    return sys.stdin.readline().strip() if argument == "-" else argument
