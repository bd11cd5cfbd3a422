"""Every channel gets every alarm once, whatever becomes of the others. One that takes none is an alarm itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from pycontw_assets.alerts.alerting import Reach, recorded_channel_problems, send_alerts
from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.alerts.problems import by_cause
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.ledger.database.tables import sent_alerts as table
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.channels import channels_that_fail
from pycontw_assets.ledger.reporting.problems import open_problems, record_findings
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import load_settings
from pycontw_assets_tests.fakes.channels import Channels

KEY = "2031-individual-90001"
FAILS = "2031-06-01 10:00 UTC"


class Sale:
    """A ledger, its clock, two channels and what happens in the sale."""

    def __init__(self, home: Path, channels: Messenger | None = None) -> None:
        self.now = datetime(2031, 6, 1, 10, tzinfo=timezone.utc)
        self.ledger = Ledger(f"sqlite:///{home}/ledger.sqlite", clock=lambda: self.now)
        self.channels = Channels(2)

    def find(self, *findings: str, subject: str = "poll") -> None:
        record_findings(self.ledger, KEY, subject, by_cause(subject, findings))

    def poll(self, times: int = 1, channels: Messenger | None = None) -> Reach:
        for _ in range(times):
            reach = send_alerts([KEY], ledger=self.ledger, alerts=channels or self.channels)
            self.now += timedelta(minutes=5)
        return reach

    def problems(self) -> list[str]:
        return [problem.text for problem in open_problems(self.ledger)]


@pytest.fixture
def sale(tmp_path: Path) -> Sale:
    return Sale(tmp_path)


def test_a_broken_channel_makes_the_good_one_repeat_nothing(sale: Sale) -> None:
    sale.channels.broken = {2}
    sale.find("an event is left alone")
    sale.poll(10)
    assert sale.channels.titles_of(1)[0] == f"{KEY}: an event is left alone"
    assert len(sale.channels.titles_of(1)) == 2, "the alarm, and that the other channel fails"
    assert sale.channels.titles_of(2) == []


def test_a_channel_that_failed_three_times_is_a_problem_until_it_takes_a_message(sale: Sale) -> None:
    sale.channels.broken = {2}
    sale.find("an event is left alone")
    assert sale.poll(2).problems == ()
    reach = sale.poll()
    assert reach.is_anybody_there
    [text] = reach.problems
    assert text.startswith(f"alarm channel 2 (json) has taken no message since {FAILS}")
    assert recorded_channel_problems(sale.ledger) == [text]
    assert text in sale.problems()
    sale.poll()
    assert sale.channels.titles_of(1)[1] == text
    sale.channels.broken = set()
    sale.poll(13)
    assert sale.problems() == ["an event is left alone"]
    assert sale.channels.titles_of(2)[0] == f"{KEY}: an event is left alone (and 1 more)"
    assert [titles[-1] for titles in map(sale.channels.titles_of, (1, 2))] == [f"over: {text}"] * 2


def test_what_a_channel_missed_it_gets_when_it_works_again(sale: Sale) -> None:
    sale.channels.broken = {2}
    sale.find("first alarm")
    sale.poll(4)
    sale.find("first alarm", "second alarm")
    sale.poll(20)
    sale.channels.broken = set()
    sale.poll(13)
    body = next(body for number, _, body in sale.channels.taken if number == 2)
    assert {"first alarm", "second alarm"} <= {
        line.partition(" (since")[0].split(": ")[-1] for line in body.splitlines()
    }


def test_a_failing_channel_is_tried_with_growing_pauses_and_at_least_hourly(sale: Sale) -> None:
    sale.channels.works = False
    sale.find("an event is left alone")
    sale.poll(12 * 5)
    attempts = sale.channels.attempts.count(1)
    assert 8 <= attempts <= 12


def test_after_a_signal_no_message_leaves_and_no_channel_has_failed(sale: Sale, tmp_path: Path) -> None:
    """The signal came after the last look at it, while the ledger was asked what is open."""
    stop, urls = Stop(), "json://127.0.0.1:9 json://127.0.0.1:10"
    root = Composition(lambda: load_settings(pycontw_home=tmp_path, alert_urls=urls), stop=stop)
    sale.find("an event is left alone")
    stop.ask()
    with pytest.raises(Stopped):
        sale.poll(1, root.alerts)
    assert channels_that_fail(sale.ledger) == {}
    sale.poll()
    assert len(sale.channels.sent) == 2, "the next poll sends it to both"


def test_when_no_channel_works_nobody_is_there(sale: Sale) -> None:
    sale.channels.works = False
    sale.find("an event is left alone")
    assert sale.poll(2).is_anybody_there
    reach = sale.poll()
    assert not reach.is_anybody_there
    assert len(reach.problems) == 2


def test_without_channels_nothing_is_wrong(sale: Sale) -> None:
    sale.find("an event is left alone")
    assert sale.poll(4, Messenger(None)) == Reach()
    assert sale.problems() == ["an event is left alone"]


def test_a_misspelt_address_is_a_problem_at_once_and_the_good_one_hears_of_it(sale: Sale) -> None:
    class Misspelt(Channels):
        def __init__(self) -> None:
            super().__init__()
            good, bad = Messenger("json://good.example.org dicsord://1/secret-token").channels
            self.channels, self.broken = (good, bad), {2}

    channels = Misspelt()
    reach = sale.poll(2, channels)
    assert reach.problems == (
        "alarm channel 2 (dicsord) is no address that Apprise understands: correct it in ALERT_URLS",
    )
    assert channels.titles_of(1) == list(reach.problems)


def test_a_new_channel_hears_of_what_is_open(sale: Sale) -> None:
    sale.find("an event is left alone")
    sale.poll()
    channels = Channels(3)
    sale.poll(2, channels)
    assert [channels.titles_of(number) for number in (1, 2, 3)] == [[], [], [f"{KEY}: an event is left alone"]]


def test_alarms_from_before_channels_were_told_apart_are_not_repeated(sale: Sale) -> None:
    """An older version noted one alert for all channels."""
    sale.find("an event is left alone")
    sale.poll()
    with sale.ledger.engine.begin() as db:
        db.execute(sa.delete(table).where(table.c.channel == sale.channels.channels[1].digest))
        db.execute(sa.update(table).values(channel="", attendees=None))
    sale.channels.taken.clear()
    sale.poll(2)
    assert sale.channels.taken == []
    sale.find()
    sale.poll()
    assert [sale.channels.titles_of(number) for number in (1, 2)] == [[f"over: {KEY}: an event is left alone"]] * 2


def test_an_attendee_in_trouble_again_is_news_again(sale: Sale) -> None:
    lines = [f"attendee {number} gave no address" for number in (700101, 700102)]
    sale.find(*lines, subject="search")
    sale.poll()
    sale.find(lines[0], subject="search")
    sale.poll()
    sale.find(*lines, subject="search")
    sale.poll(13)
    assert sale.channels.titles_of(1) == [f"{KEY}: 2 attendees gave no address"] * 2
