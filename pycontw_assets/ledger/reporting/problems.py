"""Open problems, and the alerts that people were sent about them. Texts are safe to send by construction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pycontw_assets.ledger.database import tables
from pycontw_assets.ledger.database.tables import insert_missing, problems, upsert
from pycontw_assets.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an attempt failed, or a finding of one that went through.

    ``subject`` is the asset, or the poll; ``partition_key`` is "" for what concerns no single event. ``text`` holds
    one line per finding of this cause. ``times`` counts attempts in a row that met it.
    """

    partition_key: str
    subject: str
    cause: str
    text: str
    is_failure: bool
    since: datetime
    times: int


@dataclass(frozen=True, slots=True)
class SentAlert:
    """The last alert about one cause that a channel took. ``size`` is how much was affected by then.

    ``attendees`` are the numbers of the people it was about; ``None``: not known.
    """

    cause: str
    title: str
    size: int
    raised_at: datetime
    sent_at: datetime
    attendees: frozenset[int] | None = frozenset()


def open_problems(ledger: Ledger) -> list[Problem]:
    """Return them oldest first."""
    query = sa.select(problems).order_by(problems.c.since, problems.c.partition_key)
    with ledger.engine.begin() as db:
        return [Problem(**row._mapping) for row in db.execute(query)]


def record_failure(ledger: Ledger, partition_key: str, subject: str, *, cause: str, text: str) -> None:
    """Remember that an attempt failed. Problems of one ``cause`` become one alert, whichever assets met it."""
    with ledger.engine.begin() as db:
        _record(ledger, db, (partition_key, subject, cause), text, is_failure=True)


def record_findings(ledger: Ledger, partition_key: str, subject: str, findings: Mapping[str, str]) -> None:
    """Remember that an attempt went through; its findings (cause -> text) replace the problems of the one before."""
    of_subject = (problems.c.partition_key == partition_key, problems.c.subject == subject)
    with ledger.engine.begin() as db:
        db.execute(sa.delete(problems).where(*of_subject, problems.c.cause.not_in(list(findings))))
        for cause, text in findings.items():
            _record(ledger, db, (partition_key, subject, cause), text, is_failure=False)


def _record(ledger: Ledger, db: sa.Connection, key: tuple[str, str, str], text: str, *, is_failure: bool) -> None:
    named = dict(zip(("partition_key", "subject", "cause"), key, strict=True))
    query = sa.select(problems.c.since, problems.c.times).where(*(problems.c[name] == named[name] for name in named))
    earlier = db.execute(query).one_or_none()
    since, times = (earlier.since, earlier.times + 1) if earlier else (ledger.clock(), 1)
    upsert(db, problems, named, {"text": text, "is_failure": is_failure, "since": since, "times": times})


def sent_alerts(ledger: Ledger, channel: str) -> dict[str, SentAlert]:
    """Return the alerts that a channel took and whose end it has not taken, by cause."""
    query = sa.select(tables.sent_alerts).where(tables.sent_alerts.c.channel == channel)
    with ledger.engine.begin() as db:
        return {row.cause: _sent_alert(row) for row in db.execute(query)}


def record_sent(ledger: Ledger, channel: str, alerts: Iterable[SentAlert], over: Collection[str]) -> None:
    """Remember one message in one transaction: its alerts, and the causes that it reported as over."""
    ended = (tables.sent_alerts.c.channel == channel, tables.sent_alerts.c.cause.in_(over))
    with ledger.engine.begin() as db:
        db.execute(sa.delete(tables.sent_alerts).where(*ended))
        for alert in alerts:
            values = asdict(alert)
            values["attendees"] = None if alert.attendees is None else " ".join(map(str, sorted(alert.attendees)))
            upsert(db, tables.sent_alerts, {"channel": channel, "cause": values.pop("cause")}, values)


def share_sent_alerts(ledger: Ledger, channels: Collection[str]) -> None:
    """Give every channel the alerts from before channels were distinguished, so that none is repeated."""
    with ledger.engine.begin() as db:
        of_all = tables.sent_alerts.c.channel == ""
        rows = [dict(row) for row in db.execute(sa.select(tables.sent_alerts).where(of_all)).mappings()]
        if rows and channels:
            db.execute(sa.delete(tables.sent_alerts).where(of_all))
            insert_missing(db, tables.sent_alerts, [{**row, "channel": one} for row in rows for one in channels])


def _sent_alert(row: sa.Row[Any]) -> SentAlert:
    attendees = None if row.attendees is None else frozenset(map(int, row.attendees.split()))
    return SentAlert(row.cause, row.title, row.size, row.raised_at, row.sent_at, attendees)
