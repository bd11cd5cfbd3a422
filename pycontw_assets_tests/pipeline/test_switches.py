"""Unknown behaviour of the three services, one switch of the sandbox each: all is well with every answer.

Each test fails when the product does not handle its switch. Tests that the stages' unit tests repeat on fakes are
slow here. Other files cover the rest:

- ``test_faults``: plain bad weather (statuses, resets, truncated answers)
- ``test_guards``: books and lists that do not look whole, and changes by hand
- ``test_changes``: payments
- ``test_mark_invited_release``: cancelled campaigns and their release
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pycontw_assets.sandbox.kktix.box_office import MISSING
from pycontw_assets.sandbox.klaviyo.account import MailList
from pycontw_assets.sandbox.oracle import entitled, normalise
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.long

ANNA, BEN, CARA, DORA = "anna@example.org", "ben@example.com", "cara@example.net", "dora@example.org"

# Fields of an attendee that do not decide about access.
NOT_DECIDING = (
    *("ticket_id", "ticket_name", "ticket_type", "reg_no", "order_no", "price", "currency", "payment_method"),
    *("updated_at", "checkin_code", "qrcode", "kyc", "id_number", "search_string", "slot"),
)


def pool_lists(world: World) -> list[MailList]:
    return [one for one in world.klaviyo.lists.values() if "invitations" in one.name]


# -- Klaviyo ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3, pytest.param(1800, marks=pytest.mark.slow)])
def test_things_that_klaviyo_shows_late_are_not_made_twice(
    pipeline: Pipeline, world: World, event: int, seconds: float
) -> None:
    """Hide lists, templates, campaigns, members and profiles, and lose the reply of each creation too."""
    switches = world.klaviyo.switches
    switches.list_delay = switches.member_delay = switches.removal_delay = switches.template_delay = seconds
    switches.campaign_delay = switches.profile_delay = seconds
    for path in ("/lists$", "/templates$", "/campaigns$"):
        world.faults.add("klaviyo", "reset", method="POST", path=path, acts=True)
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    if seconds < pipeline.root.waits.second_look:
        names = [one.name for one in (*world.klaviyo.lists.values(), *world.klaviyo.campaigns.values())]
        names += [one.name for one in world.klaviyo.templates.values() if not one.is_copy]
        assert len(names) == len(set(names)) == 4
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_list_is_never_sent_to_before_it_shows_its_members(
    pipeline: Pipeline, world: World, event: int, clock: TestClock
) -> None:
    world.klaviyo.switches.member_delay = 100
    world.sell(event, address=ANNA)
    assert "members do not show" in describe(pipeline.poll())
    assert pipeline.mailed() == []
    pipeline.later_poll()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.parametrize("fixed", ["acceptance", pytest.param("sending", marks=pytest.mark.slow)])
def test_a_buyer_refunded_before_a_scheduled_campaign_is_not_mailed(
    install: Install, world: World, event: int, clock: TestClock, fixed: Any
) -> None:
    world.klaviyo.switches.recipients_fixed = fixed
    pipeline = install(invitation_send_at=clock() + timedelta(hours=2))
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    world.cancel(seats[1])
    for _ in range(3):
        pipeline.later_poll()
    assert pipeline.guests() == {ANNA}
    clock.advance(2 * 3600)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.slow
@pytest.mark.parametrize("second", ["accepted", "refused"])
def test_a_sending_whose_answer_was_lost_is_not_asked_for_again(
    pipeline: Pipeline, world: World, event: int, second: Any
) -> None:
    world.klaviyo.switches.second_send = second
    world.faults.add("klaviyo", "reset", method="POST", path="send-jobs$", acts=True)
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert len(world.calls.find("klaviyo", path="send-jobs$", method="POST")) == 1
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_only_an_estimate_that_is_too_high_stops_the_sending(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.switches.estimate_error = -1
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert pipeline.mailed() == [ANNA]
    world.klaviyo.switches.estimate_error = 1
    world.sell(event, address=BEN)
    assert "estimates 2 recipients for a batch of 1" in describe(pipeline.later_poll())
    assert pipeline.mailed() == [ANNA]
    world.klaviyo.switches.estimate_error = 0
    pipeline.later_poll()
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_stranger_whose_removal_shows_late_is_not_mailed(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.switches.removal_delay = 20
    world.sell(event, address=ANNA)
    pipeline.poll()
    stranger, _ = world.klaviyo.upsert_profile({"email": "stranger@example.org"}, {})
    world.klaviyo.add_members(pool_lists(world)[0], [stranger.id])
    pipeline.clock.advance(2 * 3600)
    world.sell(event, address=BEN)
    pipeline.until_quiet()
    assert len(pool_lists(world)) == 1, "the list was used again"
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_unsubscribed_buyers_are_let_in_reported_and_left_alone(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.unsubscribe(ANNA)
    world.klaviyo.suppress(BEN, "SPAM_COMPLAINT")
    for address in (ANNA, BEN, CARA):
        world.sell(event, address=address)
    report = pipeline.poll()
    counts = {name: number for run in report.runs for name, number in run.counts.get("klaviyo_campaign", {}).items()}
    assert (counts["invited"], counts["unreachable"], counts["unreachable_in_total"]) == (1, 2, 2)
    assert pipeline.guests() == {ANNA, BEN, CARA}
    mark = pipeline.mark()
    assert pipeline.later_poll().runs == ()
    assert pipeline.writes(mark) == [], "asking again would change nothing"
    assert pipeline.mailed() == [CARA]
    assert pipeline.verdict() == []


def test_a_status_on_the_way_ends_no_batch_whether_it_is_known_or_not(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """``Queued without Recipients`` reads like an end and is not. Klaviyo may add other statuses."""
    world.klaviyo.switches.status_step = 120
    world.klaviyo.switches.renamed_statuses = {"Preparing to send": "Warming up"}
    world.sell(event, address=ANNA)
    seen = []
    for _ in range(3):
        report = pipeline.poll()
        seen += [world.klaviyo.status_of(campaign) for campaign in world.klaviyo.campaigns.values()]
        assert "release" not in describe(report)
        pipeline.clock.advance(100)
    assert seen[:3] == ["Preparing to send", "Adding Recipients", "Queued without Recipients"]
    pipeline.clock.advance(600)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_an_end_by_an_unknown_name_mails_nobody_again(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.switches.renamed_statuses = {"Sent": "Delivered"}
    world.sell(event, address=ANNA)
    for _ in range(2):
        assert "release" not in describe(pipeline.later_poll()), "nor are its people said to have got no mail"
    world.sell(event, address=BEN)
    pipeline.later_poll()
    assert pipeline.mailed() == [ANNA, BEN]
    world.klaviyo.switches.renamed_statuses = {}
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA, BEN]
    assert pipeline.verdict() == []


@pytest.mark.slow
@pytest.mark.parametrize("crowd", [1, 60])
def test_a_batch_of_one_and_a_batch_in_bulk_both_arrive(
    pipeline: Pipeline, world: World, event: int, crowd: int
) -> None:
    for _ in range(crowd):
        world.sell(event)
    pipeline.poll()
    assert len(pipeline.mailed()) == crowd
    assert len(world.klaviyo.campaigns) == 1
    assert len(world.klaviyo.imports) == (0 if crowd == 1 else 2), "the list and the batch"
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_ten_thousand_buyers_wait_for_an_override_and_are_all_mailed(
    pipeline: Pipeline, world: World, event: int
) -> None:
    crowd = 10_000
    for _ in range(crowd):
        world.sell(event)
    assert "INVITE_LIMIT" in describe(pipeline.poll())
    assert pipeline.mailed() == []
    pipeline.later_poll("invite")
    pipeline.until_quiet()
    assert len(set(pipeline.mailed())) == len(pipeline.mailed()) == len(entitled(world, EDITION))
    assert pipeline.verdict() == []


# -- Gather -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply", ["text", *(pytest.param(form, marks=pytest.mark.slow) for form in ("empty", "array", "list"))]
)
@pytest.mark.parametrize("fold_case", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("merge_entries", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_access_does_not_depend_on_letter_case_replies_or_merging(
    pipeline: Pipeline, world: World, event: int, reply: Any, fold_case: bool, merge_entries: bool
) -> None:
    switches = world.gather.switches
    switches.reply, switches.fold_case, switches.merge_entries = reply, fold_case, merge_entries
    theirs = {"name": "Speaker Desk", "affiliation": "Speaker"}
    world.add_guest(" Dora@Example.ORG", theirs)
    addresses = (" Anna@Example.ORG ", "BEN@example.com", CARA, DORA)
    seats = [world.sell(event, address=address)[0] for address in addresses]
    assert pipeline.poll().ok
    for seat in (seats[0], seats[1], seats[3]):
        world.cancel(seat)
    pipeline.until_quiet()
    guests = {normalise(address): entry for address, entry in world.gather.guests.items()}
    assert guests.keys() == {CARA, DORA}
    assert guests[DORA] == theirs
    assert sorted(map(normalise, pipeline.mailed())) == [ANNA, BEN, CARA, DORA]
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_one_bad_address_in_a_call_too_large_costs_only_itself(pipeline: Pipeline, world: World, event: int) -> None:
    world.gather.switches.rejected_addresses, world.gather.switches.most_guests = {BEN}, 2
    for address in (ANNA, BEN, CARA, DORA):
        world.sell(event, address=address)
    assert "1 guests" in describe(pipeline.poll())
    assert pipeline.guests() == {ANNA, CARA, DORA}
    assert pipeline.verdict() == []


def test_writes_without_effect_let_nobody_in_take_nobody_off_and_are_made_good(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.gather.switches.writes_count = False
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    assert "not on its list" in describe(pipeline.poll())
    assert pipeline.mailed() == []
    world.gather.switches.writes_count = True
    pipeline.until_quiet()
    assert sorted(pipeline.mailed()) == [ANNA, BEN]
    world.gather.switches.writes_count = False
    world.cancel(seats[0])
    pipeline.later_poll()
    assert "still on the list after being removed" in describe(pipeline.later_poll())
    world.gather.switches.writes_count = True
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN}
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_guests_lost_during_a_removal_are_put_back_and_reported(pipeline: Pipeline, world: World, event: int) -> None:
    world.add_guest("speaker@example.org", {"name": "Speaker Desk", "affiliation": "Speaker"})
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN, CARA)]
    pipeline.poll()
    world.gather.switches.kept_by_overwrite = 1
    world.cancel(seats[0])
    pipeline.later_poll()
    assert "vanished while others were removed; they were put back" in describe(pipeline.later_poll())
    assert pipeline.guests() == {"speaker@example.org", BEN, CARA}
    assert world.gather.guests["speaker@example.org"] == {"name": "Speaker Desk", "affiliation": "Speaker"}


@pytest.mark.slow
def test_a_list_that_others_shrank_is_reported_and_not_overwritten(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """Only guests of others are missing, which no ledger knows: only the size shows it."""
    others = [f"speaker-{number}@example.org" for number in range(8)]
    seats = [world.sell(event, address=address)[0] for address in (ANNA, BEN)]
    pipeline.poll()
    for address in others:
        world.add_guest(address)
    world.sell(event, address=CARA)
    pipeline.later_poll()
    world.cancel(seats[0])
    world.gather.switches.shown_guests = 3
    pipeline.later_poll()
    assert "shrank from 11 to 3 without us" in describe(pipeline.later_poll())
    assert set(others) <= pipeline.guests()
    world.gather.switches.shown_guests = None
    pipeline.until_quiet()
    assert pipeline.guests() == {*others, BEN, CARA}


# -- KKTIX --------------------------------------------------------------------------------------------


def test_several_books_doubled_rows_and_ids_as_text_are_one_attendee_each(pipeline: Pipeline, world: World) -> None:
    world.kktix.switches.repeats_rows = world.kktix.switches.ids_as_text = True
    event = world.add_event("PyCon TW 2031 Registration: Individual", books=3)
    first = world.sell(event, address=ANNA, books=[0])[0]
    world.sell(event, address=BEN, books=[1])
    world.sell(event, address=CARA)
    report = pipeline.poll()
    assert report.ok
    assert len(report.tick.discovery.partitions) == 1
    assert len(world.calls.find("kktix", path="/attendees/")) == 3, "each is read once"
    assert len(pipeline.tables()["individual"]) == 3
    assert sorted(pipeline.mailed()) == [ANNA, BEN, CARA]
    world.cancel(first)
    pipeline.until_quiet()
    assert pipeline.guests() == {BEN, CARA}
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_one_book_of_several_that_is_empty_or_shrunken_withdraws_nobody_else(pipeline: Pipeline, world: World) -> None:
    event = world.add_event("PyCon TW 2031 Registration: Individual", books=2)
    for number in range(8):
        world.sell(event, books=[number % 2])
    pipeline.poll()
    everybody = pipeline.guests()
    world.kktix.switches.shown_per_book = {event: 1}
    for _ in range(3):
        assert "nobody is withdrawn" in describe(pipeline.later_poll())
    assert pipeline.guests() == everybody
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_an_event_that_disappears_withdraws_nobody_and_ends_no_invitation(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """It is the only event of the edition, so nothing else is listed any more."""
    world.sell(event, address=ANNA)
    pipeline.poll()
    world.kktix.switches.hidden_events = {event}
    reports = [pipeline.later_poll() for _ in range(3)]
    assert "no event of edition 2031 is listed any more" in reports[-1].tick.warnings[0]
    assert pipeline.guests() == pipeline.ticket_holders(event) == {ANNA}
    assert pipeline.verdict() == []


@pytest.mark.slow
def test_a_listed_attendee_twice_not_found_is_withdrawn_many_are_not(
    install: Install, world: World, event: int
) -> None:
    pipeline = install(refresh_seconds=0)
    seats = [world.sell(event)[0] for _ in range(8)]
    pipeline.poll()
    everybody = pipeline.guests()
    for seat in seats:
        world.faults.add("kktix", "status", path=f"/attendees/{seat}$", times=None, status=404)
    for _ in range(3):
        assert "nobody is withdrawn" in describe(pipeline.later_poll())
    assert pipeline.guests() == everybody
    world.faults.clear()
    pipeline.later_poll()
    world.faults.add("kktix", "status", path=f"/attendees/{seats[0]}$", times=None, status=404)
    pipeline.later_poll()
    assert pipeline.guests() == everybody, "the first poll only notes it"
    pipeline.later_poll()
    assert pipeline.guests() == everybody - {world.kktix.tickets[seats[0]].address}


def test_missing_keys_and_new_states_let_nobody_in_and_take_nobody_off(
    install: Install, world: World, event: int
) -> None:
    pipeline = install(refresh_seconds=0)
    spoilt = {
        address: (world.sell(event, address=address)[0], members)
        for address, members in {
            "no-id@example.org": {"id": MISSING},
            "no-paid@example.org": {"is_paid": MISSING},
            "no-state@example.org": {"state": MISSING},
            "no-form@example.org": {"data": MISSING},
            "number-paid@example.org": {"is_paid": 1},
        }.items()
    }
    for seat, members in spoilt.values():
        world.kktix.override(seat, **members)
    [strange] = world.sell(event, address="on-hold@example.org")
    world.set_state(strange, "on_hold")
    [sparse] = world.sell(event, address=ANNA)
    world.kktix.override(sparse, **dict.fromkeys(NOT_DECIDING, MISSING))
    assert any(run.warnings for run in pipeline.poll().runs)
    assert pipeline.guests() == set(pipeline.mailed()) == {ANNA}, (
        "fields that do not decide about access may be missing"
    )
    for seat, _ in spoilt.values():
        world.kktix.override(seat)
    world.set_state(strange, "activated")
    pipeline.until_quiet()
    everybody = {*spoilt, "on-hold@example.org", ANNA}
    assert pipeline.guests() == everybody
    for seat, members in spoilt.values():
        world.kktix.override(seat, **members)
    for _ in range(3):
        assert any(run.warnings for run in pipeline.later_poll().runs)
    assert pipeline.guests() == everybody, "known facts stay known"
    assert pipeline.verdict() == []


def test_a_link_to_a_next_page_withdraws_nobody_and_is_reported(pipeline: Pipeline, world: World, event: int) -> None:
    """So few are missing that they could be refunds: only the link shows it."""
    for _ in range(6):
        world.sell(event)
    pipeline.poll()
    everybody = pipeline.guests()
    world.kktix.switches.names_next_page = True
    world.kktix.switches.shown_per_book = {event: 4}
    for _ in range(3):
        report = pipeline.later_poll()
        assert not report.ok
        assert "names a next page" in describe(report)
        assert any("the list of events" in warning for warning in report.tick.warnings)
    assert pipeline.guests() == everybody
    assert pipeline.verdict() == []
