"""What stands in the way right now, and whom that was told: the memory behind alarms, ``status`` and the heartbeat.

A trouble is recorded where it happens and replaced by the next attempt at the same thing, so it goes away by itself.
Alarms are decided from all of them together: one per cause, not one per event and poll. Texts are safe to send: they
come from our own errors and checks, and name events, attendee numbers and counts only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from pycontw_assets.ledger.engine import create_missing
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.tables import UtcDateTime, upsert

FAILURES_BEFORE_ALARM = 2  # the next poll repairs a blip; nobody has to be woken for it
REMINDER = timedelta(days=1)
_REMINDER_OF_FINDING = timedelta(days=30)  # it asks for a decision, which takes people their time
_APART = timedelta(hours=1)  # two messages about one growing cause
_MOST_LINES = 5

_tables = sa.MetaData()
troubles = sa.Table(
    "troubles",
    _tables,
    sa.Column("partition_key", sa.String, primary_key=True),
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("cause", sa.String, primary_key=True),
    sa.Column("text", sa.String, nullable=False),
    sa.Column("is_failure", sa.Boolean, nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
)
alarms = sa.Table(
    "alarms",
    _tables,
    sa.Column("cause", sa.String, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("raised_at", UtcDateTime, nullable=False),
    sa.Column("told_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one thing (``subject``: an asset, or the poll) failed or what it found, for one event ("" for none).

    ``text`` holds one line per finding of this cause. ``times`` counts attempts in a row that met it.
    """

    partition_key: str
    subject: str
    cause: str
    text: str
    is_failure: bool
    since: datetime
    times: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """All troubles of one cause. ``size`` grows with what is affected."""

    cause: str
    title: str
    lines: tuple[str, ...]
    size: int
    is_failure: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Told:
    cause: str
    title: str
    size: int
    raised_at: datetime
    told_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """What to send now, and what to remember once it was sent."""

    title: str
    body: str
    raised: tuple[Alarm, ...]
    over: tuple[str, ...]


class Problems:
    """The two tables, beside the ledger's own."""

    def __init__(self, ledger: Ledger) -> None:
        self._engine, self._clock = ledger.engine, ledger.clock
        create_missing(self._engine, _tables)

    def failed(self, partition_key: str, subject: str, cause: str, text: str) -> None:
        """An attempt failed. What has one ``cause`` becomes one alarm, whichever assets met it."""
        with self._engine.begin() as db:
            self._record(db, partition_key, subject, {cause: text}, is_failure=True)

    def finished(self, partition_key: str, subject: str, findings: Iterable[str] = ()) -> None:
        """An attempt went through, with or without findings that a person should know of."""
        found: dict[str, str] = {}
        for text in findings:
            cause = f"{subject}: {_shape(text)}"
            found[cause] = f"{found[cause]}\n{text}" if cause in found else text
        with self._engine.begin() as db:
            mine = (troubles.c.partition_key == partition_key, troubles.c.subject == subject)
            db.execute(sa.delete(troubles).where(*mine, troubles.c.cause.not_in(list(found))))
            self._record(db, partition_key, subject, found, is_failure=False)

    def _record(
        self, db: sa.Connection, partition_key: str, subject: str, found: Mapping[str, str], *, is_failure: bool
    ) -> None:
        for cause, text in found.items():
            key = {"partition_key": partition_key, "subject": subject, "cause": cause}
            before = db.execute(sa.select(troubles).where(*(troubles.c[name] == key[name] for name in key)))
            earlier = before.one_or_none()
            since, times = (earlier.since, earlier.times + 1) if earlier else (self._clock(), 1)
            upsert(db, troubles, key, {"text": text, "is_failure": is_failure, "since": since, "times": times})

    def standing(self) -> list[Problem]:
        with self._engine.begin() as db:
            return read_standing(db)

    def told(self) -> dict[str, Told]:
        with self._engine.begin() as db:
            return {row.cause: Told(**row._mapping) for row in db.execute(sa.select(alarms))}

    def remember(self, message: Message) -> None:
        """What was sent, in one transaction."""
        now = self._clock()
        with self._engine.begin() as db:
            db.execute(sa.delete(alarms).where(alarms.c.cause.in_(message.over)))
            for alarm in message.raised:
                told = {"title": alarm.title, "size": alarm.size, "told_at": now, "raised_at": alarm.since}
                upsert(db, alarms, {"cause": alarm.cause}, told)


def read_standing(db: sa.Connection) -> list[Problem]:
    """Oldest first. Reads only, also where nobody may write."""
    rows = db.execute(sa.select(troubles).order_by(troubles.c.since, troubles.c.partition_key))
    return [Problem(**row._mapping) for row in rows]


def alarms_of(standing: Iterable[Problem], known_keys: Collection[str]) -> dict[str, Alarm]:
    """Cause -> alarm. Single failures are left to the next poll; events that are gone worry nobody."""
    groups: dict[str, list[Problem]] = {}
    for trouble in standing:
        if trouble.partition_key and trouble.partition_key not in known_keys:
            continue
        groups.setdefault(trouble.cause, []).append(trouble)
    return {
        cause: _alarm(cause, group)
        for cause, group in groups.items()
        if not group[0].is_failure or max(trouble.times for trouble in group) >= FAILURES_BEFORE_ALARM
    }


def _alarm(cause: str, group: list[Problem]) -> Alarm:
    lines = [_line(trouble, text) for trouble in group for text in trouble.text.splitlines()]
    events = len({trouble.partition_key for trouble in group if trouble.partition_key})
    waiting = f", {events} event{'s' * (events != 1)} waiting" if events else ""
    first = group[0]
    title = f"{cause} fails{waiting}" if first.is_failure else _line(first, first.text.splitlines()[0])
    return Alarm(cause, title, tuple(lines), len(lines), first.is_failure, min(trouble.since for trouble in group))


def _line(trouble: Problem, text: str) -> str:
    return f"{trouble.partition_key}: {text}" if trouble.partition_key else text


def message(current: Mapping[str, Alarm], told: Mapping[str, Told], now: datetime) -> Message | None:
    """One message about everything that is new, has grown, was long not mentioned, or is over; ``None``: nothing."""
    raised = tuple(alarm for cause, alarm in current.items() if _is_news(alarm, told.get(cause), now))
    over = tuple(cause for cause in told if cause not in current)
    if not raised and not over:
        return None
    titles = [alarm.title for alarm in raised] or [f"over: {told[cause].title}" for cause in over]
    more = len(raised) + len(over) - 1
    body = [part for alarm in raised for part in _paragraph(alarm)]
    body += [f"over: {told[cause].title} (it lasted {_lasted(now - told[cause].raised_at)})" for cause in over]
    return Message(f"{titles[0]}{f' (and {more} more)' if more else ''}", "\n".join(body), raised, over)


def _is_news(alarm: Alarm, told: Told | None, now: datetime) -> bool:
    if told is None:
        return True
    has_grown = alarm.size > told.size and now - told.told_at >= _APART
    reminder = REMINDER if alarm.is_failure else _REMINDER_OF_FINDING
    return has_grown or now - told.told_at >= reminder


def _paragraph(alarm: Alarm) -> list[str]:
    rest = len(alarm.lines) - _MOST_LINES
    lines = [f"- {line}" for line in alarm.lines[:_MOST_LINES]] + ([f"- and {rest} more"] if rest > 0 else [])
    return [f"{alarm.title} (since {alarm.since:%Y-%m-%d %H:%M} UTC)", *lines, ""]


def _lasted(period: timedelta) -> str:
    minutes = round(period.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"  # noqa: PLR2004


def _shape(text: str) -> str:
    """A finding without its numbers: the same one with other counts is no other cause."""
    return re.sub(r"\d+", "#", text)
