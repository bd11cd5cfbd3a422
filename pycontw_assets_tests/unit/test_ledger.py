"""The ledger keeps one open grant, one invitation and one owner per lock, and writes nothing half."""

import multiprocessing
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.ledger.batches import (
    Batch,
    accept_batch,
    claim_batch,
    close_batch,
    count_claimed,
    count_invitations,
    find_newcomers,
    invitations_in,
    invitations_without_access,
    record_profiles,
    release_invitations,
    unfinished_batches,
    update_invitations,
)
from pycontw_assets.ledger.database.engine import LedgerError, open_reader
from pycontw_assets.ledger.database.tables import UtcDateTime, batches, invitations, meta
from pycontw_assets.ledger.events import known_events, register_events
from pycontw_assets.ledger.grants import (
    count_revoked,
    current_grants,
    granted_and_others,
    grants_of,
    grants_without_ticket,
    holders_to_let_in,
    intend_grants,
    set_grants,
)
from pycontw_assets.ledger.ledger import Ledger, copy_of
from pycontw_assets.ledger.lists import confirm_members, count_list_changes, intend_members, reserve_pool_list
from pycontw_assets.ledger.locks import LockName, drop_lock, lock_owner, renew_lock, take_lock
from pycontw_assets.ledger.polls import Poll, entitled_among, last_poll, record_load, record_poll, recorded_holders
from pycontw_assets.ledger.remote_ids import creation_intended_at, intend_creation, record_remote_id, remembered_id
from pycontw_assets.pseudonyms import NORMALISATION_VERSION
from pycontw_assets.records import EventPartition
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.postgres import PASSWORD, USER, PostgresServer, age_locks
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION

EDITION = PARTITION.edition
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
MINUTE = timedelta(minutes=1)
ORDERS = LockName.ORDERS


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Ledger:
    """Return a ledger on disk, as in production: these tests open it twice and from several threads."""
    return Ledger(ledger_url, clock=clock)


def hold(ledger: Ledger, *held: str, partition: EventPartition = PARTITION, **fields: Any) -> None:
    poll = Poll(partition.key, ledger.clock(), "book", len(held), 0, None, "content", **fields)
    record_poll(ledger, partition.edition, poll, held)


def grant(ledger: Ledger, *granted: str) -> None:
    intend_grants(ledger, EDITION, PARTITION.key, granted, added_by_us=True, state="granted")


def batch(ledger: Ledger, key: str = "b1", partition: EventPartition = PARTITION) -> Batch:
    return Batch(key, EDITION, partition.key, "poll", "open", f"campaign-{key}", ledger.clock())


def periods(ledger: Ledger) -> dict[str, int]:
    return {key: found.period for key, found in current_grants(ledger, EDITION).items()}


def test_profiles_are_recorded_in_one_batch_only(ledger: Ledger) -> None:
    claim_batch(ledger, batch(ledger, "b1"), {A: 1, B: 1})
    claim_batch(ledger, batch(ledger, "b2"), {A: 2})
    record_profiles(ledger, "b1", {A: "p1", C: "p3"})
    profiles = {key: {i.address_key: i.profile_id for i in invitations_in(ledger, key)} for key in ("b1", "b2")}
    assert profiles == {"b1": {A: "p1", B: None}, "b2": {A: None}}


# -- reads of a tick -----------------------------------------------------------------------------------


def test_only_holders_with_something_to_do_leave_the_database(ledger: Ledger) -> None:
    hold(ledger, A, B, C, "d" * 64)
    hold(ledger, "e" * 64, partition=OTHER_PARTITION)
    grant(ledger, A, B)
    intend_grants(ledger, EDITION, PARTITION.key, [C], added_by_us=True)
    set_grants(ledger, EDITION, [B], "assumed")
    open_grants = current_grants(ledger, EDITION)
    unsettled = {B: open_grants[B], C: open_grants[C], "d" * 64: None}
    assert holders_to_let_in(ledger, PARTITION.key, EDITION, ("granted",)) == unsettled
    del unsettled[B]
    assert holders_to_let_in(ledger, PARTITION.key, EDITION, ("granted", "assumed")) == unsettled


def test_a_holder_whose_period_ended_is_to_be_let_in(ledger: Ledger) -> None:
    hold(ledger, A)
    grant(ledger, A)
    set_grants(ledger, EDITION, [A], "revoked")
    assert holders_to_let_in(ledger, PARTITION.key, EDITION, ("granted",)) == {A: None}


def test_changes_of_the_list_are_counted_in_both_directions(ledger: Ledger) -> None:
    hold(ledger, A, B)
    hold(ledger, C, partition=OTHER_PARTITION)
    assert count_list_changes(ledger, PARTITION.key) == 2
    intend_members(ledger, PARTITION.key, {A: "p1", B: None})
    assert count_list_changes(ledger, PARTITION.key) == 2
    confirm_members(ledger, PARTITION.key, {A, B})
    assert count_list_changes(ledger, PARTITION.key) == 0
    hold(ledger, B, C)
    assert count_list_changes(ledger, PARTITION.key) == 2


# -- identity -----------------------------------------------------------------------------------------


def test_another_pseudonym_key_is_refused(ledger: Ledger, ledger_url: str) -> None:
    ledger.check_identity("plain")
    ledger.check_identity("plain")
    with pytest.raises(LedgerError, match=r"pseudonym key.*mail everybody again"):
        Ledger(ledger_url).check_identity("0123456789abcdef")
    ledger.check_identity("plain")


@pytest.mark.parametrize("version", ["0", str(NORMALISATION_VERSION + 1)])
def test_an_unknown_normalisation_is_refused(ledger: Ledger, version: str) -> None:
    ledger.check_identity("plain")
    with ledger.engine.begin() as db:
        db.execute(sa.update(meta).where(meta.c.name == "normalisation").values(value=version))
    with pytest.raises(LedgerError, match=r"normalisation.*mail everybody again"):
        ledger.check_identity("plain")


def test_a_new_ledger_has_the_normalisation_of_today(ledger: Ledger) -> None:
    ledger.check_identity("plain")
    assert ledger.normalisation == NORMALISATION_VERSION


def test_an_unusable_ledger_is_explained_without_its_url() -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger("sqlite:////nowhere/with/a/secret/ledger.sqlite")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_reader_cannot_write(ledger: Ledger, ledger_url: str) -> None:
    reader = open_reader(ledger_url)
    with reader.connect() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(batches)) == 0
    with pytest.raises(LedgerError), reader.begin() as db:
        db.exec_driver_sql("delete from batches")


def test_everything_survives_a_restart(ledger: Ledger, ledger_url: str, clock: FakeClock) -> None:
    hold(ledger, A, B)
    grant(ledger, A)
    claim_batch(ledger, batch(ledger), {A: 1})
    again = Ledger(ledger_url, clock=clock)
    assert recorded_holders(again, PARTITION.key) == {A, B}
    assert current_grants(again, EDITION) == current_grants(ledger, EDITION)
    assert unfinished_batches(again, PARTITION.key) == [batch(ledger)]


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
    record_poll(ledger, EDITION, poll, [A])
    assert last_poll(ledger, PARTITION.key) == poll
    assert last_poll(ledger, OTHER_PARTITION.key) is None


def test_a_poll_does_not_forget_the_last_load(ledger: Ledger) -> None:
    hold(ledger, A)
    record_load(ledger, PARTITION.key, "loaded")
    hold(ledger, A, B)
    poll = last_poll(ledger, PARTITION.key)
    assert poll is not None
    assert poll.loaded_digest == "loaded"


# -- events and entitlements ------------------------------------------------------------------------------


def test_an_event_keeps_its_first_key_for_good(ledger: Ledger) -> None:
    register_events(ledger, [PARTITION])
    register_events(ledger, [EventPartition(PARTITION.event_id, "2032", "reserved"), OTHER_PARTITION])
    assert known_events(ledger) == {90001: PARTITION, 90002: OTHER_PARTITION}


def test_a_ticket_of_any_event_entitles(ledger: Ledger) -> None:
    hold(ledger, A, B)
    hold(ledger, A, partition=OTHER_PARTITION)
    hold(ledger, B)
    assert entitled_among(ledger, EDITION, [A, B, C]) == {A, B}
    hold(ledger, partition=OTHER_PARTITION)
    assert entitled_among(ledger, EDITION, [A, B, C]) == {B}
    assert entitled_among(ledger, "2030", [A, B, C]) == set()


# -- grants -------------------------------------------------------------------------------------------


def test_an_address_has_one_open_period_at_most(ledger: Ledger) -> None:
    for _ in range(3):
        intend_grants(ledger, EDITION, PARTITION.key, [A, B], added_by_us=True)
    assert periods(ledger) == {A: 1, B: 1}


def test_the_database_refuses_a_second_open_period(ledger: Ledger) -> None:
    grant(ledger, A)
    with pytest.raises(sa.exc.IntegrityError), ledger.engine.begin() as db:
        db.exec_driver_sql(
            "insert into grants"
            " (edition, address_key, period, partition_key, state, added_by_us, intended_at, attempts)"
            " select edition, address_key, 2, partition_key, state, added_by_us, intended_at, 0 from grants"
        )


def test_a_new_period_begins_only_after_a_revocation(ledger: Ledger) -> None:
    grant(ledger, A)
    set_grants(ledger, EDITION, [A], "revoking")
    intend_grants(ledger, EDITION, PARTITION.key, [A], added_by_us=True)
    assert periods(ledger) == {A: 1}
    set_grants(ledger, EDITION, [A], "revoked")
    intend_grants(ledger, EDITION, PARTITION.key, [A], added_by_us=True)
    assert periods(ledger) == {A: 2}


def test_an_ended_period_never_changes_again(ledger: Ledger) -> None:
    grant(ledger, A)
    set_grants(ledger, EDITION, [A], "revoked", revoked_in="one")
    set_grants(ledger, EDITION, [A], "granted")
    assert periods(ledger) == {}
    assert count_revoked(ledger, "one") == 1


def test_only_periods_added_by_us_end_without_a_ticket(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    intend_grants(ledger, EDITION, PARTITION.key, [C], added_by_us=False, state="granted")
    hold(ledger, B, partition=OTHER_PARTITION)
    hold(ledger)
    assert grants_without_ticket(ledger, EDITION).keys() == {A}


def test_the_periods_of_some_addresses_are_those_of_all(ledger: Ledger) -> None:
    grant(ledger, A, B)
    intend_grants(ledger, EDITION, PARTITION.key, [C], added_by_us=False)
    set_grants(ledger, EDITION, [B], "revoked")
    everybody = current_grants(ledger, EDITION)
    assert everybody.keys() == {A, C}
    assert grants_of(ledger, EDITION, [A, B, C]) == everybody
    assert grants_of(ledger, EDITION, [C]) == {C: everybody[C]}
    assert grants_of(ledger, "2030", [A]) == grants_of(ledger, EDITION, []) == {}
    assert granted_and_others(ledger, EDITION) == ({A}, {C: everybody[C]})
    intend_grants(ledger, EDITION, PARTITION.key, [B], added_by_us=True)
    assert periods(ledger) == {A: 1, B: 2, C: 1}


def test_editions_know_nothing_of_each_other(ledger: Ledger) -> None:
    old = EventPartition(80001, "2030", "individual")
    hold(ledger, A, partition=old)
    intend_grants(ledger, "2030", old.key, [A], added_by_us=True, state="granted")
    assert current_grants(ledger, EDITION) == {}
    assert find_newcomers(ledger, old.key, EDITION) == {}


def test_thousands_of_people_are_handled(ledger: Ledger) -> None:
    many = [f"{number:064d}" for number in range(2500)]
    hold(ledger, *many)
    grant(ledger, *many)
    claim_batch(ledger, batch(ledger), dict.fromkeys(many, 1))
    accept_batch(ledger, "b1")
    hold(ledger)
    assert grants_without_ticket(ledger, EDITION).keys() == set(many)
    assert invitations_without_access(ledger, batch(ledger)) == set()  # while they may still enter they may be mailed
    set_grants(ledger, EDITION, many, "revoked")
    assert invitations_without_access(ledger, batch(ledger)) == set(many)
    assert current_grants(ledger, EDITION) == {}


# -- invitations --------------------------------------------------------------------------------------


def test_newcomers_are_let_in_hold_a_ticket_and_have_no_batch(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, C)
    intend_grants(ledger, EDITION, PARTITION.key, [B], added_by_us=True)
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {A: 1}
    claim_batch(ledger, batch(ledger), {A: 1})
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {}


def test_an_address_is_invited_once_per_period(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    claim_batch(ledger, batch(ledger), {A: 1})
    with pytest.raises(LedgerError):
        claim_batch(ledger, batch(ledger, "b2"), {B: 1, A: 1})
    with ledger.engine.begin() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(batches)) == 1
        assert db.scalar(sa.select(sa.func.count()).select_from(invitations)) == 1
    claim_batch(ledger, batch(ledger, "b3"), {A: 2})


def test_one_of_two_claims_at_once_wins_whole(ledger: Ledger, ledger_url: str, clock: FakeClock) -> None:
    ledgers = [ledger, *(Ledger(ledger_url, clock=clock) for _ in range(3))]
    barrier, refused = threading.Barrier(len(ledgers)), []

    def claim(number: int) -> None:
        barrier.wait()
        try:
            claim_batch(ledgers[number], batch(ledger, f"b{number}"), {A: 1, B: 1})
        except LedgerError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = unfinished_batches(ledger, PARTITION.key)
    assert len(refused) == 3
    assert [item.address_key for item in invitations_in(ledger, winner.batch_key)] == [A, B]


def test_released_invitations_are_free_for_another_batch(ledger: Ledger) -> None:
    hold(ledger, A, B)
    grant(ledger, A, B)
    claim_batch(ledger, batch(ledger), {A: 1, B: 1})
    release_invitations(ledger, "b1", [A])
    assert find_newcomers(ledger, PARTITION.key, EDITION) == {A: 1}


def test_accepting_a_batch_leaves_the_unreachable_as_they_are(ledger: Ledger) -> None:
    claim_batch(ledger, batch(ledger), {A: 1, B: 1})
    update_invitations(ledger, "b1", [B], state="unreachable", reason="HARD_BOUNCE")
    accept_batch(ledger, "b1")
    assert count_invitations(ledger, PARTITION.key) == {"accepted": 1, "unreachable": 1}


def test_invitations_of_a_poll_are_counted_over_its_batches(ledger: Ledger) -> None:
    claim_batch(ledger, batch(ledger, "b1"), {A: 1})
    claim_batch(ledger, batch(ledger, "b2", OTHER_PARTITION), {B: 1, C: 1})
    assert count_claimed(ledger, "poll") == 3
    assert count_claimed(ledger, "another poll") == 0


def test_a_closed_batch_is_not_open_and_an_accepted_one_is(ledger: Ledger) -> None:
    claim_batch(ledger, batch(ledger, "b1"), {A: 1})
    claim_batch(ledger, batch(ledger, "b2"), {B: 1})
    accept_batch(ledger, "b1")
    close_batch(ledger, "b2", "empty", None)
    assert [found.batch_key for found in unfinished_batches(ledger, PARTITION.key)] == ["b1"]


# -- the pool of lists --------------------------------------------------------------------------------


def test_a_pool_list_is_reserved_until_it_rested(ledger: Ledger, clock: FakeClock) -> None:
    claim_batch(ledger, batch(ledger, "b1"), {A: 1})
    assert reserve_pool_list(ledger, "b1", ["x"], clock() - MINUTE) == "x"
    assert reserve_pool_list(ledger, "b1", ["x"], clock() - MINUTE) == "x"
    assert reserve_pool_list(ledger, "b2", ["x"], clock() - MINUTE) is None
    close_batch(ledger, "b1", "sent", "Sent")
    assert reserve_pool_list(ledger, "b2", ["x"], clock() - MINUTE) is None
    clock.advance(minutes=1)
    assert reserve_pool_list(ledger, "b2", ["x"], clock() - MINUTE) == "x"


# -- remote names -------------------------------------------------------------------------------------


def test_an_intent_to_create_survives_until_there_is_an_id(ledger: Ledger, clock: FakeClock) -> None:
    intend_creation(ledger, "list", "x")
    assert (remembered_id(ledger, "list", "x"), creation_intended_at(ledger, "list", "x")) == (None, clock())
    record_remote_id(ledger, "list", "x", "L1")
    assert (remembered_id(ledger, "list", "x"), remembered_id(ledger, "template", "x")) == ("L1", None)


# -- locks -------------------------------------------------------------------------------------------


def never(_owner: str) -> bool:
    return False


def pass_time(ledger: Ledger, clock: FakeClock, period: timedelta) -> None:
    """A server's clock cannot be moved, so there the locks are made older instead."""
    clock.advance(seconds=period.total_seconds())
    if ledger.engine.dialect.name == "postgresql":
        age_locks(ledger.engine, period.total_seconds())


def test_a_lock_has_one_owner_until_dropped_expired_or_dead(ledger: Ledger, clock: FakeClock) -> None:
    assert take_lock(ledger, ORDERS, owner="one", ttl=MINUTE, is_dead=never) is None
    assert take_lock(ledger, ORDERS, owner="one", ttl=MINUTE, is_dead=never) is None
    assert take_lock(ledger, ORDERS, owner="two", ttl=MINUTE, is_dead=never) == "one"
    assert take_lock(ledger, ORDERS, owner="two", ttl=MINUTE, is_dead=lambda owner: owner == "one") is None
    pass_time(ledger, clock, 2 * MINUTE)
    assert lock_owner(ledger, ORDERS) is None
    assert take_lock(ledger, ORDERS, owner="three", ttl=MINUTE, is_dead=never) is None
    drop_lock(ledger, ORDERS, owner="two")
    assert lock_owner(ledger, ORDERS) == "three"
    drop_lock(ledger, ORDERS, owner="three")
    assert take_lock(ledger, ORDERS, owner="two", ttl=MINUTE, is_dead=never) is None


def test_a_lost_lock_cannot_be_renewed(ledger: Ledger, clock: FakeClock) -> None:
    take_lock(ledger, ORDERS, owner="one", ttl=MINUTE, is_dead=never)
    pass_time(ledger, clock, 2 * MINUTE)
    take_lock(ledger, ORDERS, owner="two", ttl=MINUTE, is_dead=never)
    assert renew_lock(ledger, ORDERS, owner="one", ttl=MINUTE) is False
    assert renew_lock(ledger, ORDERS, owner="two", ttl=MINUTE) is True


def test_one_of_many_at_once_gets_a_lock(ledger_url: str, clock: FakeClock) -> None:
    ledgers = [Ledger(ledger_url, clock=clock) for _ in range(6)]
    barrier, winners = threading.Barrier(len(ledgers)), []

    def take(number: int) -> None:
        barrier.wait()
        if take_lock(ledgers[number], ORDERS, owner=str(number), ttl=MINUTE, is_dead=never) is None:
            winners.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1


# -- PostgreSQL ---------------------------------------------------------------------------------------


@pytest.fixture
def server_url(postgres: PostgresServer, postgres_database: str) -> Iterator[str]:
    yield postgres.url(postgres_database)
    postgres.empty_database(postgres_database)


@pytest.mark.parametrize("spelling", ["postgres", "postgresql", "postgresql+psycopg"])
def test_the_usual_spellings_of_a_server_are_understood(
    postgres: PostgresServer, postgres_database: str, spelling: str
) -> None:
    ledger = Ledger(postgres.url(postgres_database, driver=spelling))
    record_remote_id(ledger, "list", "name", "value")
    assert remembered_id(ledger, "list", "name") == "value"


def test_many_processes_may_open_an_empty_server_at_once(postgres: PostgresServer) -> None:
    database = postgres.new_database()
    barrier = threading.Barrier(6)

    def open_it(number: int) -> None:
        barrier.wait()
        record_remote_id(Ledger(postgres.url(database)), "list", str(number), "here")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_it, range(6)))
    assert {remembered_id(Ledger(postgres.url(database)), "list", str(number)) for number in range(6)} == {"here"}
    postgres.drop_database(database)


def test_a_missing_driver_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"pip install 'pycontw-assets\[production\]'"):
        Ledger("postgresql://somebody:secret@example.org/ledger")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"port": 1}, "nothing answers there"),
        ({"password": "a-secret"}, "wrong user or password"),
        ({"database": "a-secret"}, "OperationalError"),
        ({"query": {"a-secret": "x"}}, "ProgrammingError"),
        ({"drivername": "nosuch"}, "NoSuchModuleError"),
    ],
    ids=["down", "password", "database", "unknown option", "no such engine"],
)
def test_an_unreachable_server_is_explained_without_secrets(server_url: str, change: dict[str, Any], kind: str) -> None:
    url = sa.make_url(server_url).set(**change).render_as_string(hide_password=False)
    with pytest.raises(LedgerError, match=rf"\(.*{kind}\).*LEDGER_URL") as caught:
        Ledger(url)
    text = "".join(traceback.format_exception(caught.value))
    assert not any(secret in str(caught.value) for secret in ("a-secret", PASSWORD, USER, "127.0.0.1"))
    assert not any(secret in text for secret in ("a-secret", PASSWORD))


def test_a_restarted_server_gets_a_new_connection(postgres: PostgresServer, server_url: str) -> None:
    ledger = Ledger(server_url)
    record_remote_id(ledger, "list", "name", "value")
    postgres.cut_off(ledger.engine.url.database or "")
    assert remembered_id(ledger, "list", "name") == "value"


def test_a_connection_lost_in_a_transaction_leaves_nothing(postgres: PostgresServer, server_url: str) -> None:
    ledger = Ledger(server_url)

    def write() -> None:
        with ledger.engine.begin() as db:
            db.exec_driver_sql("insert into remote_ids values ('list', 'name', 'value', null)")
            postgres.cut_off(ledger.engine.url.database or "")
            db.exec_driver_sql("insert into remote_ids values ('list', 'another', 'value', null)")

    with pytest.raises(LedgerError, match="LEDGER_URL"):
        write()
    assert remembered_id(ledger, "list", "name") is None


def test_waiting_for_a_stuck_transaction_ends(server_url: str) -> None:
    ledger, impatient = Ledger(server_url), Ledger(f"{server_url}?options=-c%20lock_timeout%3D50ms")
    record_remote_id(ledger, "list", "name", "value")
    with ledger.engine.begin() as db:
        db.exec_driver_sql("update remote_ids set remote_id = 'new'")
        with pytest.raises(LedgerError, match=r"LockNotAvailable.*LEDGER_URL"):
            record_remote_id(impatient, "list", "name", "other")
    record_remote_id(impatient, "list", "name", "other")


def test_a_read_only_server_is_reported(postgres: PostgresServer, postgres_database: str) -> None:
    Ledger(postgres.url(postgres_database))
    read_only = Ledger(f"{postgres.url(postgres_database)}?options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(LedgerError, match="ReadOnlySqlTransaction"):
        record_remote_id(read_only, "list", "name", "value")


def test_a_forked_child_uses_no_connection_of_its_parent(server_url: str) -> None:
    ledger = Ledger(server_url)
    backend = _backend(ledger)
    child = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(_backend(ledger) == backend))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert _backend(ledger) == backend


def _backend(ledger: Ledger) -> int:
    with ledger.engine.begin() as db:
        return int(db.scalar(sa.text("select pg_backend_pid()")) or 0)


def test_locks_hold_between_machines_with_other_clocks(server_url: str, clock: FakeClock) -> None:
    slow, fast = Ledger(server_url, clock=clock), Ledger(server_url, clock=FakeClock(clock() + 9 * MINUTE))
    assert take_lock(slow, ORDERS, owner="slow", ttl=MINUTE, is_dead=never) is None
    assert take_lock(fast, ORDERS, owner="fast", ttl=MINUTE, is_dead=never) == "slow"
    assert lock_owner(fast, ORDERS) == "slow"
    drop_lock(slow, ORDERS, owner="slow")
    assert take_lock(fast, ORDERS, owner="fast", ttl=MINUTE, is_dead=never) is None
    age_locks(fast.engine, 61)
    assert take_lock(slow, ORDERS, owner="slow", ttl=MINUTE, is_dead=never) is None


def test_a_lock_renewed_at_the_last_moment_is_not_taken(server_url: str) -> None:
    """A process that saw it expired waits for the renewal that is being written, and looks again."""
    ledger, owner = Ledger(server_url), Ledger(server_url)
    take_lock(owner, ORDERS, owner="one", ttl=MINUTE, is_dead=never)
    age_locks(owner.engine, 61)
    with ThreadPoolExecutor(1) as pool:
        with owner.engine.begin() as db:
            db.exec_driver_sql("update locks set expires_at = expires_at + 120")
            taken = pool.submit(take_lock, ledger, ORDERS, owner="two", ttl=MINUTE, is_dead=never)
            _wait_until(lambda: _waiting(owner) == 1)
        assert taken.result() == "one"


def _waiting(ledger: Ledger) -> int:
    with ledger.engine.begin() as db:
        return int(db.scalar(sa.text("select count(*) from pg_locks where not granted")) or 0)


def _wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_batches_at_once_get_different_lists(server_url: str, clock: FakeClock) -> None:
    names = ["v", "w", "x", "y", "z"]
    for key in names:
        claim_batch(Ledger(server_url, clock=clock), batch(Ledger(server_url), key), {})
    barrier = threading.Barrier(len(names))

    def reserve_one(key: str) -> str | None:
        ledger = Ledger(server_url, clock=clock)
        barrier.wait()
        return reserve_pool_list(ledger, key, names, clock() - MINUTE)

    with ThreadPoolExecutor(len(names)) as pool:
        assert sorted(filter(None, pool.map(reserve_one, names))) == names


@pytest.mark.parametrize("name", ["50% off", "a%20b", "what?mode=memory", "中文%s", "a#b"])
def test_a_ledger_is_in_the_file_that_was_meant(tmp_path: Path, name: str) -> None:
    """A copy for a dry run is in the folder for temporary files, whose path anybody may choose."""
    folder = tmp_path / name
    folder.mkdir()
    file = folder / "ledger.sqlite"
    written = Ledger(file)
    intend_grants(written, "2031", "2031-individual-90001", ["0" * 64], added_by_us=True)
    assert {path.name for path in tmp_path.iterdir()} == {"user", name}
    assert file.stat().st_size > 0
    assert current_grants(Ledger.reading(file), "2031").keys() == {"0" * 64}
    copies = folder / "copies"
    copies.mkdir()
    assert current_grants(copy_of(file, copies), "2031").keys() == {"0" * 64}
