"""Calls at once: every subject gets its answer, in order, and an error ends the rest."""

import threading
import time

import pytest

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.time_limit import TimeLimit, time_left


def test_every_subject_has_its_answer_in_the_order_asked() -> None:
    assert list(ask_at_once(lambda n: n * n, range(9)).items()) == [(n, n * n) for n in range(9)]
    assert ask_at_once(str, []) == {}


def test_four_subjects_are_asked_about_at_once() -> None:
    four = threading.Barrier(4, timeout=10)
    assert len(ask_at_once(lambda n: four.wait(), range(8))) == 8


def test_an_error_is_raised_and_later_subjects_are_left_alone() -> None:
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        if number == 0:
            raise KeyError(number)
        time.sleep(0.001)

    with pytest.raises(KeyError, match="0"):
        ask_at_once(ask, range(1000))
    assert len(asked) < 1000


def test_the_time_limit_of_the_caller_holds_for_the_calls() -> None:
    with TimeLimit(0):
        assert ask_at_once(lambda _: time_left(), range(5)) == dict.fromkeys(range(5), 0.0)
    assert ask_at_once(lambda _: time_left(), [1]) == {1: float("inf")}


def test_an_error_about_a_later_subject_ends_the_calls_too() -> None:
    asked: list[int] = []

    def ask(number: int) -> None:
        asked.append(number)
        time.sleep(0.3 if number == 0 else 0.001)
        if number == 1:
            raise KeyError(number)

    with pytest.raises(KeyError, match="1"):
        ask_at_once(ask, range(1000))
    assert len(asked) < 20
