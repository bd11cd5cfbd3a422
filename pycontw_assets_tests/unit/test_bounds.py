"""A value from outside that exceeds the bounds is seen as such, whatever its shape, and costs no time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.api.bounds import (
    OversizedNumber,
    has_half_character,
    is_within,
    plain_text,
    read_float,
    read_integer,
)


def nested(levels: int, shape: str) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if shape == "list" else {"a": value}
    return value


@pytest.mark.parametrize("shape", ["list", "object"])
def test_depth_is_bounded_without_recursion(shape: str) -> None:
    assert is_within(nested(8, shape), levels=8, size=100)
    assert not is_within(nested(9, shape), levels=8, size=100)
    assert not is_within(nested(5000, shape), levels=8, size=100_000)


@pytest.mark.parametrize("value", ["x" * 11, ["x"] * 6, {"abc": "defghijk"}, [["x"] * 3] * 3])
def test_size_counts_characters_and_members(value: Any) -> None:
    assert not is_within(value, levels=8, size=10)
    assert is_within(value, levels=8, size=30)


@pytest.mark.parametrize("value", ["\ud83d", ["a", "\udf1f"], {"\ud83d": 1}, {"a": {"b": "\ud83d"}}])
def test_half_a_character_exceeds_the_bounds_unless_it_may_stay(value: Any) -> None:
    assert not is_within(value, levels=8, size=100)
    assert is_within(value, levels=8, size=100, whole_characters=False)


@given(st.text(st.characters(exclude_categories=())))
def test_a_plain_text_fits_every_store(text: str) -> None:
    plain = plain_text(text, 20)
    assert len(plain) <= 20
    assert "\0" not in plain
    assert plain.encode().decode() == plain
    if "\0" not in text and not has_half_character(text):
        assert plain == text[:20]


def test_a_number_that_no_number_of_ours_holds_keeps_its_spelling() -> None:
    digits = "9" * 5000
    found = json.loads(f"[{digits}, 1e999, -1e999, 12, 1.5]", parse_int=read_integer, parse_float=read_float)
    assert found == [digits, "1e999", "-1e999", 12, 1.5]
    assert [isinstance(item, OversizedNumber) for item in found] == [True, True, True, False, False]
    assert not is_within(found, levels=8, size=100_000)
