"""A lost ledger: nothing is done until it is rebuilt, and then nobody is mailed twice, kept in or forgotten."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.batches import unfinished_batches
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.pipeline.rebuild import RebuildReport, rebuild_ledger
from pycontw_assets.sandbox.oracle import entitled
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.rebuild_from_klaviyo import find_invitations, look_twice
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.thorough

ANNA, BEN, CARA, DORA = "anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org"
SPEAKER = {"name": "", "role": "guest", "affiliation": "Speaker"}


def lose(pipeline: Pipeline, *, vault: bool = False) -> None:
    """Delete the ledger's files, and with ``vault`` everything else under the home too."""
    for file in pipeline.home.rglob("*"):
        if file.name.startswith("ledger.sqlite") or (vault and file.suffix == ".orders"):
            file.unlink()
    pipeline.restart()


def rebuild(pipeline: Pipeline) -> RebuildReport:
    report = pipeline.call(rebuild_ledger)
    assert pipeline.verdict(settled=False) == []
    return report


def settle(pipeline: Pipeline) -> None:
    """Poll until quiet. Then every entitled person was mailed exactly once, and nobody else is on the list."""
    pipeline.until_quiet()
    assert pipeline.verdict() == []
    assert max(Counter(pipeline.mailed()).values()) == 1
    assert set(pipeline.mailed()) >= entitled(pipeline.world, EDITION)


# -- the refusal ------------------------------------------------------------------------------------


def test_an_empty_ledger_with_campaigns_of_the_edition_refuses_to_work(
    pipeline: Pipeline, world: World, event: int
) -> None:
    [refunded] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.poll()
    lose(pipeline)
    world.refund(refunded)
    world.sell(event, address=CARA)
    mark = pipeline.mark()
    for _ in range(3):
        with pytest.raises(LedgerError, match="rebuild-ledger"):
            pipeline.later_poll()
    assert pipeline.writes(mark) == pipeline.mailed(mark) == []
    assert pipeline.guests() == {ANNA, BEN}
    assert not world.calls.find("kktix", path="attendance_books", since=mark.calls), "nothing is read further"


@pytest.mark.slow
def test_a_new_ledger_asks_for_campaigns_once_and_never_again(pipeline: Pipeline, world: World, event: int) -> None:
    for _ in range(3):
        pipeline.later_poll()
        pipeline.restart()
    assert len(world.calls.find("klaviyo", path="/api/campaigns$")) == 2, "the archived ones and the others"


def test_orders_unknown_to_the_ledger_wait_for_the_answer_of_klaviyo(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    lose(pipeline)
    world.sell(event, address=BEN)
    world.faults.add("klaviyo", "status", times=None, status=503)
    with pytest.raises(Unavailable):
        pipeline.later_poll()
    assert pipeline.guests() == {ANNA}
    world.faults.clear()
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        pipeline.later_poll()


def test_total_loss_while_klaviyo_is_down_lets_in_and_mails_nobody(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """The tick could not ask Klaviyo, so the invitation step asks."""
    [seat, *_] = world.sell(event, address=ANNA) + world.sell(event, address=BEN)
    pipeline.until_quiet()
    lose(pipeline, vault=True)
    world.rename_event(event, "PyCon TW 2031 Registration: Corporate (moved)")
    world.sell(event, address=CARA)
    world.faults.add("klaviyo", "reset", path="/api/campaigns$", times=1)
    world.faults.add("klaviyo", "status", path="/api/campaigns$", times=2, status=503)
    report = pipeline.later_poll()
    assert not report.ok
    assert "rebuild-ledger" in describe(report)
    assert pipeline.guests() == {ANNA, BEN, CARA}
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        pipeline.later_poll()
    rebuild(pipeline)
    world.refund(seat)
    settle(pipeline)
    assert pipeline.guests() == {BEN, CARA}


@pytest.mark.slow
def test_campaigns_of_another_edition_are_no_sign_of_a_loss(install: Install, world: World, event: int) -> None:
    pipeline = install()
    world.sell(event, address=ANNA)
    pipeline.poll()
    following = world.add_event("PyCon TW 2032 Registration: Individual")
    world.sell(following, address=ANNA)
    pipeline.restart(edition="2032")
    report = pipeline.later_poll()
    assert report.ok
    assert report.tick.discovery.edition == "2032"


# -- the rebuilding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vault", [False, True], ids=["ledger lost", "ledger and vault lost"])
def test_after_rebuilding_only_newcomers_are_mailed_and_refunds_leave(
    pipeline: Pipeline, world: World, event: int, vault: bool
) -> None:
    corporate = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.add_guest(CARA, SPEAKER)
    seats = {address: world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)}
    world.sell(corporate, address=DORA)
    world.sell(corporate, address=ANNA)
    pipeline.until_quiet()
    lose(pipeline, vault=vault)
    for address in (BEN, CARA):
        world.refund(seats[address])
    world.sell(event, address="emil@example.org")
    report = rebuild(pipeline)
    assert report.counts["ticket holders"] == report.counts["let in"] == report.counts["invited"] == 4
    assert report.counts["guests of others"] == 1
    assert report.problems == []
    settle(pipeline)
    assert pipeline.guests() == {ANNA, CARA, DORA, "emil@example.org"}
    assert pipeline.ticket_holders(event) == {ANNA, "emil@example.org"}
    assert Counter(pipeline.mailed()) == Counter([ANNA, BEN, CARA, DORA, "emil@example.org"])


@pytest.mark.slow
def test_holders_of_two_events_keep_access_when_one_is_polled_first(
    pipeline: Pipeline, world: World, event: int
) -> None:
    corporate = world.add_event("PyCon TW 2031 Registration: Corporate")
    for number in range(4):
        world.sell(event, address=f"one-{number}@example.org")
        world.sell(corporate, address=f"two-{number}@example.org")
    pipeline.until_quiet()
    lose(pipeline, vault=True)
    rebuild(pipeline)
    mark = pipeline.mark()
    settle(pipeline)
    assert pipeline.writes(mark) == []


@pytest.mark.slow
def test_a_campaign_on_its_way_is_followed_and_keeps_its_list(
    install: Install, world: World, event: int, clock: TestClock
) -> None:
    opening = clock().replace(microsecond=0) + timedelta(hours=6)
    pipeline = install(invitation_send_at=opening)
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.until_quiet()
    lose(pipeline)
    world.refund(seats[1])
    world.sell(event, address=CARA)
    report = rebuild(pipeline)
    assert report.counts["batches on their way"] == 1
    clock.advance(2 * 3600)
    pipeline.until_quiet()
    lists = [campaign.included for campaign in world.klaviyo.campaigns.values()]
    assert len(lists) == 2, "one before the loss, one for the newcomer"
    assert lists[0] != lists[1], "the list of a campaign on its way is not given away"
    assert pipeline.mailed() == []
    clock.advance(4 * 3600)
    settle(pipeline)
    assert sorted(pipeline.mailed()) == [ANNA, CARA], "who was refunded meanwhile was taken off the campaign's list"
    assert not unfinished_batches(pipeline.ledger, f"{EDITION}-individual-{event}")


@pytest.mark.slow
def test_people_of_an_unsent_draft_are_invited_again_and_it_is_named(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    world.faults.add("klaviyo", "status", path="campaign-send-jobs", method="POST", times=None, status=503)
    pipeline.poll()
    assert pipeline.mailed() == []
    world.faults.clear()
    lose(pipeline)
    report = rebuild(pipeline)
    assert report.counts["invited"] == 0
    [problem] = report.problems
    assert "never sent" in problem
    settle(pipeline)


def test_a_draft_whose_sending_was_taken_over_counts_as_sent(pipeline: Pipeline, world: World, event: int) -> None:
    """The status of a campaign may lag behind its send job."""
    world.sell(event, address=ANNA)
    pipeline.poll()
    klaviyo, waits = pipeline.root.klaviyo, pipeline.root.waits
    stale = [replace(found, status="Draft") for found in find_invitations(klaviyo, EDITION)]
    assert [campaign.status for campaign in look_twice(klaviyo, waits, stale)] == ["Unknown"]


def test_people_with_a_key_without_a_campaign_are_not_mailed_and_every_poll_says_how_to_release_them(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.klaviyo.campaigns.clear()
    lose(pipeline)
    report = rebuild(pipeline)
    assert (report.counts["invited"], report.counts["unreachable"]) == (0, 1)
    [problem] = report.problems
    [command] = re.findall(r"pycontw-assets release [0-9a-f]+", problem)
    for _ in range(2):
        pipeline.later_poll()
        assert command in " ".join(found.text for found in open_problems(pipeline.ledger))
    assert pipeline.mailed() == [ANNA]


@pytest.mark.slow
def test_a_guest_that_lost_its_place_is_let_in_again_and_not_mailed(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    lose(pipeline)
    world.remove_guest(ANNA)
    assert rebuild(pipeline).counts["to be let in again"] == 1
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert sorted(pipeline.mailed()) == [ANNA, BEN]


@pytest.mark.slow
def test_an_event_keeps_its_partition_by_the_name_of_its_list(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    lose(pipeline)
    world.rename_event(event, "PyCon TW 2031 Registration: Corporate (moved)")
    rebuild(pipeline)
    assert set(pipeline.later_poll().tick.facts) == {f"{EDITION}-individual-{event}"}
    settle(pipeline)


@pytest.mark.slow
def test_holders_of_an_ended_event_get_no_mail_for_another_ticket(pipeline: Pipeline, world: World, event: int) -> None:
    reserved = world.add_event("PyCon TW 2031 Registration: Reserved")
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    world.end_event(event)
    lose(pipeline, vault=True)
    world.sell(reserved, address=ANNA)
    rebuild(pipeline)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.guests() == {ANNA}


@pytest.mark.slow
def test_guests_with_our_mark_and_no_known_ticket_stay(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.add_guest(BEN, {**SPEAKER, "affiliation": "Attendee"})
    lose(pipeline)
    [problem] = rebuild(pipeline).problems
    assert problem.startswith("1 guests look as if this pipeline had added them")
    settle(pipeline)
    assert pipeline.guests() == {ANNA, BEN}


@pytest.mark.slow
def test_with_the_guest_list_switched_off_gather_is_not_asked(install: Install, world: World, event: int) -> None:
    pipeline = install(gather_api_url="off")
    world.sell(event, address=ANNA)
    pipeline.poll()
    lose(pipeline)
    rebuild(pipeline)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.requests(type(pipeline.mark())(0, 0), "gather") == 0


@pytest.mark.slow
def test_an_empty_namesake_of_a_list_does_not_hide_its_members(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.create_list(f"pycontw-{EDITION}-individual-{event}-ticket-holders", "single_opt_in")
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.klaviyo.create_list(f"pycontw-{EDITION}-individual-{event}-ticket-holders", "single_opt_in")
    lose(pipeline, vault=True)
    rebuild(pipeline)
    mark = pipeline.mark()
    settle(pipeline)
    assert pipeline.writes(mark) == []


@pytest.mark.slow
def test_a_shrunken_book_after_a_total_loss_withdraws_nobody(pipeline: Pipeline, world: World, event: int) -> None:
    for _ in range(4):
        world.sell(event)
    pipeline.until_quiet()
    everybody = pipeline.guests()
    lose(pipeline, vault=True)
    rebuild(pipeline)
    world.kktix.switches.shown_per_book = {event: 1}
    assert not pipeline.later_poll().ok
    assert pipeline.guests() == everybody
    world.kktix.switches.shown_per_book = {}
    settle(pipeline)
    assert pipeline.guests() == everybody


# -- failures while rebuilding ----------------------------------------------------------------------


def test_a_ledger_at_work_is_not_rebuilt(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    with pytest.raises(LedgerError, match="not lost"):
        pipeline.call(rebuild_ledger)
    settle(pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("service", ["kktix", "gather", "klaviyo"])
def test_an_interrupted_rebuilding_leaves_the_ledger_lost_and_may_be_run_again(
    pipeline: Pipeline, world: World, event: int, service: str
) -> None:
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    lose(pipeline)
    world.faults.add(service, "status", times=None, status=503)
    with pytest.raises(Unavailable):
        pipeline.call(rebuild_ledger)
    world.faults.clear()
    with pytest.raises(LedgerError, match="rebuild-ledger"):
        pipeline.later_poll()
    mark = pipeline.mark()
    rebuild(pipeline)
    assert pipeline.writes(mark) == [], "rebuilding changes nothing outside"
    settle(pipeline)


def test_the_output_names_nobody(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    lose(pipeline)
    assert "anna" not in repr(rebuild(pipeline)).lower()
