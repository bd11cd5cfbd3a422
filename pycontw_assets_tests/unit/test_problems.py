"""One alert per cause, at the right time, and a message when it is over."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pycontw_assets.alerts.problems import Message, alerts_of, by_cause, message, sent_with
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import (
    open_problems,
    record_failure,
    record_findings,
    record_sent,
    sent_alerts,
)

NOW = datetime(2031, 6, 1, 10, tzinfo=timezone.utc)
CHANNEL = "a digest"
A, B = "2031-individual-90001", "2031-corporate-90002"


class Watch:
    """The memory, a clock to turn, and what would be sent."""

    def __init__(self, home: Path) -> None:
        self.now = NOW
        self.ledger = Ledger(f"sqlite:///{home}/ledger.sqlite", clock=lambda: self.now)

    def fail(self, key: str, subject: str = "gather_guestlist") -> None:
        record_failure(self.ledger, key, subject, cause="Gather", text="Gather: read guest list: 503")

    def finish(self, key: str, subject: str, *findings: str) -> None:
        record_findings(self.ledger, key, subject, by_cause(subject, findings))

    def news(self, *keys: str) -> Message | None:
        alerts = alerts_of(open_problems(self.ledger), keys or (A, B))
        return message(alerts, sent_alerts(self.ledger, CHANNEL), self.now)

    def send_alerts(self) -> Message | None:
        news = self.news()
        if news:
            record_sent(self.ledger, CHANNEL, sent_with(news, self.now), news.over)
        return news

    def later(self, **period: float) -> None:
        self.now += timedelta(**period)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_a_single_failure_is_left_to_the_next_poll(watch: Watch) -> None:
    watch.fail(A)
    assert watch.news() is None


def test_an_outage_is_one_alert_however_much_waits(watch: Watch) -> None:
    for _ in range(2):
        watch.fail(A)
        watch.fail(B)
        watch.fail(B, "klaviyo_list")
    news = watch.send_alerts()
    assert news
    assert news.title == "Gather fails, 2 events waiting"
    assert news.body.count("Gather: read guest list: 503") == 3


def test_an_unchanged_alert_is_repeated_after_a_day(watch: Watch) -> None:
    watch.fail(A)
    watch.fail(A)
    assert watch.send_alerts()
    watch.later(hours=23)
    watch.fail(A)
    assert watch.send_alerts() is None
    watch.later(hours=1)
    assert watch.send_alerts()


def test_a_growing_alert_is_sent_once_an_hour_at_most(watch: Watch) -> None:
    for _ in range(2):
        watch.fail(A)
    watch.send_alerts()
    for _ in range(2):
        watch.fail(B)
    assert watch.send_alerts() is None
    watch.later(hours=1)
    news = watch.send_alerts()
    assert news
    assert "2 events" in news.title


def test_the_end_of_a_problem_is_sent_with_its_duration(watch: Watch) -> None:
    watch.fail(A)
    watch.fail(A)
    watch.send_alerts()
    watch.later(minutes=15)
    watch.finish(A, "gather_guestlist")
    news = watch.send_alerts()
    assert news
    assert (news.title, "it lasted 15 min" in news.body) == ("over: Gather fails, 1 event waiting", True)
    assert watch.send_alerts() is None


def test_a_finding_is_sent_once_even_if_its_numbers_change(watch: Watch) -> None:
    watch.finish(A, "raw_kktix_orders", "attendee 700101: malformed (tried 1 times)")
    news = watch.send_alerts()
    assert news
    assert news.title == f"{A}: attendee 700101: malformed (tried 1 times)"
    watch.later(days=3)
    watch.finish(A, "raw_kktix_orders", "attendee 700101: malformed (tried 9 times)")
    assert watch.send_alerts() is None


def test_findings_of_different_kinds_are_causes_of_their_own(watch: Watch) -> None:
    watch.finish(A, "gather_guestlist", "9 revocations wait for an override")
    watch.send_alerts()
    watch.finish(A, "gather_guestlist", "9 revocations wait for an override", "1 guest was not confirmed")
    news = watch.send_alerts()
    assert news
    assert (len(news.raised), news.title) == (1, f"{A}: 1 guest was not confirmed")


def test_success_clears_failures_and_findings(watch: Watch) -> None:
    watch.finish(A, "gather_guestlist", "9 revocations wait for an override")
    watch.fail(A)
    assert {problem.is_failure for problem in open_problems(watch.ledger)} == {True, False}
    watch.finish(A, "gather_guestlist")
    assert open_problems(watch.ledger) == []


def test_an_unpolled_event_raises_no_alert(watch: Watch) -> None:
    watch.fail(A)
    watch.fail(A)
    assert watch.news(B) is None


def test_a_long_list_is_cut_and_says_how_much_is_left_out(watch: Watch) -> None:
    watch.finish(A, "raw_kktix_orders", *[f"attendee {number}: malformed" for number in range(700101, 700121)])
    news = watch.send_alerts()
    assert news
    assert news.title == f"{A}: 20 attendees: malformed"
    numbers = ", ".join(f"#{number}" for number in range(700101, 700109))
    assert f"- {numbers} and 12 more; `pycontw-assets status` lists them" in news.body


def test_attendees_with_reasons_of_their_own_are_one_alert(watch: Watch) -> None:
    people = range(700101, 700113)
    watch.finish(A, "search", *[f"{A}: attendee {n} cannot be mailed by Klaviyo (reason {n}): ask" for n in people])
    news = watch.send_alerts()
    assert news
    assert news.title.endswith("12 attendees cannot be mailed by Klaviyo (…): ask")
    assert len(news.raised) == 1
    assert len(news.body) < 500


def test_another_attendee_is_news_although_there_are_no_more_than_before(watch: Watch) -> None:
    watch.finish(A, "search", "attendee 700101 gave no address")
    watch.send_alerts()
    watch.later(hours=2)
    watch.finish(A, "search", "attendee 700102 gave no address")
    news = watch.send_alerts()
    assert news
    assert (news.title, news.over) == (f"{A}: attendee 700102 gave no address", ())
    assert watch.send_alerts() is None


def test_several_events_with_such_attendees_share_a_title_without_an_event(watch: Watch) -> None:
    for key, number in ((A, 700101), (B, 700102)):
        watch.finish(key, "raw_kktix_orders", f"attendee {number}: malformed (tried 3 times)")
    news = watch.send_alerts()
    assert news
    assert news.title == "2 attendees: malformed (…)"
    assert f"- {B}: attendee 700102: malformed (tried 3 times)" in news.body
