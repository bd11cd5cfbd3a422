"""Print for people: colour and progress on a terminal that wants them, plain lines everywhere else."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from pycontw_assets.api.bounds import plain_text
from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.log import LOGGER
from pycontw_assets.extract.kktix_client import KktixClient

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}
_WORTH_A_BAR = 20  # attendees; fewer are read before anybody wonders
_LONGEST_ARGUMENT = 1000  # characters
_HANDLER = "pycontw-assets --verbose"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return the text in a colour, where the stream is a terminal and ``NO_COLOR`` is not set."""
    stream = stream or sys.stdout
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if is_wanted and stream.isatty() else text


class ShownKktixClient(KktixClient):
    """Show a bar on a terminal while many attendees are read."""

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int], *options: Any
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        attendee_ids = tuple(ids)
        answers = super().fetch_attendees(event_id, attendee_ids, *options)
        if len(attendee_ids) < _WORTH_A_BAR or not sys.stderr.isatty():
            return answers
        from tqdm import tqdm  # type: ignore[import-untyped]

        bar: Iterator[tuple[int, dict[str, Any] | ServiceError]] = iter(
            tqdm(
                answers,
                desc=f"event {event_id}",
                total=len(attendee_ids),
                unit=" attendees",
                file=sys.stderr,
                leave=False,
            )
        )
        return bar


def read_argument(argument: str) -> str:
    """Return the argument, or a line of standard input for ``-``, which no shell remembers.

    Bytes that are no characters, which a shell may pass on, are replaced.
    """
    return plain_text(sys.stdin.readline().strip() if argument == "-" else argument, _LONGEST_ARGUMENT)


def show_log(verbosity: int) -> None:
    """Print the log lines of this package to standard error: none by default, -v INFO, -vv DEBUG."""
    if not verbosity:
        return
    handler = logging.StreamHandler()
    handler.name = _HANDLER
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.handlers = [*(other for other in LOGGER.handlers if other.name != _HANDLER), handler]
    LOGGER.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
