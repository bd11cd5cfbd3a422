"""Shapes say what answers look like, and never what they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pycontw_assets.api.answers import parse_json
from pycontw_assets.pipeline.contract.shapes import ANY, Fold, Known, kind_of, known, word

SECRET = "buyer-one@example.org"
CONTRACT = known(
    "id", {"state": word("activated"), "rows": Known(rows=known("name")), "list": Known(keyed=known("role"))}
)


def shapes(*answers: Any, contract: Known = CONTRACT) -> dict[str, Any]:
    fold = Fold(contract)
    for answer in answers:
        fold.add(answer)
    return fold.as_json()


def test_members_are_counted_present_and_missing() -> None:
    seen = shapes({"id": 1}, {"id": None}, {})
    assert seen["id"] == {"seen": 2, "of": 3, "types": {"null": 1, "whole number": 1}, "lengths": [1, 1]}
    assert seen["state"] == {"seen": 0, "of": 3}


def test_a_member_whose_name_is_not_known_is_a_number_only() -> None:
    seen = shapes({"id": 1, SECRET: SECRET, "other": {SECRET: 1}}, {"id": 1})
    assert seen["(all)"]["unknown members"] == {"objects": 1, "most in one": 2}
    assert SECRET not in json.dumps(seen)


def test_names_that_are_data_are_counted_and_classed() -> None:
    seen = shapes({"list": {SECRET: {"role": "guest"}, "speaker@example.org": {}}})
    assert seen["list.(name)"]["kinds"] == {"address": 2}
    assert (seen["list.*.role"]["seen"], seen["list.*.role"]["of"]) == (1, 2)
    assert SECRET not in json.dumps(seen)


def test_a_value_of_a_closed_list_is_named_and_any_other_is_a_length() -> None:
    seen = shapes({"state": "activated"}, {"state": SECRET})
    assert seen["state"]["values"] == {"activated": 1, "another value, 21 characters": 1}


def test_values_outside_a_closed_list_take_a_bounded_room() -> None:
    seen = shapes(*({"state": "x" * length} for length in range(100)))
    assert len(seen["state"]["values"]) == 13
    assert sum(seen["state"]["values"].values()) == 100


def test_rows_of_all_answers_are_counted_together() -> None:
    seen = shapes({"rows": [{"name": "a"}, {"name": "abc"}]}, {"rows": []}, {"rows": [{}]})
    assert seen["rows"]["lengths"] == [0, 2]
    assert seen["rows[].name"] == {
        "seen": 2,
        "of": 3,
        "types": {"text": 2},
        "kinds": {"other text": 2},
        "lengths": [1, 3],
    }


def test_the_places_of_a_row_are_looked_at_one_by_one() -> None:
    seen = shapes([[7001, SECRET], []], contract=Known(rows=Known(places=(ANY,))))
    assert seen["[][0]"] == {"seen": 1, "of": 2, "types": {"whole number": 1}, "lengths": [4, 4]}
    assert SECRET not in json.dumps(seen)


def test_a_value_of_another_shape_than_expected_ends_there() -> None:
    assert shapes(SECRET, [SECRET], None)["(all)"]["types"] == {"list": 1, "null": 1, "text": 1}
    assert shapes({"rows": {"name": SECRET}})["rows"]["types"] == {"object": 1}


def test_an_answer_that_is_nested_without_end_costs_nothing() -> None:
    contract = Known(members={"id": ANY})
    contract = Known(rows=contract)
    for _ in range(100):
        contract = Known(rows=contract)
    _, answer = parse_json(b"[" * 90 + b"]" * 90)
    assert len(shapes(answer, contract=contract)) < 30


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("700101", "digits only"),
        (SECRET, "address"),
        ("https://example.org/venue", "link"),
        ("2031-06-01T02:00:00+00:00", "time with zone"),
        ("2031-06-01T02:00:00", "time without zone"),
        ("測試甲", "other text"),
    ],
)
def test_a_text_belongs_to_one_of_a_few_classes(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_a_number_without_end_is_no_text() -> None:
    _, answer = parse_json(b'{"id": ' + b"9" * 400 + b"}")
    assert shapes(answer)["id"]["types"] == {"oversized number": 1}
