"""Print for people: colour and progress on a terminal that wants them, plain lines everywhere else.

Nothing that somebody else wrote reaches a terminal as it is.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from pycontw_assets.api.bounds import plain_text
from pycontw_assets.api.client import ServiceError
from pycontw_assets.api.log import LOGGER
from pycontw_assets.api.outlets import for_terminal
from pycontw_assets.extract.kktix_client import KktixClient

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}
_WORTH_A_BAR = 20  # attendees; fewer are read before anybody wonders
_LONGEST_ARGUMENT = 1000  # characters
_HANDLER = "pycontw-assets --verbose"
_ESCAPE = "\x1b["
_MARK = secrets.token_hex(8)  # stands for the escape of our own colours; no text from outside can hold it


class Terminal(io.TextIOBase):
    """A stream through which everything passes that a command prints, each line as ``for_terminal`` makes it.

    Our own colours are marks up to here, so that they are not taken for those of a text from outside.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        lines = "\n".join(map(for_terminal, text.split("\n")))
        self.stream.write(lines.replace(_MARK, _ESCAPE))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


@contextmanager
def for_people() -> Iterator[None]:
    """Let everything that is printed in the block, also to standard error, pass through ``Terminal``."""
    with redirect_stdout(Terminal(sys.stdout)), redirect_stderr(Terminal(sys.stderr)):
        yield


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return the text in a colour, where the stream is a terminal and ``NO_COLOR`` is not set."""
    stream = stream or sys.stdout
    is_wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if not is_wanted or not stream.isatty():
        return text
    escape = _MARK if isinstance(stream, Terminal) else _ESCAPE
    return f"{escape}{_COLOURS[colour]}m{text}{escape}0m"


class ShownKktixClient(KktixClient):
    """Show a bar on a terminal while many attendees are read."""

    def fetch_attendees(
        self, event_id: int, ids: Iterable[int], *options: Any, **more: Any
    ) -> Iterator[tuple[int, dict[str, Any] | ServiceError]]:
        attendee_ids = tuple(ids)
        answers = super().fetch_attendees(event_id, attendee_ids, *options, **more)
        if len(attendee_ids) < _WORTH_A_BAR or not sys.stderr.isatty():
            return answers
        from tqdm import tqdm  # type: ignore[import-untyped]

        bar: Iterator[tuple[int, dict[str, Any] | ServiceError]] = iter(
            tqdm(
                answers,
                desc=f"event {event_id}",
                total=len(attendee_ids),
                unit=" attendees",
                # Its signs move the cursor, and its text is a number.
                file=getattr(sys.stderr, "stream", sys.stderr),
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
