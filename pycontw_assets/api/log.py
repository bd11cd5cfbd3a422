"""Log lines that cannot name a person: one per step and decision, made of a fixed set of fields.

Lines go to the standard logger ``pycontw_assets``. Steps and decisions are ``INFO``, single requests ``DEBUG``.
Nothing is printed unless somebody installs a handler.

A field is a count, a duration in seconds or an id of the shape listed here. Every other name is refused, and so is a
value of another shape: a text from outside can be an address. To log something new, add its name to this file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOGGER = logging.getLogger("pycontw_assets")

Outcome = Literal[
    "cancelled",
    "deleted",
    "done",
    "draft",
    "empty",
    "failed",
    "gave_up",
    "refused",
    "retried",
    "sent",
    "skipped",
    "throttled",
    "unchanged",
    "waiting",
    "written",
]
"""How a step or a request ended."""


class Fields(TypedDict, total=False):
    """Every field that a log line can have."""

    # Ids and words, each of a shape of its own: see ``_SHAPES``.
    service: str
    operation: str
    request_id: str | None
    partition: str | None
    edition: str | None
    poll: str
    batch: str
    campaign: str
    table: str
    outcome: Outcome
    # Numbers.
    status: int | None
    attempt: int
    seconds: float
    events: int
    books: int
    listed: int
    attendees: int
    new: int
    reread: int
    missing: int
    gone: int
    quarantined: int
    failed: int
    rows: int
    holders: int
    granted: int
    revoked: int
    unconfirmed: int
    preexisting: int
    added: int
    removed: int
    refused: int
    people: int
    unreachable: int
    waiting: int
    batches: int
    runs: int
    requests: int
    problems: int
    deleted: int


_TOKEN = re.compile(r"[A-Za-z0-9-]{1,64}")
_SHAPES: Mapping[str, re.Pattern[str]] = {
    "service": re.compile(r"[A-Z][A-Za-z]{1,19}"),
    "operation": re.compile(r"[a-z0-9 ]{1,80}"),  # a text of a client, with ids of KKTIX in it
    "request_id": _TOKEN,
    "partition": re.compile(r"20[0-9]{2}-(corporate|individual|reserved)(-([0-9]{1,18}|import))?"),
    "edition": re.compile(r"20[0-9]{2}"),
    "poll": re.compile(r"[A-Za-z0-9.-]{1,64}"),
    "batch": _TOKEN,
    "campaign": _TOKEN,
    "table": re.compile(r"[a-z][a-z0-9_]{0,127}"),
    "outcome": re.compile("|".join(get_args(Outcome))),
}
_NUMBERS = frozenset(Fields.__annotations__) - _SHAPES.keys()
_WORD = re.compile(r"[a-z][a-z_]{0,40}")
_WITHHELD = "withheld"

is_strict = False
"""Whether a refused field raises ``RefusedField``. Tests set it. Otherwise a poll goes on without the value."""


class RefusedField(ValueError):
    """A field that no log line may have, or a value of another shape. The text holds no value."""


def log_step(event: str, *, step: str = "", level: int = logging.INFO, **fields: Unpack[Fields]) -> None:
    """Write ``event=... step=... name=value ...``, leaving out fields that are ``None``.

    ``event`` and ``step`` are words of the code (``orders_read``, ``extract``). ``seconds`` is rounded to milliseconds.
    """
    if not is_strict and not LOGGER.isEnabledFor(level):
        return
    words: dict[str, object] = {"event": event, "step": step or None, **fields}
    line = " ".join(f"{name}={_shown(name, value)}" for name, value in words.items() if value is not None)
    LOGGER.log(level, "%s", line)


def log_request(event: str, **fields: Unpack[Fields]) -> None:
    """Write a line about one request to a service, at the level ``DEBUG``."""
    log_step(event, step="request", level=logging.DEBUG, **fields)


def request_id(value: str | None) -> str | None:
    """Return a service's own id of a request, if it has the shape of one; ``None`` otherwise."""
    return value if value is not None and _TOKEN.fullmatch(value) else None


def _shown(name: str, value: object) -> str:
    if name in _NUMBERS:
        return _number(name, value)
    shape = _WORD if name in ("event", "step") else _SHAPES.get(name)
    if shape is None:
        return _refuse("a log line has no such field")
    if isinstance(value, str) and shape.fullmatch(value):
        return value.replace(" ", "_")
    return _refuse(f"the value of {name} has another shape")


def _number(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _refuse(f"the value of {name} is no number")
    return str(round(value, 3))


def _refuse(reason: str) -> str:
    if is_strict:
        raise RefusedField(reason)
    return _WITHHELD
