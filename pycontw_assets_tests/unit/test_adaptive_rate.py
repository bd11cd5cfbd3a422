"""A service that objects is asked half as often, and the rate climbs back slowly."""

from __future__ import annotations

import pytest

from pycontw_assets.api.adaptive_rate import Latency, SlowedRate, rate_in_force, slow_down

NOW = 1_900_000_000.0


def test_an_objection_halves_the_rate() -> None:
    first = slow_down(None, 20, NOW, "too many requests")
    assert first == SlowedRate(10, NOW, "too many requests")
    assert slow_down(first, 20, NOW + 11, "blocked").per_second == pytest.approx(5, abs=0.1)


def test_the_same_objection_counts_once() -> None:
    first = slow_down(None, 20, NOW, "too many requests")
    assert slow_down(first, 20, NOW + 1, "too many requests") is first


def test_the_rate_never_comes_to_a_standstill() -> None:
    slowed = None
    for moment in range(12):
        slowed = slow_down(slowed, 20, NOW + 11 * moment, "blocked")
    assert slowed is not None
    assert slowed.per_second == 1


@pytest.mark.parametrize(("minutes", "rate"), [(0, 10), (3, 12), (15, 20), (600, 20)])
def test_the_rate_climbs_back_within_half_an_hour(minutes: int, rate: float) -> None:
    assert rate_in_force(SlowedRate(10, NOW, "blocked"), 20, NOW + 60 * minutes) == rate


def test_a_clock_set_back_lowers_no_rate() -> None:
    assert rate_in_force(SlowedRate(10, NOW, "blocked"), 20, NOW - 3600) == 10


def test_a_lower_setting_wins() -> None:
    assert rate_in_force(SlowedRate(10, NOW, "blocked"), 5, NOW) == 5


@pytest.mark.parametrize(("usual", "later", "risen"), [(0.1, 0.9, True), (0.1, 0.5, False), (0.01, 0.3, False)])
def test_answers_are_slower_when_most_of_them_are(usual: float, later: float, risen: bool) -> None:
    latency = Latency()
    assert not any(latency.has_risen(usual) for _ in range(20))
    assert any(latency.has_risen(later) for _ in range(20)) is risen


def test_one_slow_answer_is_no_rise() -> None:
    latency = Latency()
    assert not any(latency.has_risen(9.0 if number == 30 else 0.1) for number in range(60))
