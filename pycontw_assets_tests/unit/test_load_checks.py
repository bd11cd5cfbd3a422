"""Rows are checked before a table is written."""

from __future__ import annotations

import hashlib
import time

import pandas as pd
import pytest

from pycontw_assets.deidentify.pseudonymize import question_text
from pycontw_assets.load.checks import doubled_keys, malformed_digests, personal_values


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([value], dtype="string[python]") for name, value in columns.items()})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("write to buyer.one@example.org", "an address"),
        ("0900-000-123", "a phone"),
        ("call 0900000123 please", "a phone"),
        ("+886 900 000 123", "a phone"),
        ("A123456789", "a national id"),
    ],
)
def test_a_value_that_looks_personal_is_named_and_not_shown(value: str, kind: str) -> None:
    assert personal_values(frame(ticket_name=value)) == [f"ticket_name: 1 values look like {kind}"]


@pytest.mark.parametrize(
    "value",
    [
        "Early Bird 2031",
        "一般票 Regular @ PyCon",
        hashlib.sha256(b"0900000123").hexdigest(),
        '[{"question": "@ #", "answer_sha256": "a0912345678"}]',
        "0" + "9" * 30,
    ],
)
def test_words_of_the_organiser_and_digests_do_not_look_personal(value: str) -> None:
    assert personal_values(frame(ticket_name=value)) == []


def test_a_hashed_column_holds_digests_only() -> None:
    assert malformed_digests(frame(email_sha256=hashlib.sha256(b"x").hexdigest())) == []
    assert malformed_digests(frame(email_sha256="0123")) == ["email_sha256: 1 values are no SHA-256"]
    assert malformed_digests(frame(email_sha256=None)) == []


def test_a_seat_with_two_rows_is_counted() -> None:
    rows = pd.DataFrame({"event_id": [1, 1, 2], "attendee_id": [7, 7, 7]})
    assert doubled_keys(rows) == ["1 rows repeat an (event, attendee) that is there already"]


@pytest.mark.parametrize("word", ["a" * 50_000, "a." * 25_000, "1" * 50_000, "a@" * 25_000])
def test_a_long_word_is_searched_once(word: str) -> None:
    """Searched from each of its characters to its end, it would take many seconds."""
    began = time.process_time()
    personal_values(frame(ticket_name=word))
    question_text(word)
    assert time.process_time() - began < 2
