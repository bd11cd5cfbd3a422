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

from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import (
    TTL,
    Busy,
    LockName,
    drop_lock,
    is_dead,
    keep,
    lock,
    lock_owner,
    process_identity,
    take_lock,
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
    boot, tick = started.split("-")
    assert is_dead(f"{host}/{pid}/{boot}-{int(tick) - 1}")
    assert is_dead(f"{host}/{pid}/00000000-{tick}")


def test_nobody_on_another_host_is_declared_dead() -> None:
    assert not is_dead(f"not-{socket.gethostname()}/{2**22 + 1}/1/a")


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


class _ThreeRenewals:
    """A stop signal that lets three renewals pass."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self, _seconds: float) -> bool:
        self.waits += 1
        return self.waits > 3


def test_one_renewal_that_fails_does_not_end_the_renewing(ledger: Ledger) -> None:
    begun: list[object] = []

    def refuse_the_first(*_: object) -> None:
        begun.append(_)
        if len(begun) == 1:
            raise LedgerError("the database is locked")

    sa.event.listen(ledger.engine, "begin", refuse_the_first)
    keep(ledger, ORDERS, "", owner="me", stop=_ThreeRenewals())  # type: ignore[arg-type]
    assert len(begun) == 3


def test_no_thread_is_left_behind(ledger: Ledger) -> None:
    before = threading.active_count()
    with lock(ledger, ORDERS):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_an_identity_names_host_process_and_start() -> None:
    host, pid, _started = process_identity().split("/")
    assert (host.split("~")[0], pid) == (socket.gethostname(), str(os.getpid()))
