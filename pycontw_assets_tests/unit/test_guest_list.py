"""Only holders are let in, only our own guests are removed, and every doubt leaves the list alone."""

import copy
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.api.client import Misconfigured, Refused, Unavailable
from pycontw_assets.authorize.gather_client import GuestList
from pycontw_assets.authorize.guest_list import decide, distrust, entry, revoke_limit
from pycontw_assets.authorize.guest_list_step import CHUNK, GuestListOutcome, GuestListStep
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.grants import Grant, current_grants, grants_without_ticket, intend_grants, postpone_grants
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import record_stale_events
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.fakes.fuse import Fuse, Fused, Killed, fused_ledger
from pycontw_assets_tests.fakes.gather import FakeGather
from pycontw_assets_tests.unit.conftest import (
    OTHER_PARTITION,
    PARTITION,
    PSEUDONYMIZER,
    empty_ledger,
    holders,
    keys,
    memory_ledger,
    record_holders,
)

EDITION = PARTITION.edition
SPEAKER = {"speaker@example.org": {"name": "Speaker Desk", "affiliation": "Speaker", "role": "guest", "seat": [1]}}
BY_HAND = {"ByHand@Example.org": {}, "odd@example.org": None}
FOREIGN = {**SPEAKER, **BY_HAND}
ONE, TWO, THREE = "buyer-1@example.org", "buyer-2@example.org", "buyer-3@example.org"
MANY = [f"buyer-{number}@example.org" for number in range(100)]


def run(gather: Any, ledger: Any, *addresses: str, **options: Any) -> GuestListOutcome:
    """One poll says who holds a ticket, then the step does its work."""
    ledger.clock.advance(minutes=5)
    record_holders(ledger, addresses)
    poll_id = options.pop("poll_id", uuid4().hex)
    step = GuestListStep(gather, ledger, PSEUDONYMIZER, nullcontext, poll_id, **options)
    return step.run(PARTITION, holders(*addresses))


def granted(ledger: Ledger) -> set[str]:
    return {key for key, grant in current_grants(ledger, EDITION).items() if grant.state == "granted"}


def period_of(ledger: Ledger, address: str) -> int:
    (key,) = keys(address)
    return current_grants(ledger, EDITION)[key].period


# -- adding -------------------------------------------------------------------------------------------


def test_every_holder_is_let_in_and_counts_once_seen(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    outcome = run(gather, ledger, ONE, TWO, THREE)
    assert gather.entries == {**FOREIGN, ONE: entry(), TWO: entry(), THREE: entry()}
    assert outcome == GuestListOutcome(granted=3)
    assert granted(ledger) == keys(ONE, TWO, THREE)


def test_guests_in_our_writing_whom_the_ledger_cannot_explain_stay_and_are_counted(ledger: Ledger) -> None:
    """They were let in after the backup that the ledger was restored from. A speaker is somebody else's guest."""
    gather = FakeGather({TWO: entry(), "speaker@example.org": {"affiliation": "Speaker"}})
    outcome = run(gather, ledger, ONE)
    [hint] = outcome.hints
    assert hint.startswith("1 guests look as if this program had let them in")
    assert outcome.problems == ()
    assert run(gather, ledger, ONE, TWO).hints == (), "a ticket explains it"
    outcome = run(gather, ledger, ONE, THREE)
    assert len(outcome.hints) == 1, "given back: somebody else may have added this guest"
    assert TWO in gather.entries
    assert TWO not in str(outcome)


def test_a_stale_event_may_explain_every_guest(ledger: Ledger) -> None:
    record_stale_events(ledger, EDITION, ["2031-corporate-90002"])
    assert run(FakeGather({TWO: entry()}), ledger, ONE).hints == ()


def test_guests_whom_we_added_need_no_explanation(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    assert run(gather, ledger, ONE, configured_limit=0).hints == (), "the removal waits for a person"
    assert run(gather, ledger, ONE).hints == ()


def test_an_entry_names_nobody() -> None:
    assert entry() == {"name": "", "role": "guest", "affiliation": "Attendee"}


def test_with_nothing_to_do_gather_is_not_called(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE)
    gather.calls.clear()
    run(gather, ledger, ONE)
    assert not gather.calls


def test_a_thousand_newcomers_cost_a_handful_of_calls(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, *(f"buyer-{number}@example.org" for number in range(2 * CHUNK)))
    assert sum(gather.calls.values()) == 4


def test_a_preexisting_entry_stays_as_it_is(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    outcome = run(gather, ledger, "speaker@example.org", "byhand@example.org")
    assert gather.entries == FOREIGN
    assert (outcome.preexisting, gather.calls["add"]) == (2, 0)
    assert granted(ledger) == keys("speaker@example.org", "byhand@example.org")


HIDDEN = "bu\u200byer-1@example.org"  # nobody can sign in with it


def test_a_guest_in_a_hidden_spelling_is_added_in_the_deliverable_one(ledger: Ledger) -> None:
    for listed in ({HIDDEN: entry()}, {HIDDEN: SPEAKER["speaker@example.org"]}, {f"{ONE}.": entry()}):
        empty_ledger(ledger)
        gather = FakeGather(listed)
        run(gather, ledger, ONE)
        assert gather.entries == {**listed, ONE: entry()}
        assert granted(ledger) == keys(ONE)


def test_somebody_let_in_under_a_hidden_spelling_is_added_when_the_list_is_read_next(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE)
    gather.entries = {HIDDEN: entry()}
    run(gather, ledger, ONE)
    assert gather.entries == {HIDDEN: entry()}, "nothing else is due"
    outcome = run(gather, ledger, ONE, TWO)
    assert gather.entries == {HIDDEN: entry(), ONE: entry(), TWO: entry()}
    assert (outcome.unconfirmed, outcome.problems, period_of(ledger, ONE)) == (0, (), 1)
    for _ in range(2):
        run(gather, ledger, TWO)
    assert gather.entries == {TWO: entry()}, "every spelling of a refunded guest leaves"


def test_a_domain_in_letters_is_the_same_guest(ledger: Ledger) -> None:
    listed = {"buyer-1@例え.example.org": {"affiliation": "Speaker"}}
    gather = FakeGather(listed)
    assert run(gather, ledger, "buyer-1@xn--r8jz45g.example.org").preexisting == 1
    assert gather.entries == listed


def test_a_guest_of_an_older_ledger_is_recognised_by_the_entry(ledger: Ledger) -> None:
    """The orders that held the spelling are gone. The entry tells whose grant it is, so it can be taken back."""
    [old_key] = {PSEUDONYMIZER.digest(HIDDEN)}
    intend_grants(ledger, EDITION, PARTITION.key, [old_key], added_by_us=True, state="granted")
    gather = FakeGather({HIDDEN: entry(), **FOREIGN})
    run(gather, ledger)
    assert gather.entries == FOREIGN
    assert current_grants(ledger, EDITION) == {}


def test_an_addition_counts_once_it_is_seen(ledger: Ledger) -> None:
    """The service once took a list it could not read, answered 200 and let nobody in."""
    gather = FakeGather()
    gather.ignored = {TWO}
    outcome = run(gather, ledger, ONE, TWO)
    assert granted(ledger) == keys(ONE)
    assert outcome.unconfirmed == 1
    assert any("1 guests" in problem for problem in outcome.problems)


@pytest.mark.long
def test_an_addition_without_effect_is_tried_again_for_ever(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.ignored = {ONE}
    for attempts in range(1, 61):
        ledger.clock.advance(days=1)  # type: ignore[attr-defined]
        run(gather, ledger, ONE)
        assert gather.calls["add"] == attempts
    gather.ignored = set()
    ledger.clock.advance(days=1)  # type: ignore[attr-defined]
    run(gather, ledger, ONE)
    assert granted(ledger) == keys(ONE)


def test_an_addition_without_effect_is_followed_by_a_pause(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.ignored = {ONE}
    for _ in range(12):
        run(gather, ledger, ONE)
    assert 3 <= gather.calls["add"] <= 5


def test_one_refused_address_does_not_keep_the_others_out(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.refused = {MANY[42]}
    outcome = run(gather, ledger, *MANY)
    assert gather.entries.keys() == set(MANY) - {MANY[42]}
    assert outcome.unconfirmed == 1
    assert gather.calls["add"] < 20


def test_refusals_are_bounded(ledger: Ledger) -> None:
    """A 400 may be about the space id; halving down to every single guest would take hours of waiting."""
    gather = FakeGather()
    gather.refused = set(MANY)
    with pytest.raises(Refused):
        run(gather, ledger, *MANY)
    assert gather.calls["add"] <= 40
    assert granted(ledger) == set()


def test_several_refused_addresses_are_found_over_a_few_polls(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.refused = set(MANY[::7])
    for _ in range(3):
        run(gather, ledger, *MANY)
    assert gather.entries.keys() == set(MANY) - gather.refused


def test_a_wrong_key_stops_the_step_at_once(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.faults.fail("add", Misconfigured("Gather", "add guests", "answered 403", status=403))
    with pytest.raises(Misconfigured):
        run(gather, ledger, ONE, TWO)
    assert gather.calls["add"] == 1


def test_a_vanished_guest_is_put_back_in_the_same_period(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    del gather.entries[ONE]
    run(gather, ledger, ONE, TWO, THREE)
    assert gather.entries.keys() == {ONE, TWO, THREE}
    assert period_of(ledger, ONE) == 1


def test_a_vanished_guest_counts_as_not_let_in(ledger: Ledger) -> None:
    """Otherwise an invitation that is still open would go to somebody the list does not hold."""
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    del gather.entries[ONE]
    gather.ignored = {ONE}
    run(gather, ledger, ONE, TWO, THREE)
    assert granted(ledger) == keys(TWO, THREE)
    gather.ignored = set()
    run(gather, ledger, ONE, TWO, THREE)
    assert granted(ledger) == keys(ONE, TWO, THREE)


def test_a_preexisting_guest_that_we_put_back_may_be_removed(ledger: Ledger) -> None:
    gather = FakeGather({ONE: {}})
    run(gather, ledger, ONE)
    gather.entries = {}
    run(gather, ledger, ONE, TWO)
    run(gather, ledger, TWO)
    assert gather.entries.keys() == {TWO}


# -- removing -----------------------------------------------------------------------------------------


def test_a_refunded_guest_leaves_and_others_stay_verbatim(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    gather.entries[TWO]["seat"] = 7
    before = copy.deepcopy(gather.entries)
    outcome = run(gather, ledger, TWO)
    del before[ONE]
    assert gather.entries == before
    assert list(gather.entries) == list(before)
    assert outcome == GuestListOutcome(revoked=1)
    assert granted(ledger) == keys(TWO)


def test_every_spelling_of_a_removed_address_goes(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    gather.entries["Buyer-1@Example.ORG"] = entry()
    run(gather, ledger, TWO)
    assert gather.entries.keys() == {TWO}


@pytest.mark.parametrize("spelling", ["Buyer-1@Example.ORG", " buyer-1@example.org"])
def test_a_second_entry_by_others_keeps_its_guest(ledger: Ledger, spelling: str) -> None:
    for entries in ({spelling: SPEAKER["speaker@example.org"], ONE: entry()}, None):
        gather = FakeGather(FOREIGN)
        fresh = memory_ledger(ledger.clock)  # type: ignore[arg-type]
        run(gather, fresh, ONE, TWO)
        if entries is None:
            gather.entries[spelling] = SPEAKER["speaker@example.org"]
        else:
            gather.entries = {**entries, **gather.entries}
        run(gather, fresh, TWO)
        assert gather.entries[spelling] == SPEAKER["speaker@example.org"]


def test_a_preexisting_guest_is_never_removed(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, "speaker@example.org", "byhand@example.org", ONE)
    run(gather, ledger, ONE)
    assert gather.entries == {**FOREIGN, ONE: entry()}
    assert gather.calls["overwrite"] == 0


def test_a_guest_made_a_speaker_stays(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    gather.entries[ONE] = {**entry(), "affiliation": "Speaker"}
    outcome = run(gather, ledger, TWO)
    assert ONE in gather.entries
    assert any("by hand" in problem for problem in outcome.problems)
    assert run(gather, ledger, TWO).problems == ()


def test_a_holder_of_another_event_stays(ledger: Ledger) -> None:
    gather = FakeGather()
    record_holders(ledger, [ONE], OTHER_PARTITION)
    run(gather, ledger, ONE, TWO)
    run(gather, ledger, TWO)
    assert gather.entries.keys() == {ONE, TWO}


def test_buying_again_after_a_removal_begins_a_new_period(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    run(gather, ledger, TWO)
    run(gather, ledger, ONE, TWO)
    assert ONE in gather.entries
    assert period_of(ledger, ONE) == 2


def test_buying_again_before_the_removal_keeps_the_period(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, ONE, TWO)
    gather.faults.fail("overwrite", Unavailable("Gather", "overwrite", "could not connect"))
    with pytest.raises(Unavailable):
        run(gather, ledger, TWO)
    run(gather, ledger, ONE, TWO)
    assert period_of(ledger, ONE) == 1
    assert granted(ledger) == keys(ONE, TWO)


@pytest.mark.parametrize("acted", [True, False])
def test_a_lost_reply_to_a_removal_is_looked_up(ledger: Ledger, acted: bool) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    gather.faults.lose_reply("overwrite", acted=acted)
    outcome = run(gather, ledger, TWO)
    assert gather.entries == {**FOREIGN, TWO: entry()}
    assert outcome.revoked == 1
    assert gather.calls["overwrite"] == (1 if acted else 2)


def test_a_guest_added_by_hand_meanwhile_survives(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    late = {"late@example.org": {"affiliation": "Staff"}}

    def second_read() -> None:
        gather.faults.before("read", lambda: gather.entries.update(late))

    gather.faults.before("read", second_read)
    run(gather, ledger, TWO)
    assert gather.entries == {**FOREIGN, **late, TWO: entry()}


def test_guests_that_vanish_in_a_removal_are_put_back(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)

    def somebody_overwrites_too() -> None:
        gather.faults.before("read", lambda: gather.entries.pop("speaker@example.org"))

    gather.faults.before("overwrite", somebody_overwrites_too)
    outcome = run(gather, ledger, TWO)
    assert gather.entries["speaker@example.org"] == SPEAKER["speaker@example.org"]
    assert any("put back" in problem for problem in outcome.problems)


def test_a_slow_list_is_overwritten_a_few_times_at_most(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    gather.stale_reads = 50
    run(gather, ledger, TWO)
    assert gather.calls["overwrite"] <= 3
    gather.stale_reads = gather._stale_left = 0
    run(gather, ledger, TWO)
    assert gather.entries == {**FOREIGN, TWO: entry()}
    assert granted(ledger) == keys(TWO)


# -- doubt --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        GuestList({}, was_object=False),
        GuestList({}),
        GuestList(dict(FOREIGN)),
        GuestList({address: entry() for address in MANY[:97]}),
    ],
    ids=["array", "empty", "our guests are missing", "shrunken"],
)
def test_a_cut_list_is_not_overwritten(ledger: Ledger, answer: GuestList) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    before = dict(gather.entries)
    gather.reads_as = [answer]
    outcome = run(gather, ledger, *MANY[1:])
    assert gather.entries == before
    assert outcome.waiting_revocations == 1
    assert outcome.problems
    assert run(gather, ledger, *MANY[1:]).revoked == 1


@pytest.mark.parametrize("answer", [GuestList({}, was_object=False), GuestList({}), GuestList(dict(FOREIGN))])
def test_a_list_cut_between_two_looks_is_not_overwritten(ledger: Ledger, answer: GuestList) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    before = dict(gather.entries)
    whole = GuestList(copy.deepcopy(gather.entries))
    gather.reads_as = [whole, answer]
    outcome = run(gather, ledger, *MANY[1:])
    assert gather.entries == before
    assert outcome.revoked == 0
    assert outcome.problems
    assert run(gather, ledger, *MANY[1:]).revoked == 1
    assert gather.entries.keys() == before.keys() - {MANY[0]}


def test_a_doubt_survives_an_addition(ledger: Ledger) -> None:
    """Half of a list with foreign guests was read; adding to it must not make the half the new normal."""
    strangers = {f"staff-{number}@example.org": {"affiliation": "Staff"} for number in range(50)}
    gather = FakeGather(strangers)
    run(gather, ledger, ONE, TWO)
    half = {address: item for address, item in gather.entries.items() if address not in list(strangers)[:40]}
    gather.reads_as = [GuestList(dict(half)), GuestList({**half, THREE: entry()})]
    run(gather, ledger, ONE, TWO, THREE)
    gather.reads_as = [GuestList({**half, THREE: entry()})] * 3
    outcome = run(gather, ledger, TWO, THREE)
    assert outcome.waiting_revocations == 1
    assert strangers.items() <= gather.entries.items()


def test_newcomers_are_let_in_with_any_state_of_the_list(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    gather.entries = {}
    run(gather, ledger, *MANY, "newcomer@example.org")
    assert gather.entries.keys() == {*MANY, "newcomer@example.org"}


def test_an_entry_that_cannot_be_read_lets_newcomers_in_and_keeps_everybody_on_the_list(ledger: Ledger) -> None:
    """To remove somebody means to write the whole list, without that entry. No override changes that."""
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    for overrides in (frozenset[str](), frozenset({"guest-list", "revoke"})):
        gather.reads_as = [GuestList(dict(gather.entries), unreadable=1)]
        outcome = run(gather, ledger, ONE, THREE, overrides=overrides)
        assert gather.calls["overwrite"] == 0
        assert outcome.waiting_revocations == 1
        assert "1 entries of Gather's guest list cannot be read" in outcome.problems[0]
        assert THREE in gather.entries
    assert run(gather, ledger, ONE, THREE).revoked == 1
    assert gather.entries == {**FOREIGN, ONE: entry(), THREE: entry()}


def test_an_entry_that_turns_unreadable_stops_a_removal_that_began(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO)
    gather.reads_as = [GuestList(dict(gather.entries)), GuestList(dict(gather.entries), unreadable=1)]
    outcome = run(gather, ledger, ONE)
    assert (gather.calls["overwrite"], outcome.revoked) == (0, 0)
    assert TWO in gather.entries


def test_an_override_lets_a_doubted_list_be_overwritten(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    for address in MANY[50:60]:
        del gather.entries[address]
    assert run(gather, ledger, *MANY[1:50]).waiting_revocations
    outcome = run(gather, ledger, *MANY[1:50], overrides=frozenset({"guest-list", "revoke"}))
    assert outcome.waiting_revocations == 0
    assert gather.entries.keys() == FOREIGN.keys() | set(MANY[1:50])


def test_an_override_counts_for_the_doubted_list_and_no_shorter_one(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    before = dict(gather.entries)

    def shown(number: int) -> list[GuestList]:
        return [GuestList({address: gather.entries[address] for address in MANY[:number]})] * 9

    word = frozenset({"guest-list"})
    gather.reads_as = shown(60)
    assert run(gather, ledger, *MANY[1:], overrides=word).waiting_revocations, "nobody was asked yet"
    gather.reads_as = shown(50) * 2
    outcome = run(gather, ledger, *MANY[1:], overrides=word, poll_id="of three events")
    assert "10 fewer than when a person was asked" in outcome.problems[0]
    for _ in range(2):
        assert run(gather, ledger, *MANY[1:], overrides=word, poll_id="of three events").waiting_revocations
    assert gather.entries == before
    gather.reads_as = shown(50)
    assert run(gather, ledger, *MANY[1:], overrides=word).waiting_revocations == 0


def test_a_guest_with_two_entries_leaves_without_a_doubt(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, TWO, THREE)
    for address in (ONE, TWO):
        gather.entries[address.upper()] = entry()
    run(gather, ledger, ONE, TWO, THREE, "newcomer@example.org")
    assert run(gather, ledger, THREE, "newcomer@example.org").problems == ()
    assert gather.entries.keys() == {*FOREIGN, THREE, "newcomer@example.org"}


def test_an_override_is_used_up_when_the_list_reads_well(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    before = dict(gather.entries)
    cut = GuestList({address: gather.entries[address] for address in MANY[:50]})
    gather.reads_as = [cut] * 2
    assert run(gather, ledger, *MANY[1:]).waiting_revocations
    gather.reads_as = []
    run(gather, ledger, *MANY, "newcomer@example.org")
    gather.reads_as = [cut] * 2
    outcome = run(gather, ledger, *MANY[1:], "newcomer@example.org", overrides=frozenset({"guest-list"}))
    assert outcome.waiting_revocations == 1
    assert before.items() <= gather.entries.items()


def test_a_crash_in_a_removal_leaves_no_doubt(ledger: Ledger) -> None:
    """We removed five of our guests ourselves, so the next poll must not wait for a person."""
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY)
    gather.faults.lose_reply("overwrite", acted=True)
    gather.faults.before(
        "overwrite", lambda: gather.faults.fail("read", Unavailable("Gather", "read guest list", "answered 500"))
    )
    with pytest.raises(Unavailable):
        run(gather, ledger, *MANY[5:])
    outcome = run(gather, ledger, *MANY[6:])
    assert outcome.problems == ()
    assert gather.entries.keys() == FOREIGN.keys() | set(MANY[6:])
    assert granted(ledger) == keys(*MANY[6:])


def test_more_removals_than_the_limit_wait_for_a_person(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, *MANY)
    outcome = run(gather, ledger, *MANY[11:])
    assert outcome.waiting_revocations == 11
    assert gather.entries.keys() == set(MANY)
    assert any("--allow revoke" in problem for problem in outcome.problems)
    assert run(gather, ledger, *MANY[11:], overrides=frozenset({"revoke"})).revoked == 11


def test_the_limit_counts_all_events_of_one_poll(ledger: Ledger) -> None:
    gather = FakeGather()
    run(gather, ledger, *MANY[:20])
    assert run(gather, ledger, *MANY[3:20], poll_id="one", configured_limit=5).revoked == 3
    assert run(gather, ledger, *MANY[6:20], poll_id="one", configured_limit=5).waiting_revocations == 3
    assert run(gather, ledger, *MANY[6:20], poll_id="two", configured_limit=5).revoked == 3


@given(st.integers(0, 10_000))
def test_the_default_limit_is_the_larger_of_five_and_a_tenth(count: int) -> None:
    assert revoke_limit(None, count) >= max(5, count / 10)
    assert revoke_limit(0, count) == 0


def test_problems_name_nobody(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    gather.ignored = {TWO}
    outcomes = [run(gather, ledger, *MANY, TWO)]
    gather.entries[MANY[0]] = {"affiliation": "Staff"}
    outcomes += [run(gather, ledger, *MANY[3:]), run(gather, ledger)]
    gather.reads_as = [GuestList({})] * 2
    outcomes += [run(gather, ledger, *MANY[50:])]
    assert all(outcome.problems for outcome in outcomes)
    assert "@" not in repr(outcomes)


# -- switched off -------------------------------------------------------------------------------------


def test_switched_off_holders_count_as_let_in(ledger: Ledger) -> None:
    run(None, ledger, ONE, TWO)
    assert find_newcomers(ledger, PARTITION.key, EDITION).keys() == keys(ONE, TWO)


def test_switched_off_additions_in_doubt_are_assumed(ledger: Ledger) -> None:
    """The switch is for the day Gather fails: exactly then intents are open."""
    gather = FakeGather()
    gather.faults.fail("add", Unavailable("Gather", "add guests", "answered 500"))
    with pytest.raises(Unavailable):
        run(gather, ledger, ONE, TWO)
    run(None, ledger, ONE, TWO)
    assert find_newcomers(ledger, PARTITION.key, EDITION).keys() == keys(ONE, TWO)


def test_switched_on_again_everybody_keeps_the_period(ledger: Ledger) -> None:
    run(None, ledger, ONE, "speaker@example.org")
    gather = FakeGather(FOREIGN)
    run(gather, ledger, ONE, "speaker@example.org")
    assert gather.entries == {**FOREIGN, ONE: entry()}
    assert granted(ledger) == keys(ONE, "speaker@example.org")
    assert period_of(ledger, ONE) == period_of(ledger, "speaker@example.org") == 1


def test_switched_on_again_guests_count_once_seen(ledger: Ledger) -> None:
    run(None, ledger, ONE)
    gather = FakeGather()
    gather.ignored = {ONE}
    run(gather, ledger, ONE)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


# -- the pure decision --------------------------------------------------------------------------------

grant_states = st.sampled_from(["intended", "granted", "assumed", "revoking"])
listed_entries = st.sampled_from([entry(), {}, None, "text", {"affiliation": "Speaker"}, {"affiliation": ""}])
pool = st.sampled_from("abcdefgh")


@given(
    st.sets(pool), st.dictionaries(pool, st.tuples(grant_states, st.booleans())), st.dictionaries(pool, listed_entries)
)
def test_no_decision_removes_a_foreign_entry_or_a_holder(
    entitled: set[str], states: dict[str, Any], present: dict[str, Any]
) -> None:
    grants = {
        k: Grant(EDITION, k, 1, PARTITION.key, state, is_added_by_us) for k, (state, is_added_by_us) in states.items()
    }
    without_ticket = {key for key, grant in grants.items() if grant.added_by_us and key not in entitled}
    change = decide(entitled, grants, without_ticket, present)
    for key in change.revoke:
        assert grants[key].added_by_us
        assert key not in entitled
        assert (
            present[key] is None or not isinstance(present[key], dict) or present[key].get("affiliation") != "Speaker"
        )
    assert change.add == entitled - present.keys()
    assert change.preexisting | change.confirm == entitled & present.keys()
    parts = [change.add, change.preexisting, change.confirm, change.revoke, change.end, change.cede]
    assert sum(map(len, parts)) == len(frozenset().union(*parts))


@given(st.integers(1, 500), st.integers(0, 500))
def test_a_list_that_lacks_many_of_our_guests_is_never_trusted(count: int, lacking: int) -> None:
    grants = {str(i): Grant(EDITION, str(i), 1, PARTITION.key, "granted", True) for i in range(count)}
    shown = [str(i) for i in range(min(lacking, count), count)]
    current = GuestList({f"{key}@example.org": {} for key in shown})
    doubt = distrust(current, shown, grants, 0)
    if min(lacking, count) > max(1, count // 100 + 1) or not shown:
        assert doubt is not None
    if lacking == 0:
        assert doubt is None


# -- killed between any two calls ---------------------------------------------------------------------


def revoked_spans(ledger: Ledger) -> list[tuple[str, int]]:
    with ledger.engine.begin() as db:
        rows = db.execute(sa.text("select address_key, period from grants where state = 'revoked'")).all()
    return sorted((row.address_key, row.period) for row in rows)


def test_killed_at_any_moment_the_next_polls_repair_the_list() -> None:
    refunded = (ONE, *MANY[50:53])
    ledger = memory_ledger(FakeClock())
    moment, moments = 0, 1
    while moment < moments:
        empty_ledger(ledger)
        gather = FakeGather(FOREIGN)
        run(gather, ledger, TWO, *refunded)
        fuse = Fuse(moment)
        try:
            run(Fused(gather, fuse), fused_ledger(ledger, fuse), TWO, THREE)
        except Killed:
            moments = moment + 2
        ledger.clock.advance(hours=1)
        run(gather, ledger, TWO, THREE)
        outcome = run(gather, ledger, TWO, THREE)
        assert gather.entries == {**FOREIGN, TWO: entry(), THREE: entry()}, moment
        assert granted(ledger) == keys(TWO, THREE)
        assert period_of(ledger, TWO) == period_of(ledger, THREE) == 1
        # A removal nobody saw through is looked after for some polls.
        looked_for = [(key, 1) for key in grants_without_ticket(ledger, EDITION)]
        assert sorted([*revoked_spans(ledger), *looked_for]) == sorted((key, 1) for key in keys(*refunded))
        assert not outcome.problems
        moment += 1
    assert moment > 20


def test_pauses_between_attempts_stay_below_a_day(ledger: Ledger) -> None:
    intend_grants(ledger, EDITION, PARTITION.key, keys(ONE), added_by_us=True)
    for _ in range(100):
        postpone_grants(ledger, EDITION, keys(ONE), timedelta(minutes=5), timedelta(days=1))
    (grant,) = current_grants(ledger, EDITION).values()
    assert grant.retry_at is not None
    assert grant.retry_at - ledger.clock() == timedelta(days=1)


def test_a_cut_list_turns_no_speaker_into_an_attendee(ledger: Ledger) -> None:
    gather = FakeGather(FOREIGN)
    run(gather, ledger, *MANY[:9], "speaker@example.org")
    gather.reads_as = [GuestList({MANY[0]: entry()})]
    run(gather, ledger, *MANY[:10], "speaker@example.org")
    assert gather.entries["speaker@example.org"] == SPEAKER["speaker@example.org"]
    (key,) = keys("speaker@example.org")
    assert not current_grants(ledger, EDITION)[key].added_by_us


def test_a_write_without_effect_is_tried_again_by_the_next_poll(ledger: Ledger) -> None:
    gather = FakeGather()
    gather.ignored = {ONE}
    assert run(gather, ledger, ONE).unconfirmed == 1
    gather.ignored = set()
    ledger.clock.advance(minutes=-5)  # even if it comes at once
    assert run(gather, ledger, ONE).granted == 1
