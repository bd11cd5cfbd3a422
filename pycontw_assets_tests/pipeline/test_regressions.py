"""Bugs found by the state machine and by reviews, each as a short story. Every test failed once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.slow

LONGER_THAN_A_ROTATION = 2 * 3600
ANNA, BEN = "anna@example.org", "ben@example.com"


def test_an_empty_book_names_the_override_that_makes_it_count(pipeline: Pipeline, world: World, event: int) -> None:
    [last] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.cancel(last)
    assert "--allow book" in describe(pipeline.later_poll())


def a_speaker_without_ticket_is_taken_off_by_staff(pipeline: Pipeline, world: World, event: int) -> None:
    """Let staff remove Ben. Anna stays, so that the list is not empty."""
    world.sell(event, address=ANNA)
    world.add_guest(BEN)
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.refund(seat)
    pipeline.until_quiet()
    assert BEN in pipeline.guests()
    world.remove_guest(BEN)


def test_a_speaker_taken_off_who_buys_again_is_invited_again(pipeline: Pipeline, world: World, event: int) -> None:
    """A preexisting guest is never removed by us. After a removal by staff, the next ticket starts again."""
    a_speaker_without_ticket_is_taken_off_by_staff(pipeline, world, event)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert BEN in pipeline.guests()
    assert pipeline.mailed().count(BEN) == 2
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_speaker_taken_off_and_put_back_is_invited_again(pipeline: Pipeline, world: World, event: int) -> None:
    """The next ticket starts a new period in either case, because a poll saw the removal in between."""
    a_speaker_without_ticket_is_taken_off_by_staff(pipeline, world, event)
    world.sell(event, address="cara@example.net")
    pipeline.until_quiet()
    world.add_guest(BEN)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert pipeline.mailed().count(BEN) == 2
    assert pipeline.verdict() == []


def test_a_guest_of_staff_added_while_gather_refused_us_stays(pipeline: Pipeline, world: World, event: int) -> None:
    """Our addition of Ben was refused. An empty entry is the mark of a guest added by hand."""
    world.sell(event, address=ANNA)
    [seat] = world.sell(event, address=BEN)
    world.faults.add("gather", "status", path="setEmailGuestlist", status=401, times=None)
    pipeline.poll()
    world.faults.clear()
    world.add_guest(BEN, {})
    pipeline.until_quiet()
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    world.refund(seat)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.verdict() == []


def test_a_refund_after_a_poll_died_leaves_the_announcements(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    [seat] = world.sell(event, address=BEN)
    # The number of attempts within a poll.
    world.faults.add("klaviyo", "reset", method="POST", path="/relationships/profiles", acts=True, times=None)
    pipeline.poll()
    world.faults.clear()
    assert pipeline.ticket_holders(event) == {ANNA, BEN}
    world.set_state(seat, "cancelled")
    pipeline.clock.advance(LONGER_THAN_A_ROTATION)
    pipeline.until_quiet()
    assert pipeline.ticket_holders(event) == {ANNA}


def two_holders_and_another_event(pipeline: Pipeline, world: World, event: int) -> tuple[int, int]:
    """Invite Anna and Ben. Return another event, where nobody bought, and Ben's seat."""
    other = world.add_event("PyCon TW 2031 Registration: Reserved")
    world.sell(event, address=ANNA)
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    return other, seat


def test_a_buyer_who_changes_events_keeps_access_all_the_time(pipeline: Pipeline, world: World, event: int) -> None:
    """The new ticket is read in the poll in which the old one is missing for the second time."""
    other, seat = two_holders_and_another_event(pipeline, world, event)
    world.refund(seat)
    pipeline.later_poll()
    world.sell(other, address=BEN)
    pipeline.until_quiet()
    assert pipeline.mailed().count(BEN) == 1
    assert pipeline.guests() == entitled(world, EDITION)
    assert pipeline.verdict() == []


def test_a_guest_that_shows_only_after_the_refund_is_removed(pipeline: Pipeline, world: World, event: int) -> None:
    """Gather may be slow: a guest that we added and never saw may still appear."""
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    world.gather.switches.effect_delay = 1200
    [seat] = world.sell(event, address=BEN)
    pipeline.later_poll()
    world.refund(seat)
    world.gather.switches.effect_delay = 0
    for _ in range(3):
        pipeline.later_poll()
    assert BEN not in pipeline.guests()
    pipeline.clock.advance(600)
    assert BEN in pipeline.guests()
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA}
    assert pipeline.verdict() == []


def test_an_unreadable_book_keeps_access_of_its_possible_buyers(pipeline: Pipeline, world: World, event: int) -> None:
    other, seat = two_holders_and_another_event(pipeline, world, event)
    world.faults.add("kktix", "status", path=f"/{other}/attendance_books", times=None, status=503)
    world.refund(seat)
    world.sell(other, address=BEN)
    for _ in range(3):
        pipeline.later_poll()
        assert pipeline.guests() == {ANNA, BEN}
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.mailed().count(BEN) == 1
    assert pipeline.verdict() == []


def only_an_empty_book(world: World, event: int) -> None:
    world.kktix.switches.shown_per_book = {event: 0}


def only_one_of_two_books(world: World, event: int) -> None:
    [_, second] = world.kktix.events[event].books
    world.faults.add("kktix", "status", path=f"/attendance_books/{second}", times=None, status=503)


@pytest.mark.parametrize("mishap", [only_an_empty_book, pytest.param(only_one_of_two_books, marks=pytest.mark.slow)])
def test_a_doubtful_book_keeps_access_of_its_possible_buyers(
    pipeline: Pipeline, world: World, event: int, mishap: Callable[[World, int], None]
) -> None:
    """The book was read, and lacks the latest buyers."""
    other = world.add_event("PyCon TW 2031 Registration: Reserved", books=2)
    world.sell(event, address=ANNA)
    world.sell(other, address="cara@example.net")
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    mishap(world, other)
    world.refund(seat)
    for address in ("dora@example.org", BEN):  # one into either book
        world.sell(other, address=address)
    for _ in range(4):
        pipeline.later_poll()
        assert BEN in pipeline.guests()
    world.faults.clear()
    world.kktix.switches.shown_per_book = {}
    pipeline.until_quiet()
    assert pipeline.mailed().count(BEN) == 1
    assert pipeline.verdict() == []


def test_an_override_for_a_list_that_staff_shortened_lets_buyers_in(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """The poll cannot know whether the buyer was removed or the list is cut, so it asks."""
    world.sell(event, address=ANNA)
    world.add_guest(BEN)
    world.add_guest("desk@example.org")
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.refund(seat)
    pipeline.until_quiet()
    world.remove_guest(BEN)
    world.remove_guest("desk@example.org")
    world.sell(event, address=BEN)
    assert "--allow guest-list" in describe(pipeline.later_poll())
    assert pipeline.guests() == {ANNA}
    pipeline.later_poll("guest-list")
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.mailed().count(BEN) == 2
    assert pipeline.verdict() == []


def test_a_list_cut_short_right_after_a_write_is_not_taken_for_the_new_size(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """Otherwise a refunded guest would count as removed already, and stay for good."""
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, "cara@example.net", "dora@example.org")]
    pipeline.until_quiet()
    world.refund(seats[-1])
    pipeline.later_poll()

    def cut() -> None:
        world.gather.switches.shown_guests = 1

    world.faults.add("gather", "hook", method="POST", acts=True, action=cut)
    world.sell(event, address="emil@example.com")
    for _ in range(4):
        assert not pipeline.later_poll().ok
    world.gather.switches.shown_guests = None
    pipeline.clock.advance(3600)
    pipeline.until_quiet()
    assert pipeline.guests() == entitled(world, EDITION)
    assert pipeline.verdict() == []


@pytest.mark.parametrize(
    "accident",
    [pytest.param({"kind": "status", "status": 400}, marks=pytest.mark.slow), {"kind": "status", "status": 503}],
)
def test_a_list_cut_short_after_a_removal_that_failed_does_not_end_it(
    pipeline: Pipeline, world: World, event: int, accident: dict[str, Any]
) -> None:
    """Otherwise the guests to remove would count as removed, and still be there when the list is whole again."""
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, "cara@example.net", "dora@example.org")]
    pipeline.until_quiet()
    for seat in seats[2:]:
        world.refund(seat)
    pipeline.later_poll()
    world.faults.add("gather", method="POST", times=3, **accident)
    assert not pipeline.later_poll().ok
    world.faults.clear()
    _show_guests(world, 2)
    for _ in range(3):
        pipeline.clock.advance(3600)
        pipeline.poll()
    _show_guests(world, None)
    pipeline.clock.advance(3600)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.verdict() == []


def _show_guests(world: World, number: int | None) -> None:
    world.gather.switches.shown_guests = number


@pytest.mark.parametrize("shown", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_list_cut_short_right_after_a_removal_without_effect_does_not_end_it(
    pipeline: Pipeline, world: World, event: int, shown: int
) -> None:
    """Otherwise the guest would count as removed, stay, and count as somebody else's guest with the next ticket."""
    seats = [world.sell(event, address=address)[0] for address in (ANNA, "cara@example.net", "dora@example.org", BEN)]
    pipeline.until_quiet()
    world.refund(seats[-1])
    pipeline.later_poll()
    world.faults.add("gather", "hook", method="POST", action=lambda: _show_guests(world, shown))
    world.faults.add("gather", "reset", method="POST")
    assert not pipeline.later_poll().ok
    assert BEN in pipeline.guests()
    _show_guests(world, None)
    pipeline.clock.advance(3600)
    pipeline.until_quiet()
    assert pipeline.guests() == entitled(world, EDITION)
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_guest_removed_by_a_blind_poll_gets_no_scheduled_mail(
    install: Install, world: World, event: int, clock: TestClock
) -> None:
    """The removal is watched for an hour. Meanwhile the campaign must still be taken back."""
    pipeline = install(invitation_send_at=clock().replace(microsecond=0) + timedelta(days=1))
    world.sell(event, address=ANNA)
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.refund(seat)
    pipeline.later_poll()

    def fall_silent() -> None:
        world.faults.add("gather", "status", method="GET", times=None)

    world.faults.add("gather", "hook", method="POST", action=fall_silent)
    assert not pipeline.later_poll().ok
    world.faults.clear()
    pipeline.until_quiet()
    pipeline.clock.advance(24 * 3600)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_guest_of_staff_added_while_gather_was_unreadable_stays(pipeline: Pipeline, world: World, event: int) -> None:
    """We never wrote Ben's entry: our calls were refused, and no poll saw the entry while he held a ticket."""
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    [seat] = world.sell(event, address=BEN)
    world.faults.add("gather", "status", path="setEmailGuestlist", status=401, times=None)
    pipeline.later_poll()
    world.faults.add("gather", "status", path="getEmailGuestlist", status=401, times=None)
    world.add_guest(BEN, {})
    world.refund(seat)
    for _ in range(3):
        pipeline.later_poll()
    world.faults.clear()
    pipeline.clock.advance(3600)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_guest_of_staff_added_while_the_step_was_off_stays(
    install: Install, server: SandboxServer, world: World, event: int
) -> None:
    """Access was assumed, so somebody else added every guest on the list."""
    pipeline = install(gather_api_url="off")
    world.sell(event, address=ANNA)
    [seat] = world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.add_guest(BEN, {})
    pipeline.restart(gather_api_url=server.environment["GATHER_API_URL"])
    world.refund(seat)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert sorted(pipeline.mailed()) == [ANNA, BEN]


@pytest.mark.slow
def test_an_object_that_is_no_guest_list_is_not_read_as_one(pipeline: Pipeline, world: World, event: int) -> None:
    [seat] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    world.refund(seat)
    pipeline.later_poll()
    world.faults.add("gather", "shape", method="GET", times=None, body={"message": "Please try again later."})
    assert "is not a guest list" in describe(pipeline.later_poll())
    world.faults.clear()
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN}
    assert pipeline.verdict() == []
