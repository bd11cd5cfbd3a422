"""The script of the drill is written in advance: the same for the same seed, with every failure in it."""

from __future__ import annotations

from collections import Counter

import pytest

from pycontw_assets.play.drill.play import INTERVAL
from pycontw_assets.play.drill.sale import PARTS, BuyAgain, Crash, Fail, Pay, Recover, Refund, Sell, Step, Transfer
from pycontw_assets.play.drill.script import FEWEST_ORDERS, MOST_ORDERS, write_script

SEEDS = range(20)


def of(kind: type[Step], script: list[Step]) -> list[Step]:
    return [step for step in script if isinstance(step, kind)]


def test_the_same_seed_writes_the_same_day_and_another_seed_another() -> None:
    assert write_script(60, 7) == write_script(60, 7)
    assert write_script(60, 7) != write_script(60, 8)


@pytest.mark.parametrize("orders", [FEWEST_ORDERS, 60, MOST_ORDERS])
def test_as_many_orders_come_in_as_were_asked_for(orders: int) -> None:
    assert len(of(Sell, write_script(orders, 1))) == orders


@pytest.mark.parametrize("seed", SEEDS)
def test_every_part_fails_once_for_longer_than_a_poll_s_interval(seed: int) -> None:
    script = write_script(FEWEST_ORDERS, seed)
    failed = {step.part: step.at for step in script if isinstance(step, Fail)}
    mended = {step.part: step.at for step in script if isinstance(step, Recover)}
    assert failed.keys() == mended.keys() == set(PARTS)
    assert all(mended[part] - failed[part] > INTERVAL for part in PARTS)


@pytest.mark.parametrize("seed", SEEDS)
def test_somebody_pays_during_every_failure_and_before_the_crash(seed: int) -> None:
    """Otherwise nobody would notice the failure, and a poll without anything to send is not killed while sending."""
    script = write_script(FEWEST_ORDERS, seed)
    paid = [step.at for step in script if isinstance(step, Sell) and step.paid]
    for failure in (*of(Fail, script), *of(Crash, script)):
        next_poll = (failure.at // INTERVAL + 1) * INTERVAL
        assert any(failure.at < at < next_poll for at in paid), failure


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_happens_to_an_order_before_it_is_there(seed: int) -> None:
    script = write_script(60, seed)
    assert [step.at for step in script] == sorted(step.at for step in script)
    sold = {step.order: step for step in script if isinstance(step, Sell)}
    for step in script:
        if isinstance(step, Pay | Refund | Transfer | BuyAgain):
            assert step.at >= sold[step.order].at
            assert sold[step.order].paid is not isinstance(step, Pay)


def test_a_day_has_late_payers_groups_and_every_family() -> None:
    script = write_script(200, 1)
    sold = [step for step in script if isinstance(step, Sell)]
    late = {step.order for step in script if isinstance(step, Pay)}
    unpaid = {step.order for step in sold if not step.paid}
    assert late < unpaid
    assert Counter(step.seats > 1 for step in sold)[True] > 5
    assert {step.family for step in sold} == {"corporate", "individual", "reserved"}
