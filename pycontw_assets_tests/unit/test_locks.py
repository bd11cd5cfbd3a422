"""One writer at a time: a lock is waited for within bounds, kept while its owner lives, free once it died."""

import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import (
    TTL,
    Busy,
    LockLost,
    LockName,
    check_locks,
    drop_lock,
    drop_locks_for,
    is_dead,
    keep,
    living_owners,
    lock,
    lock_owner,
    process_identity,
    take_lock,
    work_of,
)
from pycontw_assets_tests.fakes.clock import FakeClock
from pycontw_assets_tests.postgres import age_locks

ORDERS = LockName.ORDERS


@pytest.fixture
def ledger(ledger_url: str, clock: FakeClock) -> Ledger:
    """On both engines: each excludes in its own way."""
    return Ledger(ledger_url, clock=clock)


def test_a_lock_is_held_for_the_block(ledger: Ledger) -> None:
    with lock(ledger, ORDERS):
        assert str(lock_owner(ledger, ORDERS)).startswith(process_identity())
    assert lock_owner(ledger, ORDERS) is None


def test_a_lock_is_free_again_after_a_failure(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), lock(ledger, ORDERS):
        raise RuntimeError
    assert lock_owner(ledger, ORDERS) is None


def test_waiting_too_long_names_the_owner(ledger: Ledger, clock: FakeClock) -> None:
    take_lock(ledger, ORDERS, owner="elsewhere/1/1/a", ttl=timedelta(hours=9))
    message = r"orders: process 1 on elsewhere is at work on it for over 1\d s; the next poll tries again"
    with pytest.raises(Busy, match=message), lock(ledger, ORDERS, wait_seconds=10, sleep=clock.sleep):
        pytest.fail("two owners at once")
    assert 10 <= sum(clock.slept) < 11


def test_a_waiting_process_gets_the_lock_when_it_comes_free(ledger: Ledger) -> None:
    take_lock(ledger, ORDERS, owner="elsewhere/1/1/a", ttl=timedelta(hours=9))
    with lock(ledger, ORDERS, sleep=lambda _: drop_lock(ledger, ORDERS, owner="elsewhere/1/1/a")):
        assert str(lock_owner(ledger, ORDERS)).startswith(process_identity())


def test_two_threads_of_one_process_do_not_share_a_lock(ledger: Ledger) -> None:
    with lock(ledger, ORDERS), pytest.raises(Busy), lock(ledger, ORDERS, wait_seconds=0):
        pytest.fail("two owners at once")


def test_the_lock_of_a_dead_process_is_free_at_once(ledger: Ledger) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = process_identity(child.pid)
        take_lock(ledger, ORDERS, owner=f"{identity}/a")
        assert not is_dead(f"{identity}/a")
        with pytest.raises(Busy), lock(ledger, ORDERS, wait_seconds=0):
            pytest.fail("its owner lives")
        child.kill()
    assert is_dead(f"{identity}/a")
    with lock(ledger, ORDERS, wait_seconds=0):
        pass


def test_a_killed_process_nobody_waited_for_is_dead(ledger: Ledger) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = process_identity(child.pid)
    child.kill()
    for _ in range(200):
        if is_dead(identity):
            break
        time.sleep(0.01)
    assert is_dead(identity)
    child.communicate()


def test_a_process_number_used_again_is_another_process() -> None:
    host, pid, started = process_identity().split("/")
    assert not is_dead(f"{host}/{pid}/{started}")
    assert is_dead(f"{host}/{pid}/{int(started) - 1}")


def test_nobody_of_another_machine_boot_or_namespace_is_declared_dead() -> None:
    name, boot, namespace = process_identity().split("/")[0].split("~")
    assert boot
    assert namespace
    gone = 2**22 + 1
    assert is_dead(f"{name}~{boot}~{namespace}/{gone}/1/a")
    for host in (f"not-{name}~{boot}~{namespace}", f"{name}~00000000~{namespace}", f"{name}~{boot}~pid:[1]"):
        assert not is_dead(f"{host}/{gone}/1/a")


def test_where_boot_and_namespace_are_unknown_only_the_deadline_counts() -> None:
    """A hardened unit, or a machine without /proc: two of them may have the same name."""
    assert not is_dead(f"{socket.gethostname()}~~/{2**22 + 1}/1/a")


def test_an_owner_that_stopped_renewing_loses_the_lock(ledger: Ledger, clock: FakeClock) -> None:
    take_lock(ledger, ORDERS, owner="elsewhere/1/1/a")
    clock.advance(seconds=TTL.total_seconds() + 1)
    if ledger.engine.dialect.name == "postgresql":
        age_locks(ledger.engine, TTL.total_seconds() + 1)
    with lock(ledger, ORDERS, wait_seconds=0):
        pass


def test_a_lock_that_cannot_be_dropped_fails_no_work(ledger: Ledger) -> None:
    def refuse(*_: object) -> None:
        raise LedgerError("the server is away")

    with lock(ledger, ORDERS):
        sa.event.listen(ledger.engine, "begin", refuse)
    sa.event.remove(ledger.engine, "begin", refuse)
    assert str(lock_owner(ledger, ORDERS)).startswith(process_identity())


class _ThreeRenewals(threading.Event):
    """A stop signal that lets three renewals pass."""

    waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        return self.waits > 3


def test_one_renewal_that_fails_does_not_end_the_renewing() -> None:
    renewals: list[bool] = []

    def renew() -> bool:
        renewals.append(True)
        if len(renewals) == 1:
            raise LedgerError("the database is locked")
        return True

    keep(renew, _ThreeRenewals())
    assert len(renewals) == 3


def test_a_lost_lock_is_not_renewed_again() -> None:
    renewals: list[bool] = []
    keep(lambda: bool(renewals.append(True)), _ThreeRenewals())
    assert renewals == [True]


# -- a lost lock ------------------------------------------------------------------------------------


def sleep_over_the_deadline(ledger: Ledger, clock: FakeClock) -> None:
    """Let time pass as for a laptop with its lid closed: nothing was renewed meanwhile."""
    clock.advance(seconds=TTL.total_seconds() + 1)
    if ledger.engine.dialect.name == "postgresql":
        age_locks(ledger.engine, TTL.total_seconds() + 1)


def test_a_process_that_slept_finds_its_lock_taken(ledger: Ledger, clock: FakeClock) -> None:
    with lock(ledger, ORDERS, "2031-individual-90001"):
        check_locks()
        sleep_over_the_deadline(ledger, clock)
        assert take_lock(ledger, ORDERS, "2031-individual-90001", owner="elsewhere/1/1/a") is None
        with pytest.raises(LockLost, match="orders of 2031-individual-90001: this process lost its lock"):
            check_locks()
        clock.advance(seconds=-TTL.total_seconds())
        with pytest.raises(LockLost):
            check_locks()
    assert lock_owner(ledger, ORDERS, "2031-individual-90001") == "elsewhere/1/1/a", "it is not dropped for the other"
    check_locks()


def test_a_process_that_slept_goes_on_where_nobody_took_its_lock(ledger: Ledger, clock: FakeClock) -> None:
    with lock(ledger, ORDERS):
        sleep_over_the_deadline(ledger, clock)
        check_locks()
        assert str(lock_owner(ledger, ORDERS)).startswith(process_identity())


def test_a_lock_that_was_lost_stops_calls_that_are_made_at_once(ledger: Ledger, clock: FakeClock) -> None:
    with lock(ledger, ORDERS, work="run-1"):
        drop_locks_for(ledger, ["run-1"])
        sleep_over_the_deadline(ledger, clock)
        with pytest.raises(LockLost):
            ask_at_once(lambda _: check_locks(), range(3))


def test_an_outer_lock_that_was_lost_stops_work_under_an_inner_one(ledger: Ledger, clock: FakeClock) -> None:
    with lock(ledger, LockName.ACCESS_RUN, work="run-1"), lock(ledger, ORDERS):
        drop_locks_for(ledger, ["run-1"])
        sleep_over_the_deadline(ledger, clock)
        with pytest.raises(LockLost, match="access run"):
            check_locks()


def test_a_fresh_lock_is_checked_without_the_ledger(ledger: Ledger) -> None:
    def refuse(*_: object) -> None:
        raise LedgerError("the server is away")

    with lock(ledger, ORDERS):
        sa.event.listen(ledger.engine, "begin", refuse)
        check_locks()
        sa.event.remove(ledger.engine, "begin", refuse)


def test_the_living_owners_of_locks_are_known_with_their_work(ledger: Ledger, clock: FakeClock) -> None:
    names = (LockName.ACCESS_RUN, LockName.TABLE_RUN)
    take_lock(ledger, LockName.TABLE_RUN, "b", owner="elsewhere/1/1/run-2")
    take_lock(ledger, ORDERS, "a", owner="elsewhere/1/1/x")
    with lock(ledger, LockName.ACCESS_RUN, "a", work="run-1"):
        living = living_owners(ledger, names)
        assert {key: work_of(owner) for key, owner in living.items()} == {
            (LockName.ACCESS_RUN, "a"): "run-1",
            (LockName.TABLE_RUN, "b"): "run-2",
        }
    sleep_over_the_deadline(ledger, clock)
    assert living_owners(ledger, names) == {}


def test_no_thread_is_left_behind(ledger: Ledger) -> None:
    before = threading.active_count()
    with lock(ledger, ORDERS):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_an_identity_names_host_process_and_start() -> None:
    host, pid, _started = process_identity().split("/")
    assert (host.split("~")[0], pid) == (socket.gethostname(), str(os.getpid()))
