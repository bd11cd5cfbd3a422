"""Percentiles of waiting: always a value somebody really waited, never one between two."""

from __future__ import annotations

from pycontw_assets.pipeline.waiting_times import Spread, percentile, spread


def test_nobody_waited_is_no_number() -> None:
    assert spread([]) is None
    assert spread([None]) is None


def test_one_wait_is_all_of_them() -> None:
    assert spread([7.0, None]) == Spread(count=1, median=7.0, p95=7.0, slowest=7.0)


def test_of_a_hundred_waits_five_are_longer_than_the_p95() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert spread(reversed(ordered)) == Spread(count=100, median=50.0, p95=95.0, slowest=100.0)
    assert percentile(ordered, 100) == 100
