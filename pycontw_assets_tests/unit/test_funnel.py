"""The funnel counts everybody once; the report behind it is asked for seldom, and costs nobody an invitation."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from pycontw_assets.api.client import Malformed, Reply, Unavailable
from pycontw_assets.ledger.batches import (
    BOUNCED,
    Batch,
    accept_batch,
    claim_batch,
    close_batch,
    update_batch,
    update_invitations,
)
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.grants import intend_grants, set_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.campaign_figures import Figures, record_figures, sent_campaigns
from pycontw_assets.ledger.reporting.funnel import People, ask_for_funnel, count_people, funnel_digest, record_funnel
from pycontw_assets.ledger.resending.repeats import Repeat, record_repeat_in_batch
from pycontw_assets.load.reporting.invitation_funnel import COUNTS, INVITATION_FUNNEL, shown
from pycontw_assets.orchestration.reporting.funnel import counts_of
from pycontw_assets.pipeline.reporting.campaign_report import is_due, read_report, timeframe_of
from pycontw_assets.pipeline.reporting.funnel import Seats, count_seats, describe_funnel, funnel_row
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined
from pycontw_assets.send_email.klaviyo_client import OWN_REPORTS_A_DAY
from pycontw_assets.send_email.recipients import compare_recipients
from pycontw_assets.send_email.reporting.mail_events import describe_events
from pycontw_assets.send_email.reporting.report_client import read_figures
from pycontw_assets_tests.fakes.clock import START, FakeClock
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION, keys

RESERVED = EventPartition(90003, "2031", "reserved")
ANNA, BEN, CARA, DAN = (f"{name}@example.org" for name in ("anna", "ben", "cara", "dan"))
SEEN = Figures(recipients=9, delivered=8, opened=7, clicked=5, bounced=1, unsubscribed=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    register_events(ledger, [PARTITION, OTHER_PARTITION, RESERVED])
    return ledger


@pytest.fixture
def either_ledger(ledger_url: str, clock: FakeClock) -> Ledger:
    ledger = Ledger(ledger_url, clock=clock)
    register_events(ledger, [PARTITION, OTHER_PARTITION, RESERVED])
    return ledger


def let_in(ledger: Ledger, *addresses: str, partition: EventPartition = PARTITION) -> None:
    intend_grants(ledger, "2031", partition.key, keys(*addresses), added_by_us=True)
    set_grants(ledger, "2031", keys(*addresses), "granted")


def revoke(ledger: Ledger, *addresses: str) -> None:
    set_grants(ledger, "2031", keys(*addresses), "revoked")


def batch_of(ledger: Ledger, number: int, partition: EventPartition = PARTITION) -> Batch:
    key = f"batch{number}"
    return Batch(key, "2031", partition.key, "poll", "open", f"2031-{key}", ledger.clock(), campaign_id=f"C{number}")


def invite(
    ledger: Ledger, number: int, *addresses: str, partition: EventPartition = PARTITION, period: int = 1
) -> Batch:
    """Send a campaign to these people."""
    batch = batch_of(ledger, number, partition)
    claim_batch(ledger, batch, dict.fromkeys(keys(*addresses), period))
    accept_batch(ledger, batch.batch_key)
    return close_batch(ledger, batch.batch_key, "sent", "Sent")


# -- people -------------------------------------------------------------------------------------------


def test_a_person_with_tickets_of_two_families_counts_where_the_invitation_came_from(either_ledger: Ledger) -> None:
    ledger = either_ledger
    let_in(ledger, ANNA, BEN)
    invite(ledger, 1, ANNA, partition=OTHER_PARTITION)
    assert count_people(ledger, "2031") == {
        "individual": People(let_in=1),
        "corporate": People(let_in=1, invited=1),
        "reserved": People(),
    }


def test_people_who_left_still_count_and_a_new_ticket_counts_again(ledger: Ledger) -> None:
    let_in(ledger, ANNA, BEN)
    invite(ledger, 1, ANNA, BEN)
    revoke(ledger, ANNA)
    assert count_people(ledger, "2031")["individual"] == People(let_in=2, invited=2)
    let_in(ledger, ANNA)
    assert count_people(ledger, "2031")["individual"] == People(let_in=3, invited=2)
    invite(ledger, 2, ANNA, period=2)
    assert count_people(ledger, "2031")["individual"] == People(let_in=3, invited=3)


def test_somebody_who_was_never_seen_on_the_list_was_not_let_in(ledger: Ledger) -> None:
    intend_grants(ledger, "2031", PARTITION.key, keys(ANNA), added_by_us=True)
    assert count_people(ledger, "2031")["individual"] == People()


@pytest.mark.parametrize(
    ("state", "reason", "counted"),
    [
        ("claimed", None, People(let_in=1)),
        ("marked", None, People(let_in=1)),
        ("unreachable", "HARD_BOUNCE", People(let_in=1, unreachable=1)),
        ("unreachable", BOUNCED, People(let_in=1, invited=1)),
    ],
)
def test_an_invitation_counts_by_what_became_of_it(ledger: Ledger, state: str, reason: str, counted: People) -> None:
    let_in(ledger, ANNA)
    batch = invite(ledger, 1, ANNA)
    update_invitations(ledger, batch.batch_key, keys(ANNA), state=state, reason=reason)
    assert count_people(ledger, "2031")["individual"] == counted


def test_people_of_a_cancelled_campaign_wait_and_are_not_lost(ledger: Ledger) -> None:
    let_in(ledger, ANNA)
    batch = batch_of(ledger, 1)
    claim_batch(ledger, batch, dict.fromkeys(keys(ANNA), 1))
    close_batch(ledger, batch.batch_key, "cancelled", "Cancelled: Billing Limit")
    assert count_people(ledger, "2031")["individual"] == People(let_in=1)
    assert [campaign.campaign_id for campaign in sent_campaigns(ledger, "2031")] == ["C1"], "some mails may have left"


def test_mails_of_a_flow_count_by_their_events(either_ledger: Ledger) -> None:
    ledger = either_ledger
    let_in(ledger, ANNA, BEN, CARA)
    batch = invite(ledger, 1, ANNA, BEN, CARA)
    update_batch(ledger, batch.batch_key, campaign_id=None, way="event")
    update_invitations(ledger, batch.batch_key, keys(ANNA, BEN, CARA), handed_at=START)
    update_invitations(ledger, batch.batch_key, keys(ANNA), seen_at=START + HOUR)
    update_invitations(ledger, batch.batch_key, keys(BEN), state="unreachable", reason=BOUNCED)
    people = count_people(ledger, "2031")["individual"]
    assert people == People(let_in=3, invited=3, by_event=3, seen=1, bounced=1, looked_at=START + HOUR)
    row = funnel_row("2031", "individual", Seats(3, 3), people, [])
    assert (row.delivered, row.bounced, row.as_of) == (1, 1, START + HOUR)
    assert (row.clicked, row.opened, row.unsubscribed) == (None, None, None), "not known is not nobody"


def test_a_copy_that_was_sent_once_more_is_no_second_delivery(ledger: Ledger) -> None:
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    [anna] = keys(ANNA)
    batch = replace(batch_of(ledger, 2), campaign_id="C2")
    repeat = Repeat(
        repeat_id=batch.batch_key,
        partition_key=PARTITION.key,
        edition="2031",
        address_key=anna,
        way="campaign",
        asked_at=START,
    )
    record_repeat_in_batch(ledger, repeat, batch)
    accept_batch(ledger, batch.batch_key)
    close_batch(ledger, batch.batch_key, "sent", "Sent")
    assert [campaign.campaign_id for campaign in sent_campaigns(ledger, "2031")] == ["C1"]
    assert count_people(ledger, "2031")["individual"] == People(let_in=1, invited=1)


# -- seats and rows -----------------------------------------------------------------------------------


def test_seats_count_whatever_became_of_them() -> None:
    def seat(number: int, *, is_paid: bool, **record: Any) -> AttendeeRecord:
        return AttendeeRecord(
            Attendee(attendee_id=number, is_paid=is_paid, state="activated", answers=()), START, **record
        )

    records = [
        seat(1, is_paid=True),
        seat(2, is_paid=False),
        seat(3, is_paid=True, gone_at=START),
        seat(4, is_paid=False, paid_seen_at=START, gone_at=START),
    ]
    snapshot = OrderSnapshot(
        PARTITION,
        {record.attendee.attendee_id: record for record in records},
        {2: Quarantined("unreadable", START), 5: Quarantined("unreadable", START)},
    )
    assert count_seats(snapshot) == Seats(ordered=5, paid=3)


def test_a_row_adds_the_campaigns_up_and_says_how_old_its_oldest_figure_is(ledger: Ledger, clock: FakeClock) -> None:
    let_in(ledger, ANNA, BEN)
    invite(ledger, 1, ANNA)
    invite(ledger, 2, BEN)
    record_figures(ledger, {"C1": SEEN})
    clock.advance(hours=1)
    record_figures(ledger, {"C2": SEEN})
    row = funnel_row("2031", "individual", None, People(invited=2), sent_campaigns(ledger, "2031"))
    assert (row.delivered, row.clicked, row.opened, row.bounced) == (16, 10, 14, 2)
    assert (row.tickets_ordered, row.as_of) == (None, START)
    line = describe_funnel(row)
    assert "? ordered" in line
    assert "16 delivered → 10 clicked (14 opens, inflated;" in line


def test_before_the_first_report_nothing_is_said_of_mails(ledger: Ledger) -> None:
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    row = funnel_row("2031", "individual", Seats(1, 1), People(let_in=1, invited=1), sent_campaigns(ledger, "2031"))
    assert (row.delivered, row.bounced, row.clicked, row.as_of) == (None, None, None, None)
    assert "Klaviyo reported nothing yet" in describe_funnel(row)


@pytest.mark.parametrize(
    ("name", "count", "as_shown"),
    [("bounced", 0, 0), ("bounced", 1, None), ("clicked", 4, None), ("clicked", 5, 5), ("let_in", 1, 1)],
)
def test_what_few_people_did_is_not_shown(name: str, count: int, as_shown: int | None) -> None:
    assert shown(name, count) == as_shown


def test_the_table_has_a_column_for_every_count_and_none_of_a_person() -> None:
    row = funnel_row("2031", "reserved", None, People(), [])
    assert list(counts_of(row)) == list(COUNTS)
    assert not [column.name for column in INVITATION_FUNNEL.columns if "sha256" in column.name or "name" in column.name]


def test_the_words_of_a_mail_come_in_the_order_of_things() -> None:
    assert describe_events({"Clicked Email", "Received Email"}) == "delivered, a link in it clicked"
    assert describe_events(set()) == "nothing recorded (yet)"


# -- figures ------------------------------------------------------------------------------------------


def rows_of(*rows: tuple[str, Any]) -> dict[str, Any]:
    results = [
        {"groupings": {"campaign_id": campaign}, "statistics": {"recipients": 2, "delivered": number, "opens_unique": 0,
         "clicks_unique": 0, "bounced": 0.0, "unsubscribes": 0}}
        for campaign, number in rows
    ]  # fmt: skip
    return {"data": {"attributes": {"results": results}}}


@pytest.mark.parametrize("number", [None, "2", -1, 1.5, True, float("nan"), float("inf")])
def test_a_report_with_a_number_that_counts_nobody_is_not_believed(number: Any) -> None:
    with pytest.raises(Malformed):
        read_figures(rows_of(("C1", number)))


def test_figures_that_a_report_does_not_show_stay_as_they_were(ledger: Ledger, clock: FakeClock) -> None:
    let_in(ledger, ANNA, BEN)
    invite(ledger, 1, ANNA)
    invite(ledger, 2, BEN)
    record_figures(ledger, {"C1": SEEN, "C2": SEEN})
    clock.advance(hours=1)
    corrected = replace(SEEN, delivered=7, bounced=2)
    record_figures(ledger, {"C1": SEEN, "C2": corrected})
    clock.advance(hours=1)
    record_figures(ledger, {"C2": corrected})
    times = [(item.figures, item.read_at, item.changed_at) for item in sent_campaigns(ledger, "2031")]
    assert times == [(SEEN, START + HOUR, START), (corrected, START + 2 * HOUR, START + HOUR)]


def test_reading_the_same_again_asks_for_no_table(ledger: Ledger, clock: FakeClock) -> None:
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    assert not ask_for_funnel(ledger, "2031", apart=HOUR), "before the first figures there is no funnel"
    record_figures(ledger, {"C1": SEEN})
    assert ask_for_funnel(ledger, "2031", apart=HOUR)
    assert not ask_for_funnel(ledger, "2031", apart=HOUR), "asked for a moment ago"
    clock.advance(hours=1)
    assert ask_for_funnel(ledger, "2031", apart=HOUR), "it was not written"
    record_funnel(ledger, "2031", funnel_digest(ledger, "2031"))
    clock.advance(hours=1)
    record_figures(ledger, {"C1": SEEN})
    assert not ask_for_funnel(ledger, "2031", apart=HOUR)
    record_figures(ledger, {"C1": replace(SEEN, clicked=6)})
    assert ask_for_funnel(ledger, "2031", apart=HOUR)


def test_the_digest_of_the_funnel_follows_people_and_keeps_its_form(either_ledger: Ledger) -> None:
    ledger = either_ledger
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    record_figures(ledger, {"C1": SEEN})
    digests = [funnel_digest(ledger, "2031"), funnel_digest(ledger, "2031")]
    figures = [("C1", ledger.clock())]
    written_before = repr((figures, [], sorted(count_people(ledger, "2031").items())))
    assert digests == [hashlib.sha256(written_before.encode()).hexdigest()] * 2
    let_in(ledger, BEN)
    assert funnel_digest(ledger, "2031") not in digests


# -- when the report is asked for ---------------------------------------------------------------------


class Account:
    """Klaviyo's report, and the calls about it by moment. ``others`` use the account, too."""

    def __init__(self, clock: FakeClock, *, throttled: float = 0.0) -> None:
        self.clock = clock
        self.api = self
        self.counts: dict[str, int] = {}
        self.asked: list[datetime] = []
        self.throttled = throttled
        self.chance = random.Random(1)

    def metrics(self) -> dict[str, str]:
        return {"M1": "Opened Email"}

    def profile_events(self, *_: Any) -> tuple[()]:
        return ()

    def count_recipients(self, campaign_ids: Any, **_: Any) -> dict[str, int]:
        self._ask()
        return {key: self.counts[key] for key in campaign_ids if key in self.counts}

    def request(self, method: str, operation: str, path: str, *, waits_out_429: bool, **_: Any) -> Reply:
        assert (method, path, waits_out_429) == ("POST", "/api/campaign-values-reports", False)
        self._ask()
        return Reply(200, rows_of(*self.counts.items()))

    def _ask(self) -> None:
        self.asked.append(self.clock())
        if self.chance.random() < self.throttled:
            raise Unavailable("Klaviyo", "read report", "answered 429", status=429)


def test_no_report_is_asked_for_before_one_can_show_anything(ledger: Ledger, clock: FakeClock) -> None:
    account: Any = Account(clock)
    read_report(None, klaviyo=account, ledger=ledger)
    read_report("2031", klaviyo=account, ledger=ledger)
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    read_report("2031", klaviyo=account, ledger=ledger)
    assert account.asked == []
    clock.advance(hours=1)
    account.counts = {"C1": 2, "somebody else's": 7}
    read_report("2031", klaviyo=account, ledger=ledger)
    read_report("2031", klaviyo=account, ledger=ledger)
    assert len(account.asked) == 1
    [campaign] = sent_campaigns(ledger, "2031")
    assert campaign.figures
    assert campaign.figures.delivered == 2


def test_figures_that_rest_for_a_day_are_read_once_a_day(ledger: Ledger, clock: FakeClock) -> None:
    account: Any = Account(clock)
    let_in(ledger, ANNA, BEN)
    invite(ledger, 1, ANNA)
    account.counts = {"C1": 2}
    for _ in range(5 * 24):
        clock.advance(hours=1)
        read_report("2031", klaviyo=account, ledger=ledger)
    days = Counter((moment - START).days for moment in account.asked)
    assert [days[day] for day in range(5)] == [23, 1, 1, 1, 1]
    invite(ledger, 2, BEN)
    clock.advance(hours=2)
    read_report("2031", klaviyo=account, ledger=ledger)
    clock.advance(hours=1)
    read_report("2031", klaviyo=account, ledger=ledger)
    assert account.asked[-2:] == [clock() - HOUR, clock()]


def test_a_429_leaves_the_figures_and_the_next_hour_asks_again(ledger: Ledger, clock: FakeClock) -> None:
    account: Any = Account(clock)
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    account.counts = {"C1": 2}
    clock.advance(hours=1)
    read_report("2031", klaviyo=account, ledger=ledger)
    before = sent_campaigns(ledger, "2031")
    account.throttled = 1.0
    for _ in range(12):
        clock.advance(minutes=5)
        read_report("2031", klaviyo=account, ledger=ledger)
    assert len(account.asked) == 2
    assert sent_campaigns(ledger, "2031") == before


def test_the_timeframe_holds_all_campaigns_and_is_a_year_at_most(ledger: Ledger, clock: FakeClock) -> None:
    let_in(ledger, ANNA)
    invite(ledger, 1, ANNA)
    sent = sent_campaigns(ledger, "2031")
    assert timeframe_of(sent, START + timedelta(days=28)) == "last_30_days"
    assert timeframe_of(sent, START + timedelta(days=30)) == "last_365_days"
    assert is_due(sent, START + timedelta(days=2), START + timedelta(days=1)), "a clock was ahead"


def test_two_thousand_polls_with_three_events_stay_far_below_the_limit(ledger: Ledger, clock: FakeClock) -> None:
    """Every fifth answer is a 429 that another user of the account caused. All reports of a tick count."""
    account: Any = Account(clock, throttled=0.2)
    partitions, number, chance = (PARTITION, OTHER_PARTITION, RESERVED), 0, random.Random(2)
    for poll in range(2000):
        clock.advance(minutes=5)
        for partition in partitions if poll % 100 == 0 else ():
            number += 1
            address = f"buyer{number}@example.org"
            let_in(ledger, address, partition=partition)
            invite(ledger, number, address, partition=partition)
            account.counts[f"C{number}"] = 2
        if poll % 12 == 0:  # the other user of reports, which keeps its own hour
            list(compare_recipients(klaviyo=account, ledger=ledger))
        read_report("2031", klaviyo=account, ledger=ledger)
        if chance.random() < 0.1:
            account.counts = dict(sorted(account.counts.items())[1:])  # a shorter report
    days = Counter(moment.date() for moment in account.asked)
    assert number == 60
    assert max(days.values()) <= 48 < OWN_REPORTS_A_DAY
    assert all(later - earlier >= HOUR for earlier, later in zip(account.asked, account.asked[2:], strict=False))
    assert sum(people.invited for people in count_people(ledger, "2031").values()) == number, "no invitation was lost"
