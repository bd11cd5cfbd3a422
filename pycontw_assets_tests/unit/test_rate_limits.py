"""Calls stay under a service's windows: in one process, and in all that use one ledger."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pycontw_assets.api.rate_limits import RateLimiter
from pycontw_assets.ledger.database.engine import open_engine
from pycontw_assets.ledger.database.tables import rate_slots
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.rate_slots import SharedRateLimiter, slowed_rate
from pycontw_assets.sandbox.klaviyo.limits import windows_of
from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS

PATIENT = 100_000.0
LATENESS = 0.25  # of a call behind its slot, which the shared limiter allows for


class SettableClock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.engine.dispose()


@pytest.fixture
def shared(ledger: Ledger, clock: SettableClock) -> Callable[..., SharedRateLimiter]:
    """Limiters of as many processes as asked for."""
    return lambda windows, **options: SharedRateLimiter(lambda: ledger, "Shop", windows, clock=clock, **options)


def test_every_window_of_a_group_is_kept(clock: SettableClock) -> None:
    limiter = RateLimiter({"posts": [(2, 1), (5, 60)], "reads": [(100, 1)]}, clock)
    assert [limiter.reserve("posts", 100) for _ in range(7)] == [0, 0, 1, 1, 2, 60, 60]
    assert limiter.reserve("reads", 100) == 0


def test_a_rate_that_we_chose_ourselves_is_used_whole(shared: Callable[..., SharedRateLimiter]) -> None:
    """Windows a quarter longer would read 16 attendees a second instead of 20."""
    limiter = shared({"attendees": [(20, 1)]}, bundle=2, lateness=0.0)
    assert [limiter.reserve("attendees", 100) for _ in range(41)][-1] == 2.0


def test_a_slot_beyond_patience_is_not_taken(clock: SettableClock) -> None:
    limiter = RateLimiter({"posts": [(1, 60)]}, clock)
    limiter.reserve("posts", 0)
    assert limiter.reserve("posts", 30) == 60
    clock.now += 60
    assert limiter.reserve("posts", 0) == 0


def test_processes_of_one_ledger_share_every_window(
    shared: Callable[..., SharedRateLimiter], clock: SettableClock
) -> None:
    windows = {"posts": [(2, 1), (5, 60), (6, 86_400)], "reads": [(100, 1)]}
    one, other = shared(windows), shared(windows)
    waits = [limiter.reserve("posts", 100) for limiter in (one, other, one, other, one, other)]
    assert waits == pytest.approx([0, 0, 1 + LATENESS, 1 + LATENESS, 2 + 2 * LATENESS, 60 + LATENESS])
    assert one.reserve("posts", 100) == pytest.approx(86_400 + LATENESS)
    assert other.reserve("reads", 0) == 0


def test_processes_take_no_slot_beyond_patience(shared: Callable[..., SharedRateLimiter], clock: SettableClock) -> None:
    one, other = shared({"posts": [(1, 60)]}), shared({"posts": [(1, 60)]})
    one.reserve("posts", 0)
    assert other.reserve("posts", 30) == pytest.approx(60 + LATENESS)
    clock.now += 60 + LATENESS
    assert one.reserve("posts", 0) == 0


@pytest.mark.parametrize("bundle", [1, 3, 10])
def test_no_stretch_of_time_exceeds_its_window(
    shared: Callable[..., SharedRateLimiter], clock: SettableClock, bundle: int
) -> None:
    limiters = [shared({"posts": [(10, 1), (40, 20)]}, bundle=bundle) for _ in range(3)]
    starts = []
    for number in range(120):
        starts.append(clock.now + limiters[number % 3].reserve("posts", PATIENT))
        clock.now += 0.01
    starts.sort()
    for calls, seconds in ((10, 1), (40, 20)):
        assert all(later - earlier >= seconds for earlier, later in zip(starts, starts[calls:], strict=False))


def test_a_bundle_is_taken_in_one_transaction_and_used_up(
    shared: Callable[..., SharedRateLimiter], ledger: Ledger
) -> None:
    begun: list[object] = []
    limiter = shared({"posts": [(20, 1)]}, bundle=10)
    limiter.reserve("posts", 0)
    sa.event.listen(ledger.engine, "begin", begun.append)
    assert [limiter.reserve("posts", 0) for _ in range(9)] == [0] * 9
    assert begun == []
    assert limiter.reserve("posts", 0) == 0
    assert len(begun) == 1


def test_a_bundle_has_a_bound(shared: Callable[..., SharedRateLimiter], ledger: Ledger) -> None:
    """A rate of a billion a second must not write a tenth of it in one transaction, with the ledger locked."""
    shared({"posts": [(10**9, 1)]}, bundle=10**8).reserve("posts", 0)
    with ledger.engine.connect() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(rate_slots)) == 100


def test_unused_slots_of_a_bundle_are_lost(shared: Callable[..., SharedRateLimiter], clock: SettableClock) -> None:
    limiter = shared({"posts": [(10, 1)]}, bundle=10)
    limiter.reserve("posts", 0)
    clock.now += 1
    assert limiter.reserve("posts", 10) == pytest.approx(LATENESS)


def test_outdated_slots_are_deleted(
    shared: Callable[..., SharedRateLimiter], clock: SettableClock, ledger: Ledger
) -> None:
    limiter = shared({"posts": [(1, 1), (100, 60)]})
    for _ in range(5):
        limiter.reserve("posts", 10)
    clock.now += 3600
    limiter.reserve("posts", 10)
    with ledger.engine.connect() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(rate_slots)) == 1


def test_a_clock_that_was_set_back_keeps_nobody_waiting(
    shared: Callable[..., SharedRateLimiter], clock: SettableClock
) -> None:
    limiter = shared({"posts": [(1, 1)]})
    limiter.reserve("posts", 0)
    clock.now -= 7200
    assert limiter.reserve("posts", 0) == 0


def test_without_a_ledger_each_process_has_its_own_limit() -> None:
    limiter = SharedRateLimiter(lambda: None, "Shop", {"posts": [(1, 60)]})
    assert limiter.reserve("posts", 0) == 0
    assert limiter.reserve("posts", 0) > 59


def test_a_broken_ledger_fails_no_call(tmp_path: Path) -> None:
    ledger = Ledger("sqlite://")
    ledger.engine = open_engine(f"sqlite:///{tmp_path}/no/such/folder/ledger.sqlite")
    limiter = SharedRateLimiter(lambda: ledger, "Shop", {"posts": [(1, 60)]})
    assert limiter.reserve("posts", 0) == 0
    assert limiter.reserve("posts", 0) > 59


def test_threads_share_a_window_on_either_engine(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    limiters = [SharedRateLimiter(lambda: ledger, "Shop", {"posts": [(10, 3600)]}) for _ in range(3)]
    served: Counter[bool] = Counter()

    def call(limiter: SharedRateLimiter) -> None:
        for _ in range(5):
            served[limiter.reserve("posts", 0) == 0] += 1

    threads = [threading.Thread(target=call, args=(limiter,)) for limiter in limiters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.engine.dispose()
    assert served == {True: 10, False: 5}


@pytest.mark.parametrize(
    ("group", "method", "path"),
    [
        ("lists", "GET", "/api/lists"),
        ("list creation", "POST", "/api/lists"),
        ("list membership", "POST", "/api/lists/{id}/relationships/profiles"),
        ("profiles", "POST", "/api/profile-import"),
        ("profiles", "GET", "/api/profiles"),
        ("imports", "POST", "/api/profile-bulk-import-jobs"),
        ("templates", "POST", "/api/templates"),
        ("campaigns", "POST", "/api/campaign-send-jobs"),
        ("account", "GET", "/api/accounts"),
    ],
)
def test_klaviyos_windows_are_those_it_publishes(group: str, method: str, path: str) -> None:
    assert {seconds: calls for calls, seconds in RATE_LIMITS[group]} == windows_of(method, path)


# -- services that publish no limit ---------------------------------------------------------------------


def slots_of_a_second(limiter: SharedRateLimiter) -> int:
    return sum(limiter.reserve("reads", 100) < 1 for _ in range(40))


def test_an_objection_slows_every_process_down(
    shared: Callable[..., SharedRateLimiter], clock: SettableClock, ledger: Ledger
) -> None:
    one, other = (shared({"reads": [(20, 1)]}, adapts=True) for _ in range(2))
    assert slots_of_a_second(one) == 20
    one.slow_down("reads", "too many requests")
    clock.now += 100
    assert slots_of_a_second(other) == 11  # 10, and what it climbed since
    slowed = slowed_rate(ledger, "Shop", "reads")
    assert slowed is not None
    assert (slowed.per_second, slowed.reason) == (10, "too many requests")


def test_slower_answers_slow_the_calls_down(shared: Callable[..., SharedRateLimiter], ledger: Ledger) -> None:
    limiter = shared({"reads": [(20, 1)]}, adapts=True)
    for number in range(40):
        limiter.answered_in("reads", 0.1 if number < 20 else 2.0)
    slowed = slowed_rate(ledger, "Shop", "reads")
    assert slowed is not None
    assert slowed.reason == "slower answers"


def test_published_limits_stay_as_they_are(shared: Callable[..., SharedRateLimiter], ledger: Ledger) -> None:
    limiter = shared({"reads": [(20, 1)]})
    limiter.slow_down("reads", "too many requests")
    assert slots_of_a_second(limiter) == 20
    assert slowed_rate(ledger, "Shop", "reads") is None
