"""Open problems -> the message that people are sent now. Pure.

A problem is recorded where it happens and replaced by the next attempt at the same thing, so it goes away by itself.
A problem about people is looked up in each tick instead: the next attempt may be about others.
Alerts are decided from all of them together: one per cause, not one per event and poll. Texts are safe to send: they
come from our own errors and checks, and name events, attendee numbers and counts only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pycontw_assets.api.outlets import shorten
from pycontw_assets.ledger.reporting.problems import Problem, SentAlert

FAILURES_BEFORE_ALERT = 2  # the next poll repairs a blip; nobody has to be woken for it
REMINDER = timedelta(days=1)
_REMINDER_OF_FINDING = timedelta(days=30)  # it asks for a decision, which takes people their time
_APART = timedelta(hours=1)  # two messages about one growing cause
_MOST_LINES = 5
_MOST_NUMBERS = 8
_ABOUT_ATTENDEE = re.compile(r"^(?P<before>.*?)\battendee (?P<number>\d+)\b(?P<rest>.*)$")
_DETAIL = re.compile(r"\(.*\)")
_LONGEST_FINDING = 1000  # characters


@dataclass(frozen=True, slots=True)
class Alert:
    """All problems of one cause. ``size`` grows with what is affected; ``attendees`` are their numbers in KKTIX."""

    cause: str
    title: str
    lines: tuple[str, ...]
    size: int
    is_failure: bool
    since: datetime
    attendees: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Message:
    """The text to send now, and the facts to remember once it was sent."""

    title: str
    body: str
    raised: tuple[Alert, ...]
    over: tuple[str, ...]


def by_cause(subject: str, findings: Iterable[str]) -> dict[str, str]:
    """Return the findings of an attempt by their cause: equal ones with other numbers have one cause."""
    texts: dict[str, str] = {}
    for text in map(_one_line, findings):
        cause = f"{subject}: {_shape(text)}"
        texts[cause] = f"{texts[cause]}\n{text}" if cause in texts else text
    return texts


def alerts_of(problems: Iterable[Problem], known_keys: Collection[str]) -> dict[str, Alert]:
    """Return the alerts by cause. Single failures are left to the next poll; events that are gone are left out."""
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.partition_key and problem.partition_key not in known_keys:
            continue
        groups.setdefault(problem.cause, []).append(problem)
    return {
        cause: _alert(cause, group)
        for cause, group in groups.items()
        if not group[0].is_failure or max(problem.times for problem in group) >= FAILURES_BEFORE_ALERT
    }


def _alert(cause: str, group: list[Problem]) -> Alert:
    lines = [_line(problem, text) for problem in group for text in problem.text.splitlines()]
    events = len({problem.partition_key for problem in group if problem.partition_key})
    waiting = f", {events} event{'s' * (events != 1)} waiting" if events else ""
    first = group[0]
    attendees = {int(match["number"]) for line in lines if (match := _ABOUT_ATTENDEE.match(line))}
    title = f"{cause} fails{waiting}" if first.is_failure else _title(lines, len(attendees))
    since = min(problem.since for problem in group)
    return Alert(cause, title, tuple(lines), len(lines), first.is_failure, since, frozenset(attendees))


def _line(problem: Problem, text: str) -> str:
    return f"{problem.partition_key}: {text}" if problem.partition_key else text


def message(current: Mapping[str, Alert], sent: Mapping[str, SentAlert], now: datetime) -> Message | None:
    """Return one message about everything that is new, has grown, was long not mentioned, or is over."""
    raised = tuple(alert for cause, alert in current.items() if _is_news(alert, sent.get(cause), now))
    over = tuple(cause for cause in sent if cause not in current)
    if not raised and not over:
        return None
    titles = [alert.title for alert in raised] or [f"over: {sent[cause].title}" for cause in over]
    more = len(raised) + len(over) - 1
    body = [part for alert in raised for part in _paragraph(alert)]
    body += [f"over: {sent[cause].title} (it lasted {_lasted(now - sent[cause].raised_at)})" for cause in over]
    return Message(f"{titles[0]}{f' (and {more} more)' if more else ''}", "\n".join(body), raised, over)


def _is_news(alert: Alert, sent: SentAlert | None, now: datetime) -> bool:
    if sent is None:
        return True
    are_others = sent.attendees is not None and not alert.attendees <= sent.attendees
    has_grown = (alert.size > sent.size or are_others) and now - sent.sent_at >= _APART
    reminder = REMINDER if alert.is_failure else _REMINDER_OF_FINDING
    return has_grown or now - sent.sent_at >= reminder


def _paragraph(alert: Alert) -> list[str]:
    rest = len(alert.lines) - _MOST_LINES
    lines = [f"- {line}" for line in alert.lines[:_MOST_LINES]] + ([f"- and {rest} more"] if rest > 0 else [])
    if rest > 0 and len(alert.attendees) > _MOST_LINES:
        lines = [f"- {_numbers(alert.attendees)}"]
    return [f"{alert.title} (since {alert.since:%Y-%m-%d %H:%M} UTC)", *lines, ""]


def _title(lines: Sequence[str], attendees: int) -> str:
    """Return the first line; where it is about one of several attendees, with their count instead of a number."""
    matches = [match for line in lines if (match := _ABOUT_ATTENDEE.match(line))]
    if attendees < 2 or len(matches) < len(lines):  # noqa: PLR2004
        return lines[0]
    befores = {match["before"] for match in matches}
    before = befores.pop() if len(befores) == 1 else ""
    return f"{before}{attendees} attendees{_DETAIL.sub('(…)', matches[0]['rest'])}"


def _numbers(attendees: Collection[int]) -> str:
    shown = ", ".join(f"#{number}" for number in sorted(attendees)[:_MOST_NUMBERS])
    rest = len(attendees) - _MOST_NUMBERS
    more = f" and {rest} more" if rest > 0 else ""
    return f"{shown}{more}; `pycontw-assets status` lists them"


def sent_with(message: Message, now: datetime) -> list[SentAlert]:
    """Return what to remember of a message that was sent."""
    return [
        SentAlert(alert.cause, alert.title, alert.size, alert.since, now, alert.attendees) for alert in message.raised
    ]


def without_helped(current: Mapping[str, Alert], sent: Mapping[str, SentAlert]) -> list[SentAlert]:
    """Return the sent alerts less the attendees who were helped since: in trouble again, they are news again."""
    return [
        replace(alert, attendees=alert.attendees & current[cause].attendees)
        for cause, alert in sent.items()
        if cause in current and alert.attendees and not alert.attendees <= current[cause].attendees
    ]


def _lasted(period: timedelta) -> str:
    minutes = round(period.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"  # noqa: PLR2004


def _one_line(finding: str) -> str:
    """A finding is stored as one line of a text, so a line break in it would look like another finding."""
    return shorten(finding, _LONGEST_FINDING)


def _shape(text: str) -> str:
    """Return a finding without its numbers: other counts do not make another cause.

    What is in brackets behind an attendee's number concerns this attendee only.
    """
    return re.sub(r"\d+", "#", _DETAIL.sub("(…)", text) if _ABOUT_ATTENDEE.match(text) else text)
