"""Changes after the first sale: late payments, refunds, transfers, renames, limits, switches."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pycontw_assets.ledger.guest_lists import enter_space
from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.names import batch_key_property
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.thorough  # the production stores run the ones about tables

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


def test_a_payment_that_arrives_later_is_invited_by_the_next_poll(pipeline: Pipeline, world: World, event: int) -> None:
    world.kktix.switches.payment_moves_updated_at = False
    world.sell(event, address=ANNA)
    [late] = world.sell(event, address=BEN, paid=False)
    pipeline.poll()
    assert pipeline.guests() == {ANNA}
    world.pay(late)
    pipeline.later_poll()
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


def test_a_cancelled_ticket_loses_access_and_list_within_two_good_polls(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    [refunded] = world.sell(event, address=BEN)
    pipeline.poll()
    world.refund(refunded)
    pipeline.later_poll()
    assert BEN in pipeline.guests(), "one poll may be wrong about the book"
    report = pipeline.later_poll()
    assert report.ok, describe(report)
    assert pipeline.guests() == pipeline.ticket_holders(event) == {ANNA}
    assert [row["is_cancelled"] for row in pipeline.tables()["individual"]] == [False, True]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_one_cancelled_ticket_of_several_takes_nothing_away(pipeline: Pipeline, world: World, event: int) -> None:
    seats = world.sell(event, 3, address=ANNA)
    pipeline.poll()
    assert pipeline.mailed() == [ANNA]
    world.cancel(seats[0])
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA}
    assert pipeline.verdict() == []


def test_a_transfer_invites_the_new_address_and_revokes_the_old_one(install: Install, world: World, event: int) -> None:
    pipeline = install(refresh_seconds=0)
    [seat] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.transfer(seat, BEN)
    report = pipeline.later_poll()
    assert report.ok, describe(report)
    assert pipeline.guests() == pipeline.ticket_holders(event) == {BEN}
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


def test_a_known_ticket_is_read_again_in_rotation_and_a_transfer_found(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    [seat] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.transfer(seat, BEN)
    assert pipeline.later_poll().runs == ()
    clock.advance(3600)
    pipeline.poll()
    assert pipeline.guests() == {BEN}


def test_a_buyer_who_returns_after_losing_access_is_invited_again(pipeline: Pipeline, world: World, event: int) -> None:
    [first] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.poll()
    world.refund(first)
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN}
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.mailed().count(ANNA) == 2
    assert pipeline.verdict() == []


def test_a_buyer_who_returns_before_losing_access_is_not_mailed(pipeline: Pipeline, world: World, event: int) -> None:
    [first] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.refund(first)
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.guests() == {ANNA}
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_holder_in_two_events_gets_one_mail_and_stays_for_either_ticket(
    pipeline: Pipeline, world: World, event: int
) -> None:
    corporate = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(event, address=BEN)
    world.sell(corporate, address=CARA)
    [one] = world.sell(event, address=ANNA)
    [two] = world.sell(corporate, address=ANNA.upper())
    pipeline.poll()
    assert len(pipeline.mailed()) == 3
    world.cancel(one)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN, CARA}
    assert pipeline.ticket_holders(event) == {BEN}
    world.cancel(two)
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN, CARA}
    assert len(pipeline.mailed()) == 3
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_renamed_event_keeps_its_partition_and_mails_nobody_again(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.rename_event(event, "PyCon TW 2032 Registration: Corporate (moved)")
    world.sell(event, address=BEN)
    report = pipeline.later_poll()
    assert set(report.tick.facts) == {f"{EDITION}-individual-{event}"}
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_an_event_that_ended_is_no_longer_polled_and_nothing_is_withdrawn(
    pipeline: Pipeline, world: World, event: int
) -> None:
    other = world.add_event("PyCon TW 2031 Registration: Reserved")
    world.sell(event, address=ANNA)
    world.sell(other, address=BEN)
    pipeline.poll()
    world.end_event(event)
    mark = pipeline.mark()
    pipeline.until_quiet()
    assert not world.calls.find("kktix", path=f"/{event}/", since=mark.calls)
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_invitations_are_finished_for_an_event_that_ended_before_they_went_out(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.add_event("PyCon TW 2031 Registration: Reserved")
    pipeline.poll()
    world.sell(event, address=ANNA)
    world.faults.add("klaviyo", "status", path="campaign", times=None, status=500)
    pipeline.poll()
    assert pipeline.mailed() == []
    world.faults.clear()
    world.end_event(event)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_an_event_without_a_book_waits_and_costs_the_others_nothing(
    pipeline: Pipeline, world: World, event: int
) -> None:
    bookless = world.add_event("PyCon TW 2031 Registration: Corporate", books=0)
    world.sell(event, address=ANNA)
    report = pipeline.poll()
    assert pipeline.mailed() == [ANNA]
    assert not report.ok
    assert [problem for problem in report.tick.problems if str(bookless) in problem]


@pytest.mark.slow
def test_scheduled_invitations_leave_at_their_time_later_ones_at_once(
    install: Install, world: World, event: int, clock: TestClock
) -> None:
    opening = clock().replace(microsecond=0) + timedelta(hours=6)
    pipeline = install(invitation_send_at=opening)
    world.sell(event, address=ANNA)
    [refunded] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}, "access does not wait"
    world.cancel(refunded)
    pipeline.until_quiet()
    assert pipeline.mailed() == []
    clock.advance(6 * 3600)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA], "refunded buyers are not mailed"
    assert world.outbox[0].at >= opening
    world.sell(event, address=CARA)
    pipeline.later_poll()
    assert pipeline.mailed() == [ANNA, CARA]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_with_the_guest_list_switched_off_buyers_are_invited_without_it(
    install: Install, world: World, event: int
) -> None:
    pipeline = install(gather_api_url="off")
    world.sell(event, address=ANNA)
    [refunded] = world.sell(event, address=BEN)
    pipeline.poll()
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    world.cancel(refunded)
    pipeline.until_quiet()
    assert pipeline.ticket_holders(event) == {ANNA}
    assert world.calls.count("gather") == 0
    assert pipeline.verdict() == []


def enter_another_space(pipeline: Pipeline) -> None:
    """Make the ledger believe that the guests so far were let in to another space. The sandbox has only one."""
    enter_space(pipeline.ledger, "2029", "another space")


@pytest.mark.slow
def test_into_another_space_everybody_is_let_in_without_another_invitation(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.add_guest(CARA)
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)]
    pipeline.until_quiet()
    for address in (ANNA, BEN, CARA):
        world.remove_guest(address)
    enter_another_space(pipeline)
    pipeline.later_poll()
    assert pipeline.guests() == {ANNA, BEN, CARA}
    for seat in seats[1:]:
        world.refund(seat)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA}
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]


@pytest.mark.slow
def test_a_space_that_is_only_written_in_another_way_changes_nobodys_access(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.add_guest(CARA)
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)]
    pipeline.until_quiet()
    enter_another_space(pipeline)
    mark = pipeline.mark()
    pipeline.until_quiet()
    assert pipeline.writes(mark) == []
    for seat in seats[1:]:
        world.refund(seat)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, CARA}
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]
    assert pipeline.verdict() == []


def test_more_invitations_than_the_limit_wait_for_an_override(install: Install, world: World, event: int) -> None:
    pipeline = install(invite_limit=2)
    for address in (ANNA, BEN, CARA):
        world.sell(event, address=address)
    report = pipeline.poll()
    assert not report.ok
    assert "INVITE_LIMIT" in describe(report)
    assert pipeline.guests() == {ANNA, BEN, CARA}
    assert pipeline.mailed() == []
    marks = [profile.properties.get(batch_key_property(EDITION)) for profile in world.klaviyo.profiles.values()]
    assert not any(marks), "a rebuilt ledger would take them for people who may have been invited"
    pipeline.later_poll("invite")
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]
    assert pipeline.verdict() == []


def test_more_revocations_than_the_limit_wait_for_an_override(install: Install, world: World, event: int) -> None:
    pipeline = install(revoke_limit=1)
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)]
    pipeline.poll()
    world.cancel(seats[0])
    world.cancel(seats[1])
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert not report.ok
    assert "--allow revoke" in describe(report)
    assert pipeline.guests() == {ANNA, BEN, CARA}
    pipeline.later_poll("revoke")
    assert pipeline.guests() == entitled(world, EDITION) == {CARA}
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_suppressed_buyer_gets_in_is_listed_for_the_organiser_and_not_retried(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.klaviyo.suppress(ANNA)
    world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    report = pipeline.poll()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.mailed() == [BEN]
    counts = report.runs[1].counts["klaviyo_campaign"]
    assert (counts["invited"], counts["unreachable"]) == (1, 1)
    mark = pipeline.mark()
    assert pipeline.later_poll().ok  # the ticket is read again, in case the address was corrected
    assert (pipeline.writes(mark), pipeline.mailed(mark)) == ([], [])
    assert pipeline.verdict() == []
