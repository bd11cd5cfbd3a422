"""Alerts of schema 2, which knew no channels, are not sent again. Attendees with reasons of their own are joined."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
import sqlalchemy as sa

from pycontw_assets.ledger.database.engine import open_engine
from pycontw_assets.ledger.database.migrations import _STEPS
from pycontw_assets.ledger.database.tables import meta
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import open_problems, sent_alerts, share_sent_alerts
from pycontw_assets.ledger.reporting.sales import last_report_day
from pycontw_assets_tests.migration.fixture import build_ledger
from pycontw_assets_tests.migration.test_schema_change import empty_url as empty_url

NOON = datetime(2031, 6, 1, 12, tzinfo=timezone.utc)
CAUSE = "search: #-individual-#: attendee # cannot be mailed by Klaviyo ({}): ask"


@pytest.fixture
def ledger(empty_url: str) -> Ledger:
    """Open a ledger of schema 2 with two alerts about attendees and one about a service."""
    build_ledger(empty_url)
    engine = open_engine(empty_url)
    with engine.begin() as db:
        _STEPS[1](db)
        db.execute(sa.delete(meta).where(meta.c.name == "schema"))
        db.execute(sa.insert(meta).values(name="schema", value="2"))
        for table in ("problems", "sent_alerts", "reports"):
            db.execute(sa.text(f"DELETE FROM {table}"))
        for cause in (CAUSE.format("BOUNCED"), CAUSE.format("refused (twice)"), "Gather"):
            row = {"cause": cause, "at": NOON.timestamp()}
            db.execute(sa.text("INSERT INTO sent_alerts VALUES (:cause, 'a title', 1, :at, :at)"), row)
            db.execute(sa.text("INSERT INTO problems VALUES ('', 'search', :cause, 'a text', false, :at, 1)"), row)
        db.execute(sa.text("INSERT INTO reports VALUES ('sales', '2031-06-01')"))
    engine.dispose()
    return Ledger(empty_url)


def test_every_channel_counts_as_told(ledger: Ledger) -> None:
    share_sent_alerts(ledger, ["one", "two"])
    for channel in ("one", "two"):
        told = sent_alerts(ledger, channel)
        assert set(told) == {"Gather", CAUSE.format("…")}
        assert {(alert.sent_at, alert.attendees) for alert in told.values()} == {(NOON, None)}
        assert last_report_day(ledger, "sales", channel) == date(2031, 6, 1)
    assert sent_alerts(ledger, "") == {}
    texts = {problem.cause: problem.text for problem in open_problems(ledger)}
    assert texts == {"Gather": "a text", CAUSE.format("…"): "a text\na text"}


def test_a_channel_that_comes_later_was_told_nothing(ledger: Ledger) -> None:
    share_sent_alerts(ledger, ["one"])
    share_sent_alerts(ledger, ["one", "two"])
    assert sent_alerts(ledger, "two") == {}
