"""A list of any length is believed while it lacks only a few entries."""

import pytest

from pycontw_assets.completeness import ATTENDANCE_BOOK, GUEST_LIST, Tolerance


@pytest.mark.parametrize(
    ("tolerance", "expected", "most"),
    [
        (ATTENDANCE_BOOK, 1, 5),
        (ATTENDANCE_BOOK, 50, 5),
        (ATTENDANCE_BOOK, 100, 10),
        (ATTENDANCE_BOOK, 1015, 101),
        (GUEST_LIST, 1, 1),
        (GUEST_LIST, 100, 1),
        (GUEST_LIST, 250, 2),
    ],
)
def test_the_larger_of_number_and_share_may_be_missing(tolerance: Tolerance, expected: int, most: int) -> None:
    assert not tolerance.is_exceeded(most, expected)
    assert tolerance.is_exceeded(most + 1, expected)


def test_nothing_missing_is_never_too_much() -> None:
    assert not GUEST_LIST.is_exceeded(0, 0)
    assert not GUEST_LIST.is_exceeded(-3, 10)
