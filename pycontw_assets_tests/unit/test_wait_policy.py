"""Waits of one run grow, are bounded, and end with one more look."""

from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.send_email.wait_policy import WaitPolicy


def test_finished_work_costs_no_wait() -> None:
    slept: list[float] = []
    assert WaitPolicy(sleep=slept.append).until(30, lambda: True)
    assert slept == []


@given(st.floats(0, 600), st.floats(0.1, 5))
def test_waiting_ends_soon_after_the_time_given(seconds: float, step: float) -> None:
    slept: list[float] = []
    asked: list[bool] = []

    def never() -> bool:
        asked.append(False)
        return False

    assert not WaitPolicy(step=step, sleep=slept.append).until(seconds, never)
    assert seconds <= sum(slept) <= seconds + 5
    assert len(asked) == len(slept) + 1
    assert slept == sorted(slept)


@given(st.integers(1, 20))
def test_it_ends_with_the_first_yes(tries: int) -> None:
    answers = iter([False] * (tries - 1) + [True])
    slept: list[float] = []
    assert WaitPolicy(sleep=slept.append).until(10_000, lambda: next(answers))
    assert len(slept) == tries - 1
