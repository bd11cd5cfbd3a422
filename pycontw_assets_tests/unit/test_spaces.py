"""Each holder is in one space and stays there; full spaces lose nobody."""

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any, cast
from uuid import uuid4

import pytest

from pycontw_assets.api.client import Misconfigured, Unavailable
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.authorize.guest_list import entry
from pycontw_assets.authorize.guest_list_step import GuestListOutcome, GuestListStep
from pycontw_assets.authorize.space_steps import SpacesStep
from pycontw_assets.authorize.spaces import Space, are_shared, assign, parse_spaces, split_spaces
from pycontw_assets.commands.trace import describe_trace, trace
from pycontw_assets.ledger.counting.kept import keep_counts
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.grants import current_grants, intend_grants
from pycontw_assets.ledger.guest_lists import (
    count_lacking,
    enter_space,
    guest_list_state,
    has_space_changed,
    refuse_lost_spaces,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.vault.vault import OrdersStore
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.gather import FakeGather
from pycontw_assets_tests.unit.conftest import (
    PARTITION,
    PSEUDONYMIZER,
    empty_ledger,
    holders,
    keys,
    memory_ledger,
    record_holders,
)

EDITION = PARTITION.edition
A, B, C = "AbCd\\North", "EfGh\\South", "IjKl\\East, upper floor"
ONE, TWO, THREE, FOUR = (f"buyer-{number}@example.org" for number in range(1, 5))


class Venue:
    """Spaces with a fake list each."""

    def __init__(self, text: str) -> None:
        self.lists = {space: FakeGather() for space in parse_spaces(text)}

    def change(self, text: str) -> None:
        """Set other spaces or capacities. The lists stay."""
        before = {space.space_id: gather for space, gather in self.lists.items()}
        self.lists = {space: before.get(space.space_id, FakeGather()) for space in parse_spaces(text)}

    def __getitem__(self, space_id: str) -> FakeGather:
        return next(gather for space, gather in self.lists.items() if space.space_id == space_id)

    @property
    def ids(self) -> list[str]:
        return [space.space_id for space in self.lists]

    @property
    def spaces(self) -> tuple[Space, ...]:
        return tuple(self.lists)

    def each(self) -> dict[Space, FakeGather]:
        return self.lists

    def guests(self) -> list[set[str]]:
        return [set(gather.entries) for gather in self.lists.values()]

    def sizes(self) -> list[int]:
        return list(map(len, self.guests()))

    def calls(self) -> list[dict[str, int]]:
        """Return the calls to each list since the last look."""
        calls = [dict(gather.calls) for gather in self.lists.values()]
        for gather in self.lists.values():
            gather.calls.clear()
        return calls


def run(venue: Venue, ledger: Any, *addresses: str, fuse: Fuse | None = None, **options: Any) -> GuestListOutcome:
    """One poll says who holds a ticket, enters the spaces, and lets people in."""
    ledger.clock.advance(minutes=5)
    record_holders(ledger, addresses)
    if fuse is None:
        enter_space(ledger, EDITION, *venue.ids)
    step = SpacesStep(
        lists={space: Fused(gather, fuse) if fuse else gather for space, gather in venue.lists.items()},
        ledger=ledger,
        pseudonymizer=PSEUDONYMIZER,
        exclusive=nullcontext,
        poll_id=options.pop("poll_id", uuid4().hex),
        **options,
    )
    return step.run(PARTITION, holders(*addresses))


def run_single(gather: FakeGather, ledger: Ledger, space_id: str, *addresses: str) -> None:
    ledger.clock.advance(minutes=5)
    record_holders(ledger, addresses)
    enter_space(ledger, EDITION, space_id)
    step = GuestListStep(
        gather, ledger, PSEUDONYMIZER, nullcontext, uuid4().hex, space=Space(space_id).digest
    )  # fmt: skip
    step.run(PARTITION, holders(*addresses))


def recorded(ledger: Ledger, space_id: str) -> set[str]:
    digest = Space(space_id).digest
    return {
        key
        for key, grant in current_grants(ledger, EDITION).items()
        if grant.space_digest == digest and grant.state == "granted"
    }


# -- the setting --------------------------------------------------------------------------------------


def test_one_space_is_written_as_ever() -> None:
    for text in (A, C, "AbCd\\Py Venue", "AbCd\\North, 2nd floor, left"):
        assert parse_spaces(text) == (Space(text),)
        assert not are_shared(parse_spaces(text))


def test_several_spaces_have_a_capacity_each_but_for_the_last() -> None:
    assert parse_spaces(f"{A}:500,{C}:20, {B}") == (Space(A, 500), Space(C, 20), Space(B))
    assert parse_spaces(f"{A}:500") == (Space(A, 500),)
    assert are_shared(parse_spaces(f"{A}:500"))
    assert split_spaces(f"{A}:500,{B}")[0].digest == Space(A).digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{A},{B}:500", "without a capacity"),
        (f"{A}:5,{A}:6", "twice"),
        (f"{A}:5,EfGh/South", "slash"),
        (f"{A}:5,EfGh\\\\South", "more than one backslash"),
        (f"{A}:5,{B}%20Wing", "percent-encoded"),
    ],
)
def test_a_setting_of_spaces_that_is_wrong_is_refused_with_the_way_out(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"GATHER_SPACE_ID.*{reason}"):
        parse_spaces(text)


def test_a_space_knows_its_part_of_an_address() -> None:
    assert Space("AbCd\\Py Venue, 1/2 組").path == "AbCd/Py%20Venue%2C%201%2F2%20%E7%B5%84"


# -- the decision -------------------------------------------------------------------------------------


def test_newcomers_fill_the_spaces_in_order() -> None:
    a, b = Space(A, 2), Space(B, 1)
    assert assign("wxyz", {a: set(), b: set()}, {}) == {"w": a, "x": a, "y": b}
    assert assign("wx", {a: {"staff", "pending"}, b: set()}, {}) == {"w": b}
    assert assign("wx", {a: {"staff"}, Space(B): set()}, {}) == {"w": a, "x": Space(B)}


def test_somebody_on_a_list_already_belongs_there_however_full_it_is() -> None:
    a, b = Space(A, 5), Space(B, 1)
    assert assign(["speaker"], {a: set(), b: {"speaker", "other"}}, {}) == {"speaker": b}


def test_a_former_space_comes_first_where_it_has_room() -> None:
    a, b = Space(A, 5), Space(B, 1)
    assert assign(["x"], {a: set(), b: set()}, {"x": b}) == {"x": b}
    assert assign(["x"], {a: set(), b: {"y"}}, {"x": b}) == {"x": a}


# -- the lists ----------------------------------------------------------------------------------------


def test_nobody_is_in_two_spaces_and_the_ledger_knows_whose_is_which(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    assert run(venue, ledger, ONE, TWO, THREE).granted == 3
    assert venue.guests() == [{ONE, TWO}, {THREE}]
    assert (recorded(ledger, A), recorded(ledger, B)) == (keys(ONE, TWO), keys(THREE))


def test_without_news_no_list_is_read_and_with_some_only_the_lists_concerned(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO, THREE)
    assert venue.calls() == [{"read": 2, "add": 1}, {"read": 2, "add": 1}]
    run(venue, ledger, ONE, TWO, THREE)
    assert venue.calls() == [{}, {}]
    run(venue, ledger, ONE, TWO, THREE, FOUR)
    assert venue.calls() == [{"read": 1}, {"read": 2, "add": 1}], "a newcomer may be on any list"
    run(venue, ledger, ONE, THREE, FOUR)
    assert venue.calls() == [{"read": 3, "overwrite": 1}, {}]


def test_staff_take_places_and_are_left_where_they_are(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    venue[A].entries["staff@example.org"] = {"affiliation": "Staff"}
    venue[B].entries[ONE] = {"affiliation": "Speaker"}
    outcome = run(venue, ledger, ONE, TWO, THREE)
    assert venue.guests() == [{"staff@example.org", TWO}, {ONE, THREE}]
    assert venue[B].entries[ONE] == {"affiliation": "Speaker"}
    assert outcome.preexisting == 1


def test_where_all_spaces_are_full_people_wait_and_one_text_says_how_many(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:1")
    outcome = run(venue, ledger, ONE, TWO, THREE, FOUR)
    assert outcome.without_place == 2
    [problem] = outcome.lasting
    assert problem.startswith("2 holders wait for a place")
    assert "capacities: 1, 1" in problem
    assert "Raise a capacity" in problem
    venue.change(f"{A}:1,{B}:2,{C}:1")
    assert run(venue, ledger, ONE, TWO, THREE, FOUR).problems == ()
    assert venue.guests() == [{ONE}, {TWO, THREE}, {FOUR}]


def test_a_refund_frees_a_place_without_an_alarm(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:1")
    run(venue, ledger, ONE, TWO)
    outcome = run(venue, ledger, TWO, THREE)
    assert (outcome.revoked, outcome.without_place, outcome.problems) == (1, 1, ())
    run(venue, ledger, TWO, THREE)
    assert venue.guests() == [{THREE}, {TWO}]


def test_buying_again_brings_somebody_back_to_the_same_space_while_it_has_room(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:2,{C}")
    run(venue, ledger, ONE, TWO, THREE)
    run(venue, ledger, THREE)
    run(venue, ledger, THREE, TWO)
    assert venue.guests() == [set(), {TWO, THREE}, set()]
    run(venue, ledger, THREE, TWO, FOUR)
    run(venue, ledger, THREE, TWO, FOUR, ONE)
    assert venue.guests() == [{FOUR}, {TWO, THREE}, {ONE}]


def test_a_lower_capacity_and_another_order_move_nobody(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO, THREE)
    venue.change(f"{B}:1,{A}:0,{C}")
    run(venue, ledger, ONE, TWO, THREE, FOUR)
    assert {space.space_id: set(g.entries) for space, g in venue.lists.items()} == {
        A: {ONE, TWO},
        B: {THREE},
        C: {FOUR},
    }


def test_a_guest_who_vanished_is_put_back_into_the_same_space(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:9")
    run(venue, ledger, ONE, TWO, THREE)
    del venue[A].entries[ONE]
    run(venue, ledger, ONE, TWO, THREE, FOUR)
    assert venue.guests() == [{ONE, TWO}, {THREE, FOUR}]


def test_a_list_that_looks_cut_stops_removals_in_its_space_only(ledger: Ledger) -> None:
    venue, people = Venue(f"{A}:4,{B}:4"), [f"guest-{number}@example.org" for number in range(8)]
    run(venue, ledger, *people)
    venue[A].entries.clear()
    staying = [*people[1:4], *people[5:]]
    outcome = run(venue, ledger, *staying)
    assert any("empty guest list" in problem for problem in outcome.problems)
    assert venue.guests()[1] == set(people[5:])
    assert guest_list_state(ledger, Space(A).digest).doubted_size == 0
    assert guest_list_state(ledger, Space(B).digest).doubted_size is None


def test_a_space_that_cannot_be_read_keeps_newcomers_waiting_and_not_the_refunds_of_others(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO, THREE)
    venue[A].faults.fail("read", Unavailable("Gather", "read guest list", "answered 503"))
    with pytest.raises(Unavailable):
        run(venue, ledger, ONE, TWO, FOUR)
    assert venue.guests() == [{ONE, TWO}, set()]
    run(venue, ledger, ONE, TWO, FOUR)
    assert venue.guests() == [{ONE, TWO}, {FOUR}]


GONE = Misconfigured("Gather", "read guest list", "answered 404: GATHER_SPACE_ID is wrong", status=404)


def delete(venue: Venue, *space_ids: str) -> None:
    for space_id in space_ids:
        venue[space_id].faults.fail("read", GONE, times=20)


def test_a_space_that_gather_does_not_have_any_more_holds_no_newcomer_up(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2,{C}:9")
    run(venue, ledger, ONE, TWO)
    delete(venue, A)
    outcome = run(venue, ledger, ONE, TWO, THREE, FOUR)
    assert outcome.granted == 2
    assert venue.guests()[1:] == [{THREE, FOUR}, set()]
    [problem] = outcome.lasting
    assert "space 1 of GATHER_SPACE_ID" in problem
    assert "2 people belong there" in problem
    assert recorded(ledger, A) == keys(ONE, TWO), "they keep their space until somebody decides"


def test_nobody_of_a_space_that_is_gone_counts_as_removed(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO, THREE)
    delete(venue, A)
    for holding in ((TWO, THREE), (TWO, THREE, FOUR)):  # without a newcomer, and with one
        outcome = run(venue, ledger, *holding)
        assert outcome.revoked == 0
        assert len(outcome.lasting) == 1
        assert keys(ONE) <= current_grants(ledger, EDITION).keys()
    assert venue.guests()[1] == {THREE, FOUR}
    venue[A].faults.mend()
    run(venue, ledger, TWO, THREE, FOUR)
    assert venue.guests() == [{TWO}, {THREE, FOUR}], "the space is back"


def test_a_space_that_is_gone_stays_a_problem_until_it_is_back(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO)
    delete(venue, A)
    run(venue, ledger, ONE, TWO, THREE)
    for _ in range(2):  # runs without anything else to do
        assert len(run(venue, ledger, ONE, TWO, THREE).lasting) == 1
    assert count_lacking(ledger) == 2
    venue[A].faults.mend()
    assert not run(venue, ledger, ONE, TWO, THREE).lasting
    assert count_lacking(ledger) == 0
    assert venue.guests() == [{ONE, TWO}, {THREE}]


def test_refunds_of_a_space_that_is_gone_do_not_use_up_the_limit_of_the_others(ledger: Ledger) -> None:
    venue, people = Venue(f"{A}:20,{B}:20"), [f"guest-{number:02d}@example.org" for number in range(40)]
    run(venue, ledger, *people)
    delete(venue, B)
    staying = [*people[2:20], *people[30:]]
    assert run(venue, ledger, *staying).revoked == 2
    assert set(venue[A].entries) == set(people[2:20])


def test_whoever_left_while_the_list_was_off_may_be_in_the_space_that_is_gone(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:5")
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE, TWO), added_by_us=True, state="assumed")
    delete(venue, A)
    run(venue, ledger, ONE)
    assert keys(TWO) <= current_grants(ledger, EDITION).keys()


def test_where_no_space_is_there_the_service_is_gone_and_that_is_an_error(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    run(venue, ledger, ONE, TWO, THREE)
    delete(venue, A, B)
    for holding in ((ONE, TWO, THREE, FOUR), (TWO, THREE)):
        with pytest.raises(Misconfigured):
            run(venue, ledger, *holding)
    assert not {FOUR} & set().union(*venue.guests())


def test_a_key_without_rights_on_one_space_is_a_doubt_about_newcomers(ledger: Ledger) -> None:
    venue = Venue(f"{A}:2,{B}:2")
    refused = Misconfigured("Gather", "read guest list", "answered 403: the key is wrong or lacks rights", status=403)
    venue[B].faults.fail("read", refused)
    with pytest.raises(Misconfigured):
        run(venue, ledger, ONE)
    assert venue.guests() == [set(), set()]


def test_a_mass_refund_over_all_spaces_removes_nobody_without_a_person(ledger: Ledger) -> None:
    venue, people = Venue(f"{A}:20,{B}:20"), [f"guest-{number}@example.org" for number in range(40)]
    run(venue, ledger, *people)
    staying = [*people[4:20], *people[24:]]
    outcome = run(venue, ledger, *staying)
    assert (outcome.revoked, outcome.waiting_revocations, venue.sizes()) == (0, 8, [20, 20])
    assert run(venue, ledger, *staying, overrides=frozenset({"revoke"})).revoked == 8


# -- the help desk ------------------------------------------------------------------------------------


class NoOrders:
    """A vault without any orders."""

    def read(self, key: str) -> None:
        return None


def described(venue: Venue, ledger: Ledger, who: str) -> list[str]:
    """Return what ``trace --live`` says of somebody and the guest lists."""
    vault, gather = cast(OrdersStore, NoOrders()), cast(GatherClient, venue)
    lines = describe_trace(
        trace(who, vault=vault, ledger=ledger, pseudonymizer=PSEUDONYMIZER, gather=gather, is_live=True)
    )
    return [line.strip() for line in lines if line.strip().startswith(("guest list", "now     Gather"))]


def test_trace_names_the_space_of_a_person_where_there_are_several(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:1")
    run(venue, ledger, ONE, TWO)
    [recorded_there, seen] = described(venue, ledger, TWO)
    assert recorded_there.startswith("guest list  on it, by us, space 2 (South), seen there")
    assert seen == "now     Gather: on the guest list of space 2 (South), as this program writes it"
    venue[A].entries |= venue[B].entries
    assert len(described(venue, ledger, TWO)) == 3, "in both spaces, and both are named"


def test_trace_is_silent_about_the_only_space(ledger: Ledger) -> None:
    venue = Venue(A)
    run_single(venue[A], ledger, A, ONE)
    [recorded_there, seen] = described(venue, ledger, ONE)
    assert recorded_there.startswith("guest list  on it, by us, seen there")
    assert seen == "now     Gather: on the guest list, as this program writes it"


# -- another setting ----------------------------------------------------------------------------------


def test_spaces_beside_the_only_one_move_nobody(ledger: Ledger) -> None:
    gather, venue = FakeGather(), Venue(f"{B}:5,{A}:2,{C}")
    run_single(gather, ledger, A, ONE, TWO)
    venue.lists = {space: gather if space.space_id == A else g for space, g in venue.lists.items()}
    run(venue, ledger, ONE, TWO, THREE)
    assert venue.guests() == [{THREE}, {ONE, TWO}, set()]
    assert {grant.period for grant in current_grants(ledger, EDITION).values()} == {1}
    enter_space(ledger, EDITION, A, B)
    with pytest.raises(LedgerError, match="1 people were let into 1 spaces that GATHER_SPACE_ID does not name"):
        enter_space(ledger, EDITION, A)


def test_a_space_with_people_is_not_forgotten(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:1")
    run(venue, ledger, ONE)
    keep_counts(ledger, [refuse_lost_spaces(ledger, EDITION, A)])  # nobody is in the other one
    refuse_lost_spaces(ledger, "2032", C, B)
    with pytest.raises(LedgerError, match=r"1 people .*:0"):
        refuse_lost_spaces(ledger, EDITION, B, C)
    run(venue, ledger, ONE, TWO)
    with pytest.raises(LedgerError, match=r"1 people "):
        refuse_lost_spaces(ledger, EDITION, A)  # the count that was kept is out of date
    run(venue, ledger, TWO)
    run(venue, ledger, TWO)
    enter_space(ledger, EDITION, A)
    assert not has_space_changed(ledger, A)
    assert guest_list_state(ledger).space_digest == Space(A).digest


def test_the_only_space_may_become_another_single_one(ledger: Ledger) -> None:
    run_single(FakeGather(), ledger, A, ONE, TWO)
    assert has_space_changed(ledger, B)
    assert not has_space_changed(ledger, A, B)
    gather = FakeGather()
    run_single(gather, ledger, B, ONE, TWO)
    assert set(gather.entries) == {ONE, TWO}
    assert recorded(ledger, B) == keys(ONE, TWO)


def test_people_let_in_while_the_list_was_off_get_a_space(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:5")
    venue[B].entries[THREE] = entry()
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE, TWO, THREE), added_by_us=True, state="assumed")
    run(venue, ledger, ONE, TWO)
    assert venue.guests() == [{ONE}, {TWO}], "who has left is looked for on every list"


def test_whom_a_rebuilt_ledger_has_still_to_let_in_finds_a_place_like_a_newcomer(ledger: Ledger) -> None:
    venue = Venue(f"{A}:1,{B}:5")
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE, TWO, THREE), added_by_us=True)
    run(venue, ledger, ONE, TWO, THREE)
    assert venue.guests() == [{ONE}, {TWO, THREE}]
    assert (recorded(ledger, A), recorded(ledger, B)) == (keys(ONE), keys(TWO, THREE))


# -- killed between any two calls ---------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_any_moment_nobody_is_in_two_spaces() -> None:
    ledger = memory_ledger(FakeClock())
    moment, moments = 0, 1
    while moment < moments:
        empty_ledger(ledger)
        venue = Venue(f"{A}:2,{B}:2,{C}")
        run(venue, ledger, ONE, TWO)
        run(venue, ledger, TWO)
        fuse = Fuse(moment)
        try:
            run(venue, fused_ledger(ledger, fuse), TWO, THREE, FOUR, fuse=fuse)
        except Killed:
            moments = moment + 2
        ledger.clock.advance(hours=1)
        for _ in range(2):
            run(venue, ledger, TWO, THREE, FOUR, ONE)
        assert sorted(map(len, venue.guests())) == [0, 2, 2], moment
        assert set().union(*venue.guests()) == {ONE, TWO, THREE, FOUR}
        assert [recorded(ledger, space_id) for space_id in venue.ids] == [keys(*guests) for guests in venue.guests()]
        moment += 1
    assert moment > 20


# -- a season -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_1200_holders_over_three_spaces_of_500_after_refunds_and_repurchases(ledger: Ledger, seed: int) -> None:
    """Nobody is in two spaces, nobody is without one, and whoever stays is never moved."""
    chance = random.Random(seed)
    venue = Venue(f"{A}:500,{B}:500,{C}:500")
    for number in range(20):
        venue[A].entries[f"staff-{number}@example.org"] = {"affiliation": "Staff"}
    people = [f"buyer-{number}@example.org" for number in range(1400)]
    holding = set(people[:1200])
    run(venue, ledger, *sorted(holding))
    assert venue.sizes() == [500, 500, 220]
    for _ in range(5):
        before = {guest: number for number, guests in enumerate(venue.guests()) for guest in guests}
        leaving = set(chance.sample(sorted(holding), 60))
        joining = set(chance.sample(sorted(set(people) - holding), 60))
        holding = (holding - leaving) | joining
        for _ in range(2):
            outcome = run(venue, ledger, *sorted(holding))
        lists = venue.guests()
        guests = [guest for one in lists for guest in one if guest.startswith("buyer")]
        assert (len(guests), set(guests)) == (1200, holding), "nobody in two, nobody without"
        assert max(map(len, lists)) <= 500
        moved = {guest for number, one in enumerate(lists) for guest in one if before.get(guest, number) != number}
        assert moved <= joining
        assert outcome.problems == ()
    assert sum(guest.startswith("staff") for guest in lists[0]) == 20
