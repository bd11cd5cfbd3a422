"""Whose a table is follows from its mark and, for former versions, from columns that only they can have made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pycontw_assets.load.ownership import Relation, is_marked, marked, owner_of, refusal

COLUMNS = (
    ("partition_key", "STRING"),
    ("event_id", "INT64"),
    ("attendee_id", "INT64"),
    ("diet", "STRING"),
    ("content_digest", "STRING"),
    ("loaded_at", "TIMESTAMP"),
)
FORMER = Relation(
    kind="table",
    is_marked=False,
    columns=COLUMNS,
    required=frozenset({"partition_key", "event_id", "attendee_id"}),
    clustered_by=("partition_key",),
)


def test_nothing_is_nobodys_and_a_marked_table_is_ours() -> None:
    assert owner_of(None) == "absent"
    assert owner_of(Relation(kind="table", is_marked=True)) == "ours"


def test_a_table_of_a_former_version_is_recognised_on_both_engines() -> None:
    assert owner_of(FORMER) == "unmarked"
    assert owner_of(replace(FORMER, required=None, clustered_by=None)) == "unmarked"


@pytest.mark.parametrize(
    "change",
    [
        {"columns": (("registration_no", "INT64"), *COLUMNS)},  # a former version added ours to theirs
        {"columns": (*COLUMNS, ("payment_status", "STRING"))},
        {"columns": COLUMNS[:-1]},
        {"columns": (("partition_key", "STRING"), ("event_id", "STRING"), *COLUMNS[2:])},
        {"columns": ()},
        {"required": frozenset()},  # a copy that somebody made
        {"required": frozenset({"partition_key", "event_id", "attendee_id", "diet"})},
        {"clustered_by": ()},
        {"kind": "view"},
        {"kind": "other"},
    ],
)
def test_a_doubtful_table_is_somebody_elses(change: dict[str, Any]) -> None:
    assert owner_of(replace(FORMER, **change)) == "foreign"


def test_a_mark_makes_no_table_of_a_view_and_no_view_of_a_table() -> None:
    assert owner_of(Relation(kind="view", is_marked=True)) == "foreign"
    assert owner_of(Relation(kind="view", is_marked=True), "view") == "ours"
    assert owner_of(Relation(kind="table", is_marked=True), "view") == "foreign"
    assert owner_of(Relation(kind="view", is_marked=False), "view") == "foreign"


def test_only_the_end_of_a_comment_is_a_mark() -> None:
    assert is_marked(marked("Rows."))
    assert not is_marked(f"{marked('Rows.')} Copied by hand.")
    assert not is_marked(None)


def test_a_refusal_names_the_table_and_every_way_out() -> None:
    said = refusal("ods.orders")
    assert all(word in said for word in ("ods.orders", "TABLE_PREFIX", "BIGQUERY_DATASET", "adopt-tables"))
    assert "VIEWS_DATASET" in refusal("readings.orders", kind="view")
