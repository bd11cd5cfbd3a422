"""What the ledger promises whoever writes to it: one open grant, one invitation, one owner, nothing half."""

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.ledger import Batch, Ledger, LedgerError, Poll, UtcDateTime, batches, invitations
from pycontw_assets.records import EventPartition
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION

EDITION = PARTITION.edition
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Ledger:
    """On disk, as it is in earnest: these tests open it twice and from several threads."""
    return Ledger(ledger_url, clock=clock)


def hold(ledger: Ledger, *held: str, partition: EventPartition = PARTITION, **fields: Any) -> None:
    poll = Poll(partition.key, ledger.clock(), "book", len(held), 0, None, "content", **fields)
    ledger.record_poll(partition.edition, poll, held)


def grant(ledger: Ledger, *granted: str) -> None:
    ledger.intend_grants(EDITION, PARTITION.key, granted, ours=True, state="granted")


def batch(ledger: Ledger, key: str = "b1", partition: EventPartition = PARTITION) -> Batch:
    return Batch(key, EDITION, partition.key, "poll", "open", f"campaign-{key}", ledger.clock())


def spans(ledger: Ledger) -> dict[str, int]:
    return {key: found.span for key, found in ledger.open_grants(EDITION).items()}


# -- identity -----------------------------------------------------------------------------------------


def test_another_pseudonym_key_is_refused_with_the_way_out(ledger: Ledger, ledger_url: str) -> None:
    ledger.check_identity("plain")
    ledger.check_identity("plain")
    with pytest.raises(LedgerError, match=r"pseudonym key.*mail everybody again"):
        Ledger(ledger_url).check_identity("0123456789abcdef")
    ledger.check_identity("plain")


@pytest.mark.parametrize("name", ["schema", "normalisation"])
def test_another_schema_or_normalisation_is_refused(ledger: Ledger, name: str) -> None:
    ledger.check_identity("plain")
    ledger.note(name, "0")
    with pytest.raises(LedgerError, match=name):
        ledger.check_identity("plain")


def test_a_ledger_that_cannot_be_opened_is_told_without_its_url() -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger("sqlite:////nowhere/with/a/secret/ledger.sqlite")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_everything_survives_a_restart(ledger: Ledger, ledger_url: str, clock: FakeClock) -> None:
    hold(ledger, A, B)
    grant(ledger, A)
    ledger.claim(batch(ledger), {A: 1})
    again = Ledger(ledger_url, clock=clock)
    assert again.holders_of(PARTITION.key) == {A, B}
    assert again.open_grants(EDITION) == ledger.open_grants(EDITION)
    assert again.open_batches(PARTITION.key) == [batch(ledger)]


# -- times --------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(timezone.utc)))  # noqa: DTZ001
def test_a_time_comes_back_as_it_was_and_aware(moment: datetime) -> None:
    column = UtcDateTime()
    stored = column.process_bind_param(moment, sa.dialects.sqlite.dialect())
    returned = column.process_result_value(stored, sa.dialects.sqlite.dialect())
    assert returned is not None
    assert abs(returned - moment) <= timedelta(microseconds=1)
    assert returned.tzinfo == timezone.utc


def test_a_poll_comes_back_as_it_was(ledger: Ledger, clock: FakeClock) -> None:
    poll = Poll(PARTITION.key, clock(), None, 3, 1, clock() + MINUTE, "digest", None, "the book is empty")
    ledger.record_poll(EDITION, poll, [A])
    assert ledger.poll_of(PARTITION.key) == poll
    assert ledger.poll_of(OTHER_PARTITION.key) is None


def test_a_poll_does_not_forget_what_was_loaded(ledger: Ledger) -> None:
    hold(ledger, A)
    ledger.record_load(PARTITION.key, "loaded")
    hold(ledger, A, B)
    found = ledger.poll_of(PARTITION.key)
    assert found is not None
    assert found.loaded_digest == "loaded"


# -- events and holdings ------------------------------------------------------------------------------


def test_an_event_keeps_its_first_key_for_good(ledger: Ledger) -> None:
    ledger.register_events([PARTITION])
    ledger.register_events([EventPartition(PARTITION.event_id, "2032", "reserved"), OTHER_PARTITION])
    assert ledger.known_events() == {90001: PARTITION, 90002: OTHER_PARTITION}


def test_an_address_is_entitled_while_any_event_of_the_edition_has_a_ticket_of_it(ledger: Ledger) -> None:
    hold(ledger, A, B)
    hold(ledger, A, partition=OTHER_PARTITION)
    hold(ledger, B)
    assert ledger.entitled(EDITION, [A, B, C]) == {A, B}
    hold(ledger, partition=OTHER_PARTITION)
    assert ledger.entitled(EDITION, [A, B, C]) == {B}
    assert ledger.entitled("2030", [A, B, C]) == set()


# -- grants -------------------------------------------------------------------------------------------


def test_an_address_has_one_open_span_at_most(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.intend_grants(EDITION, PARTITION.key, [A, B], ours=True)
    assert spans(ledger) == {A: 1, B: 1}


def test_the_engine_itself_refuses_a_second_open_span(ledger: Ledger) -> None:
    grant(ledger, A)
    with pytest.raises(sa.exc.IntegrityError), ledger.engine.begin() as db:
        db.exec_driver_sql(
            "insert into grants (edition, address_key, span, partition_key, state, ours, intended_at, attempts)"
            " select edition, address_key, 2, partition_key, state, ours, intended_at, 0 from grants"
        )


def test_a_new_span_begins_only_after_a_real_revocation(ledger: Ledger) -> None:
    grant(ledger, A)
    ledger.set_grants(EDITION, [A], "revoking")
    ledger.intend_grants(EDITION, PARTITION.key, [A], ours=True)
    assert spans(ledger) == {A: 1}
    ledger.set_grants(EDITION, [A], "revoked")
    ledger.intend_grants(EDITION, PARTITION.key, [A], ours=True)
    assert spans(ledger) == {A: 2}


def test_an_ended_span_never_changes_again(ledger: Ledger) -> None:
    grant(ledger, A)
    ledger.set_grants(EDITION, [A], "revoked", revoked_in="one")
    ledger.set_grants(EDITION, [A], "granted")
    assert spans(ledger) == {}
    assert ledger.revoked_in("one") == 1


def test_only_spans_of_ours_without_any_ticket_lapse(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    ledger.intend_grants(EDITION, PARTITION.key, [C], ours=False, state="granted")
    hold(ledger, B, partition=OTHER_PARTITION)
    hold(ledger)
    assert ledger.lapsed_grants(EDITION).keys() == {A}


def test_editions_know_nothing_of_each_other(ledger: Ledger) -> None:
    old = EventPartition(80001, "2030", "individual")
    hold(ledger, A, partition=old)
    ledger.intend_grants("2030", old.key, [A], ours=True, state="granted")
    assert ledger.open_grants(EDITION) == {}
    assert ledger.newcomers(old.key, EDITION) == {}


def test_thousands_of_people_are_no_trouble(ledger: Ledger) -> None:
    many = [f"{number:064d}" for number in range(2500)]
    hold(ledger, *many)
    grant(ledger, *many)
    ledger.claim(batch(ledger), dict.fromkeys(many, 1))
    ledger.accept_batch("b1")
    hold(ledger)
    assert ledger.lapsed_grants(EDITION).keys() == set(many)
    assert ledger.lapsed_invitations(batch(ledger)) == set()  # while they may still enter they may be mailed
    ledger.set_grants(EDITION, many, "revoked")
    assert ledger.lapsed_invitations(batch(ledger)) == set(many)
    assert ledger.open_grants(EDITION) == {}


# -- invitations --------------------------------------------------------------------------------------


def test_a_newcomer_was_let_in_holds_a_ticket_of_the_event_and_is_in_no_batch(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, C)
    ledger.intend_grants(EDITION, PARTITION.key, [B], ours=True)
    assert ledger.newcomers(PARTITION.key, EDITION) == {A: 1}
    ledger.claim(batch(ledger), {A: 1})
    assert ledger.newcomers(PARTITION.key, EDITION) == {}


def test_an_address_can_be_invited_once_per_span_whatever_the_batch(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    ledger.claim(batch(ledger), {A: 1})
    with pytest.raises(LedgerError):
        ledger.claim(batch(ledger, "b2"), {B: 1, A: 1})
    with ledger.engine.begin() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(batches)) == 1
        assert db.scalar(sa.select(sa.func.count()).select_from(invitations)) == 1
    ledger.claim(batch(ledger, "b3"), {A: 2})


def test_of_two_claims_at_the_same_moment_one_wins_whole(ledger: Ledger, ledger_url: str, clock: FakeClock) -> None:
    ledgers = [ledger, *(Ledger(ledger_url, clock=clock) for _ in range(3))]
    barrier, refused = threading.Barrier(len(ledgers)), []

    def claim(number: int) -> None:
        barrier.wait()
        try:
            ledgers[number].claim(batch(ledger, f"b{number}"), {A: 1, B: 1})
        except LedgerError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = ledger.open_batches(PARTITION.key)
    assert len(refused) == 3
    assert [item.address_key for item in ledger.invitations_of(winner.batch_key)] == [A, B]


def test_released_invitations_are_free_for_another_batch(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    ledger.claim(batch(ledger), {A: 1, B: 1})
    ledger.release_invitations("b1", [A])
    assert ledger.newcomers(PARTITION.key, EDITION) == {A: 1}


def test_accepting_a_batch_leaves_the_unreachable_as_they_are(ledger: Ledger) -> None:
    ledger.claim(batch(ledger), {A: 1, B: 1})
    ledger.update_invitations("b1", [B], state="unreachable", reason="HARD_BOUNCE")
    ledger.accept_batch("b1")
    assert ledger.invitation_counts(PARTITION.key) == {"accepted": 1, "unreachable": 1}


def test_what_one_poll_started_is_counted_over_all_its_batches(ledger: Ledger) -> None:
    ledger.claim(batch(ledger, "b1"), {A: 1})
    ledger.claim(batch(ledger, "b2", OTHER_PARTITION), {B: 1, C: 1})
    assert ledger.claimed_in("poll") == 3
    assert ledger.claimed_in("another poll") == 0


def test_a_closed_batch_is_not_open_and_an_accepted_one_is(ledger: Ledger) -> None:
    ledger.claim(batch(ledger, "b1"), {A: 1})
    ledger.claim(batch(ledger, "b2"), {B: 1})
    ledger.accept_batch("b1")
    ledger.close_batch("b2", "empty", None)
    assert [found.batch_key for found in ledger.open_batches(PARTITION.key)] == ["b1"]


# -- the pool of lists --------------------------------------------------------------------------------


def test_a_list_is_leased_to_one_batch_until_it_ended_and_rested(ledger: Ledger, clock: FakeClock) -> None:
    ledger.claim(batch(ledger, "b1"), {A: 1})
    assert ledger.lease_pool_list("b1", ["x"], clock() - MINUTE) == "x"
    assert ledger.lease_pool_list("b1", ["x"], clock() - MINUTE) == "x"
    assert ledger.lease_pool_list("b2", ["x"], clock() - MINUTE) is None
    ledger.close_batch("b1", "sent", "Sent")
    assert ledger.lease_pool_list("b2", ["x"], clock() - MINUTE) is None
    clock.advance(minutes=1)
    assert ledger.lease_pool_list("b2", ["x"], clock() - MINUTE) == "x"


# -- remote names -------------------------------------------------------------------------------------


def test_an_intent_to_create_survives_until_the_thing_has_an_id(ledger: Ledger, clock: FakeClock) -> None:
    ledger.intend_creation("list", "x")
    assert (ledger.remote_id("list", "x"), ledger.creation_intended_at("list", "x")) == (None, clock())
    ledger.record_remote_id("list", "x", "L1")
    assert (ledger.remote_id("list", "x"), ledger.remote_id("template", "x")) == ("L1", None)


# -- leases -------------------------------------------------------------------------------------------


def never(_owner: str) -> bool:
    return False


def test_a_lease_has_one_owner_until_it_is_dropped_expires_or_its_owner_dies(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.take_lease("x", "one", MINUTE, never) is None
    assert ledger.take_lease("x", "one", MINUTE, never) is None
    assert ledger.take_lease("x", "two", MINUTE, never) == "one"
    assert ledger.take_lease("x", "two", MINUTE, lambda owner: owner == "one") is None
    clock.advance(minutes=2)
    assert ledger.lease_owner("x") is None
    assert ledger.take_lease("x", "three", MINUTE, never) is None
    ledger.drop_lease("x", "two")
    assert ledger.lease_owner("x") == "three"
    ledger.drop_lease("x", "three")
    assert ledger.take_lease("x", "two", MINUTE, never) is None


def test_who_lost_a_lease_cannot_renew_it(ledger: Ledger, clock: FakeClock) -> None:
    ledger.take_lease("x", "one", MINUTE, never)
    clock.advance(minutes=2)
    ledger.take_lease("x", "two", MINUTE, never)
    assert ledger.renew_lease("x", "one", MINUTE) is False
    assert ledger.renew_lease("x", "two", MINUTE) is True


def test_of_many_who_want_a_lease_at_once_one_gets_it(ledger_url: str, clock: FakeClock) -> None:
    ledgers = [Ledger(ledger_url, clock=clock) for _ in range(6)]
    barrier, winners = threading.Barrier(len(ledgers)), []

    def take(number: int) -> None:
        barrier.wait()
        if ledgers[number].take_lease("x", str(number), MINUTE, never) is None:
            winners.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
