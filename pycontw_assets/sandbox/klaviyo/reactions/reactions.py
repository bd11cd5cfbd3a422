"""Mails on their way, and what people and their mail programs do with them, over time.

Chance is drawn per mail, from a seed of its own, so that nothing else in the world changes with it. ``truth`` is what
really happened; events and reports show it later, and a program's open looks like a person's.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

_HOUR, _DAY = 3600.0, 86_400.0


@dataclass(frozen=True, kw_only=True)
class Habits:
    """Shares of the mails, and seconds. What is left out of an outcome's share does not happen.

    ``comes_back_late``: the mail counts as received first, and comes back hours later. ``opened_by_program``: a mail
    program loads the pictures at once. ``opened``, ``clicked`` and ``unsubscribed``: by the person; the last two are
    shares of those who opened it.
    """

    arrives_within: float = 600.0
    delayed: float = 0.05
    delayed_by: float = 3 * _HOUR
    comes_back_late: float = 0.02
    opened_by_program: float = 0.5
    opened: float = 0.6
    opened_within: float = 2 * _DAY
    clicked: float = 0.6
    clicked_within: float = _HOUR
    clicked_again: float = 0.2
    unsubscribed: float = 0.01


@dataclass(frozen=True, kw_only=True)
class SentMail:
    """A mail that left. ``source`` is the id of its campaign or flow, ``properties`` are those of its events."""

    source: str
    profile_id: str
    properties: Mapping[str, Any]
    arrives: bool
    at: datetime


@dataclass
class Truth:
    """The people, by profile id, who truly came that far with the mails of one campaign or flow."""

    mailed: set[str] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)
    bounced: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    opened_by_program: set[str] = field(default_factory=set)
    clicked: set[str] = field(default_factory=set)
    unsubscribed: set[str] = field(default_factory=set)


class Account(Protocol):
    """The part of the account that reactions use."""

    @property
    def habits(self) -> Habits | None: ...

    def later(self, seconds: float, act: Callable[[datetime], None], start: datetime | None = None) -> None: ...

    def record(self, metric: str, *, profile_id: str, properties: dict[str, Any], at: datetime) -> None: ...

    def opt_out(self, profile_id: str, at: datetime) -> None: ...


class Reactions:
    """All mails that left, and what became of them."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.truth: dict[str, Truth] = defaultdict(Truth)

    def on_the_way(self, source: str) -> int:
        """Return how many mails of a campaign or flow neither arrived nor came back yet."""
        truth = self.truth[source]
        return len(truth.mailed - truth.delivered - truth.bounced)

    def mail_left(self, mail: SentMail) -> None:
        """Let a mail arrive or come back: at once where people have no habits."""
        self.truth[mail.source].mailed.add(mail.profile_id)
        habits = self._account.habits
        if habits is None:
            self._end(mail, mail.at)
            return
        chance = random.Random(f"{mail.source} {mail.profile_id}")  # noqa: S311 - invented data, not secrets
        longest = habits.delayed_by if chance.random() < habits.delayed else habits.arrives_within
        self._account.later(chance.uniform(0, longest), lambda at: self._end(mail, at, habits, chance), start=mail.at)

    def _end(
        self, mail: SentMail, at: datetime, habits: Habits | None = None, chance: random.Random | None = None
    ) -> None:
        truth = self.truth[mail.source]
        (truth.delivered if mail.arrives else truth.bounced).add(mail.profile_id)
        self._record("Received Email" if mail.arrives else "Bounced Email", mail, at)
        if mail.arrives and habits and chance:
            self._plan(mail, habits, chance, at)

    def _plan(self, mail: SentMail, habits: Habits, chance: random.Random, at: datetime) -> None:
        if chance.random() < habits.comes_back_late:
            self._account.later(chance.uniform(_HOUR, 6 * _HOUR), lambda due: self._come_back(mail, due), start=at)
            return
        if chance.random() < habits.opened_by_program:
            self._react("opened_by_program", "Opened Email", mail, chance.uniform(0, 60), at)
        if chance.random() >= habits.opened:
            return
        opened = chance.uniform(0, habits.opened_within)
        self._react("opened", "Opened Email", mail, opened, at)
        if chance.random() < habits.clicked:
            clicked = opened + chance.uniform(1, habits.clicked_within)
            self._react("clicked", "Clicked Email", mail, clicked, at)
            if chance.random() < habits.clicked_again:
                self._react("clicked", "Clicked Email", mail, clicked + _HOUR, at)
        if chance.random() < habits.unsubscribed:
            self._react("unsubscribed", "Unsubscribed", mail, opened + 30, at)

    def _react(self, kind: str, metric: str, mail: SentMail, seconds: float, start: datetime) -> None:
        def happen(at: datetime) -> None:
            getattr(self.truth[mail.source], kind).add(mail.profile_id)
            self._record(metric, mail, at)
            if kind == "unsubscribed":
                self._account.opt_out(mail.profile_id, at)

        self._account.later(seconds, happen, start=start)

    def _come_back(self, mail: SentMail, at: datetime) -> None:
        """Correct a delivery: the mailbox took the mail first, and refused it then."""
        truth = self.truth[mail.source]
        truth.delivered.discard(mail.profile_id)
        truth.bounced.add(mail.profile_id)
        self._record("Bounced Email", mail, at)

    def _record(self, metric: str, mail: SentMail, at: datetime) -> None:
        self._account.record(metric, profile_id=mail.profile_id, properties=dict(mail.properties), at=at)
