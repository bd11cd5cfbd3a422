"""After a campaign that ended half-way, nobody has two mails, and who got none gets one."""

from __future__ import annotations

from typing import Any

import pytest

from pycontw_assets.api.client import Misconfigured, Unavailable
from pycontw_assets.commands.release import describe_release
from pycontw_assets.ledger.batches import Batch, cancelled_batches, invitations_in, update_invitations
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.unreachable import refused_addresses
from pycontw_assets.pipeline.rebuild import ReleaseReport, release_batch
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets_tests.fakes.klaviyo import FakeKlaviyo
from pycontw_assets_tests.unit.conftest import PARTITION, keys
from pycontw_assets_tests.unit.test_campaign import EDITION, invite, killed_at_every_moment, let_in

SIX = tuple(f"buyer-{number}@example.org" for number in range(6))
UNCERTAIN_ENDS = (
    "Cancelled",
    "Cancelled: Billing Limit",
    "Cancelled: Account Disabled",
    "Cancelled: Internal Error",
    "Cancelled: A Reason Of Tomorrow",
)


@pytest.fixture
def klaviyo(clock: Any) -> FakeKlaviyo:
    return FakeKlaviyo(clock)


def half_a_campaign(klaviyo: FakeKlaviyo, ledger: Ledger, ends_as: str = "Cancelled", mails: int = 2) -> Batch:
    """Let a campaign to six people end after two mails."""
    klaviyo.ends_as, klaviyo.stop_after = ends_as, mails
    let_in(ledger, *SIX)
    invite(klaviyo, ledger, *SIX)
    klaviyo.ends_as = None
    [batch] = cancelled_batches(ledger, PARTITION.key)
    assert sum(klaviyo.mailed.values()) == mails
    return batch


def release(klaviyo: Any, ledger: Ledger, batch: Batch, **options: Any) -> ReleaseReport:
    waits = WaitPolicy(sleep=ledger.clock.sleep)  # type: ignore[attr-defined]
    return release_batch(
        batch.batch_key, klaviyo=klaviyo, ledger=ledger, waits=waits, settings=Settings(_env_file=None), **options
    )


@pytest.mark.parametrize("ends_as", UNCERTAIN_ENDS)
def test_a_campaign_stopped_after_two_of_six_mails_leaves_nobody_with_two_or_none(
    klaviyo: FakeKlaviyo, ledger: Ledger, ends_as: str
) -> None:
    batch = half_a_campaign(klaviyo, ledger, ends_as)
    [alarm] = invite(klaviyo, ledger, *SIX).problems
    assert "got no mail" not in alarm
    assert f"ended as {ends_as}: some of its people may have got the mail" in alarm
    assert f"pycontw-assets release {batch.batch_key}" in alarm
    report = release(klaviyo, ledger, batch)
    assert (report.freed, report.received) == (4, 2)
    assert "4 people released" in describe_release(report)
    assert "2 of this batch got the mail" in describe_release(report)
    assert invite(klaviyo, ledger, *SIX).problems == []
    assert klaviyo.mailed == dict.fromkeys(SIX, 1)
    assert (release(klaviyo, ledger, batch).freed, klaviyo.mailed) == (0, dict.fromkeys(SIX, 1))


@pytest.mark.long
def test_killed_at_any_moment_of_a_release_nobody_has_two_mails_or_none() -> None:
    def act(klaviyo: Any, ledger: Ledger) -> None:
        [batch] = cancelled_batches(ledger, PARTITION.key)
        release(klaviyo, ledger, batch)

    def afterwards(klaviyo: FakeKlaviyo, ledger: Ledger, moment: int) -> None:
        ledger.clock.advance(minutes=4)  # type: ignore[attr-defined]  # a killed release keeps its lock for three
        for batch in cancelled_batches(ledger, PARTITION.key):
            release(klaviyo, ledger, batch)
        for _ in range(2):
            problems = invite(klaviyo, ledger, *SIX).problems
        assert (klaviyo.mailed, problems) == (dict.fromkeys(SIX, 1), []), moment

    moments = killed_at_every_moment(half_a_campaign, act, afterwards)
    assert moments > 30


@pytest.mark.parametrize(
    "ends_as", ["Cancelled: Misconfigured", "Cancelled: No Recipients", "Cancelled: Smart Sending"]
)
def test_an_end_before_the_first_mail_frees_everybody_and_asks_about_nobody(
    klaviyo: FakeKlaviyo, ledger: Ledger, ends_as: str
) -> None:
    batch = half_a_campaign(klaviyo, ledger, ends_as, mails=0)
    assert "its people got no mail" in invite(klaviyo, ledger, *SIX).problems[0]
    assert release(klaviyo, ledger, batch).freed == 6
    assert not klaviyo.calls["profile_events"]
    invite(klaviyo, ledger, *SIX)
    assert klaviyo.mailed == dict.fromkeys(SIX, 1)


def report_counts_more(klaviyo: FakeKlaviyo) -> None:
    klaviyo.reported = 1


def report_counts_fewer(klaviyo: FakeKlaviyo) -> None:
    klaviyo.reported = -2


def report_shows_nothing(klaviyo: FakeKlaviyo) -> None:
    klaviyo.reported = None


def an_event_is_late(klaviyo: FakeKlaviyo) -> None:
    klaviyo.late_events = {SIX[0]}


def a_mail_shows_between_the_readings(klaviyo: FakeKlaviyo) -> None:
    klaviyo.late_events, klaviyo.reported = set(SIX), -2

    def show() -> None:
        klaviyo.late_events, klaviyo.reported = set(), 0

    klaviyo.faults.before("metrics", lambda: klaviyo.faults.before("metrics", show))


def the_key_lacks_a_scope(klaviyo: FakeKlaviyo) -> None:
    klaviyo.faults.fail("metrics", Misconfigured("Klaviyo", "read metrics", "answered 403", status=403), times=9)


def events_cannot_be_read(klaviyo: FakeKlaviyo) -> None:
    klaviyo.faults.fail("profile_events", Unavailable("Klaviyo", "read events", "answered 503"), times=9)


@pytest.mark.parametrize(
    "happen",
    [
        report_counts_more,
        report_counts_fewer,
        report_shows_nothing,
        an_event_is_late,
        a_mail_shows_between_the_readings,
        the_key_lacks_a_scope,
        events_cannot_be_read,
    ],
)
def test_in_doubt_about_who_got_the_mail_nobody_is_released_and_the_manual_way_is_named(
    klaviyo: FakeKlaviyo, ledger: Ledger, happen: Any
) -> None:
    batch = half_a_campaign(klaviyo, ledger)
    before = invitations_in(ledger, batch.batch_key)
    happen(klaviyo)
    with pytest.raises(LedgerError, match="is not released") as refused:
        release(klaviyo, ledger, batch)
    assert "docs/runbook.md" in str(refused.value)
    assert f"pycontw-assets release {batch.batch_key} --by-hand" in str(refused.value)
    assert "@" not in str(refused.value)
    assert invitations_in(ledger, batch.batch_key) == before
    klaviyo.reported, klaviyo.late_events = 0, set()
    klaviyo.faults.mend()
    assert release(klaviyo, ledger, batch).freed == 4


def test_a_deleted_campaign_is_released_only_by_hand_and_its_known_recipients_stay_invited(
    klaviyo: FakeKlaviyo, ledger: Ledger
) -> None:
    """One of the two recipients shows in the events; the other was found and marked by a person."""
    batch = half_a_campaign(klaviyo, ledger)
    klaviyo.campaigns.clear()
    klaviyo.reported, klaviyo.late_events = None, {SIX[0]}
    ledger.clock.advance(days=2)  # type: ignore[attr-defined]
    with pytest.raises(LedgerError, match="does not know its campaign any more"):
        release(klaviyo, ledger, batch)
    update_invitations(ledger, batch.batch_key, keys(SIX[0]), state="marked", reason=None)
    assert release(klaviyo, ledger, batch, by_hand=True).freed == 4
    invite(klaviyo, ledger, *SIX)
    assert klaviyo.mailed == dict.fromkeys(SIX, 1)


def test_a_campaign_without_a_row_in_the_report_reached_nobody_when_it_ended_long_ago(
    klaviyo: FakeKlaviyo, ledger: Ledger
) -> None:
    batch = half_a_campaign(klaviyo, ledger, mails=0)
    klaviyo.reported = None
    with pytest.raises(LedgerError, match="does not show its campaign yet"):
        release(klaviyo, ledger, batch)
    ledger.clock.advance(hours=1)  # type: ignore[attr-defined]
    assert release(klaviyo, ledger, batch).freed == 6


def test_people_marked_meanwhile_count_among_the_recipients_and_stay_marked(
    klaviyo: FakeKlaviyo, ledger: Ledger
) -> None:
    batch = half_a_campaign(klaviyo, ledger)
    update_invitations(ledger, batch.batch_key, keys(SIX[0], SIX[5]), state="marked", reason=None)
    assert release(klaviyo, ledger, batch).freed == 3
    invite(klaviyo, ledger, *SIX)
    assert klaviyo.mailed == dict.fromkeys(SIX[:5], 1)


def test_a_mail_that_came_back_is_not_sent_again_and_its_buyer_is_reported(
    klaviyo: FakeKlaviyo, ledger: Ledger
) -> None:
    klaviyo.bouncing = {SIX[1]}
    batch = half_a_campaign(klaviyo, ledger)
    report = release(klaviyo, ledger, batch)
    assert (report.freed, report.received, report.bounced) == (4, 1, 1)
    assert "the mails of 1 came back" in describe_release(report)
    invite(klaviyo, ledger, *SIX)
    assert klaviyo.mailed == dict.fromkeys(SIX, 1)
    assert refused_addresses(ledger, EDITION, PARTITION.key) == dict.fromkeys(keys(SIX[1]), "the mail came back")


def test_people_without_a_profile_are_not_said_to_have_got_no_mail(klaviyo: FakeKlaviyo, ledger: Ledger) -> None:
    batch = half_a_campaign(klaviyo, ledger, mails=0)
    update_invitations(ledger, batch.batch_key, keys(SIX[3]), profile_id=None)
    with pytest.raises(LedgerError, match="1 of its people have no profile"):
        release(klaviyo, ledger, batch)
