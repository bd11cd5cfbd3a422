""" "Could not read" is never "nothing there": broken answers withdraw nobody, mail nobody wrongly, and are shown."""

from __future__ import annotations

import pytest

from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.thorough

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


@pytest.mark.parametrize("shown", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_book_that_shrank_suddenly_withdraws_nobody_until_it_is_whole_again(
    pipeline: Pipeline, world: World, event: int, shown: int
) -> None:
    for _ in range(8):
        world.sell(event)
    pipeline.poll()
    everybody = pipeline.guests()
    world.kktix.switches.shown_per_book = {event: shown}
    for _ in range(3):
        report = pipeline.later_poll()
        assert not report.ok
        assert "nobody is withdrawn" in describe(report)
    assert pipeline.guests() == everybody
    world.kktix.switches.shown_per_book = {}
    pipeline.until_quiet()
    assert pipeline.guests() == everybody
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_book_that_lacks_some_withdraws_nobody_whom_kktix_calls_paid_and_mails_nobody_again(
    pipeline: Pipeline, world: World, event: int
) -> None:
    seats = [world.sell(event)[0] for _ in range(12)]
    pipeline.until_quiet()
    everybody, mails = pipeline.guests(), len(pipeline.mailed())
    world.kktix.switches.left_out = set(seats[:3])
    world.refund(seats[5])
    refunded = {world.kktix.tickets[seats[5]].address}
    for polls in range(1, 5):
        mark = pipeline.mark()
        report = pipeline.later_poll()
        attendees = [call.path for call in world.calls.find("kktix", since=mark.calls) if "/attendees/" in call.path]
        assert len(attendees) == (0 if polls == 1 else 4 if polls == 2 else 3), (
            "only those who vanished are asked about"
        )
        if polls > 1:
            assert f"attendee {seats[0]} is missing from the attendance book, and KKTIX calls it paid" in describe(
                report
            )
    assert pipeline.guests() == everybody - refunded, "a real refund is found meanwhile"
    world.kktix.switches.left_out = set()
    pipeline.until_quiet()
    assert pipeline.guests() == everybody - refunded
    assert len(pipeline.mailed()) == mails
    assert pipeline.verdict() == []


@pytest.mark.long
@pytest.mark.parametrize("vanished", ["404", "410", "payload"])
def test_refunds_are_found_whatever_kktix_answers_about_them(
    pipeline: Pipeline, world: World, event: int, vanished: str
) -> None:
    world.kktix.switches.vanished_attendee = vanished  # type: ignore[assignment]
    seats = [world.sell(event)[0] for _ in range(3)]
    pipeline.until_quiet()
    world.refund(seats[0])
    world.cancel(seats[1])
    pipeline.until_quiet()
    assert len(pipeline.guests()) == 1
    assert pipeline.verdict() == []


@pytest.mark.long
def test_an_override_accepts_a_book_emptied_by_the_last_cancellation(
    pipeline: Pipeline, world: World, event: int
) -> None:
    [last] = world.sell(event, address=ANNA)
    pipeline.poll()
    world.cancel(last)
    for _ in range(3):
        assert not pipeline.later_poll().ok
    assert pipeline.guests() == {ANNA}
    pipeline.later_poll("book")
    pipeline.until_quiet()
    assert pipeline.guests() == set()
    assert pipeline.verdict() == []


@pytest.mark.long
def test_an_event_hidden_for_a_while_loses_nobody(pipeline: Pipeline, world: World, event: int) -> None:
    world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.kktix.switches.hidden_events = {event}
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA}
    world.kktix.switches.hidden_events = set()
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert pipeline.verdict() == []


def test_a_truncated_guest_list_removes_nobody_without_an_override(
    pipeline: Pipeline, world: World, event: int
) -> None:
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA, "dora@example.org")]
    pipeline.poll()
    everybody = pipeline.guests()
    world.cancel(seats[0])
    world.gather.switches.shown_guests = 1
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert not report.ok
    assert "--allow guest-list" in describe(report)
    assert pipeline.guests() == everybody
    world.gather.switches.shown_guests = None
    pipeline.until_quiet()
    assert pipeline.guests() == everybody - {ANNA}
    assert pipeline.verdict() == []


@pytest.mark.parametrize(
    "no_guests", ["array", *(pytest.param(form, marks=pytest.mark.slow) for form in ("object", "null"))]
)
def test_an_empty_guest_list_removes_nobody_and_gets_its_guests_back(
    pipeline: Pipeline, world: World, event: int, no_guests: str
) -> None:
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    world.cancel(seats[0])
    world.gather.switches.no_guests = no_guests  # type: ignore[assignment]
    world.gather.switches.shown_guests = 0
    pipeline.later_poll()
    assert not pipeline.later_poll().ok
    assert pipeline.guests() == {ANNA, BEN}
    world.gather.switches.shown_guests = None
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN}
    assert pipeline.mailed().count(BEN) == 1
    assert pipeline.verdict() == []


@pytest.mark.parametrize(
    "reply", ["empty", *(pytest.param(form, marks=pytest.mark.slow) for form in ("array", "text"))]
)
def test_every_write_to_gather_is_checked_by_reading(pipeline: Pipeline, world: World, event: int, reply: str) -> None:
    world.gather.switches.reply = reply  # type: ignore[assignment]
    world.sell(event)
    assert pipeline.poll().ok
    assert pipeline.verdict() == []


def test_nobody_is_mailed_before_the_guest_list_shows_the_guest(pipeline: Pipeline, world: World, event: int) -> None:
    world.gather.switches.effect_delay = 900
    world.sell(event, address=ANNA)
    report = pipeline.poll()
    assert "not on its list" in describe(report)
    assert pipeline.mailed() == []
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_poison_address_costs_only_itself_at_gather(pipeline: Pipeline, world: World, event: int) -> None:
    world.gather.switches.rejected_addresses = {BEN}
    for address in (ANNA, BEN, CARA):
        world.sell(event, address=address)
    report = pipeline.poll()
    assert not report.ok
    assert pipeline.guests() == {ANNA, CARA}
    assert sorted(pipeline.mailed()) == [ANNA, CARA], "no mail before access"
    assert pipeline.verdict() == []


def test_an_address_klaviyo_refuses_gets_in_and_costs_only_itself(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.switches.refused_addresses = {BEN}
    for address in (ANNA, BEN, CARA):
        world.sell(event, address=address)
    pipeline.poll()
    assert pipeline.guests() == {ANNA, BEN, CARA}
    assert sorted(pipeline.mailed()) == [ANNA, CARA]
    mark = pipeline.mark()
    pipeline.later_poll()
    assert pipeline.writes(mark) == [], "a refusal is not repeated"
    assert pipeline.verdict() == []


def test_strangers_on_a_list_of_the_pool_are_never_mailed(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    [pool] = [one for one in world.klaviyo.lists.values() if "invitations" in one.name]
    stranger, _ = world.klaviyo.upsert_profile({"email": "stranger@example.org"}, {})
    world.klaviyo.add_members(pool, [stranger.id])
    clock.advance(2 * 3600)
    world.sell(event, address=BEN)
    pipeline.poll()
    assert [one.name for one in world.klaviyo.lists.values() if "invitations" in one.name] == [pool.name], "reused"
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


def test_a_stranger_put_on_the_list_just_before_sending_stops_the_sending(
    pipeline: Pipeline, world: World, event: int
) -> None:
    stranger, _ = world.klaviyo.upsert_profile({"email": "stranger@example.org"}, {})

    def intrude() -> None:
        for one in world.klaviyo.lists.values():
            if "invitations" in one.name:
                world.klaviyo.add_members(one, [stranger.id])

    world.faults.add("klaviyo", "hook", method="POST", path="assign-template$", action=intrude)
    world.sell(event, address=ANNA)
    assert not pipeline.poll().ok
    assert pipeline.mailed() == []
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_sent_campaign_that_is_a_draft_again_waits_for_a_person(pipeline: Pipeline, world: World, event: int) -> None:
    """Either somebody took it back, or the answer to the sending was not Klaviyo's. The poll cannot know which."""
    world.sell(event, address=ANNA)
    world.faults.add("klaviyo", "shape", path="send-jobs$")
    for _ in range(2):
        assert "is a draft although Klaviyo took its sending over" in describe(pipeline.later_poll())
        assert pipeline.mailed() == []
    [campaign] = world.klaviyo.campaigns.values()
    world.klaviyo.accept_sending(campaign)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


def test_guests_added_by_hand_survive_every_removal_verbatim(install: Install, world: World, event: int) -> None:
    pipeline = install(refresh_seconds=0)
    by_hand = {
        "speaker-desk@example.org": {"name": "Speaker Desk", "role": "guest", "affiliation": "Speaker", "x": [1, {}]},
        "By.Hand@example.org": {},
        BEN: {"name": "Ben", "affiliation": "Sponsor"},
    }
    for address, entry in by_hand.items():
        world.add_guest(address, entry)
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)]
    pipeline.poll()
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA], "preexisting guests are invited too"
    world.cancel(seats[0])
    world.cancel(seats[1])
    pipeline.later_poll()
    world.gather.add_guest_after_next_read("late@example.org", {"affiliation": "Late speaker"})
    pipeline.until_quiet()
    guests = world.gather.guests
    assert guests.keys() == {*by_hand, CARA, "late@example.org"}
    assert {address: guests[address] for address in by_hand} == by_hand
    assert entitled(world, EDITION) == {CARA}
    assert pipeline.verdict() == []


@pytest.mark.long
def test_a_buyer_made_a_speaker_by_hand_stays_after_a_refund(pipeline: Pipeline, world: World, event: int) -> None:
    [seat] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.poll()
    world.add_guest(ANNA, {"name": "", "role": "guest", "affiliation": "Speaker"})
    world.cancel(seat)
    pipeline.later_poll()
    report = pipeline.later_poll()
    assert "edited their entries" in describe(report)
    pipeline.until_quiet()
    assert world.gather.guests[ANNA]["affiliation"] == "Speaker"
