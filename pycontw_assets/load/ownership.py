"""Whose a table is, decided from its mark, its columns and its kind. Pure.

The default names belong to tables that organisers filled before this program existed, and that hold years which exist
nowhere else. So nothing is read into, changed in or said about a table that this program did not make.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pycontw_assets.load.schema import DIGEST_COLUMN, KEY_COLUMNS, LOADED_AT_COLUMN, PARTITION_COLUMN

# A label on BigQuery, the end of the comment on DuckDB.
MARK_LABEL, MARK_VALUE = "managed_by", "pycontw_assets"
MARK_TEXT = f"[{MARK_LABEL}: {MARK_VALUE}]"
SET_ASIDE_SUFFIX = "_legacy"
COMMAND = "adopt-tables"

# ours: has our mark. unmarked: a former version of this program made it. foreign: somebody else did, or nobody knows.
Ownership = Literal["absent", "ours", "unmarked", "foreign"]
Kind = Literal["table", "view", "other"]

# Columns that every table of a former version has, first to last.
_MADE_BY_US = {PARTITION_COLUMN: "STRING", **dict.fromkeys(KEY_COLUMNS, "INT64")}
_MADE_BY_US |= {DIGEST_COLUMN: "STRING", LOADED_AT_COLUMN: "TIMESTAMP"}
# Columns that the organisers' tables have and ours never had, in any version.
_MADE_BY_OTHERS = frozenset({"registration_no", "payment_status", "paid_date", "organization", "job_title", "email"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or view as its warehouse describes it.

    ``columns``: (name, type with BigQuery's name) in their order. ``required``: the columns without NULL, and
    ``clustered_by``; ``None``: the engine has no such thing.
    """

    kind: Kind
    is_marked: bool
    columns: tuple[tuple[str, str], ...] = ()
    required: frozenset[str] | None = None
    clustered_by: tuple[str, ...] | None = None


def owner_of(relation: Relation | None, kind: Kind = "table") -> Ownership:
    """Say whose the thing under the name of one of our tables (or views, with ``kind``) is. In doubt it is foreign."""
    if relation is None:
        return "absent"
    if relation.kind != kind:
        return "foreign"
    if relation.is_marked:
        return "ours"
    return "unmarked" if kind == "table" and _is_of_a_former_version(relation) else "foreign"


def _is_of_a_former_version(relation: Relation) -> bool:
    """Whether only a former version can have made the table.

    A table of the organisers to which a former version added its columns is not: its own columns come first. On
    BigQuery a column without NULL cannot be added later.
    """
    types = dict(relation.columns)
    if not relation.columns or relation.columns[0][0] != PARTITION_COLUMN or _MADE_BY_OTHERS & types.keys():
        return False
    if any(types.get(name) != type_ for name, type_ in _MADE_BY_US.items()):
        return False
    required = {PARTITION_COLUMN, *KEY_COLUMNS}
    return relation.required in (None, required) and relation.clustered_by in (None, (PARTITION_COLUMN,))


def refusal(name: str, *, kind: Kind = "table") -> str:
    """Return the error for something foreign under one of our names, with the ways out. ``name``: with its dataset."""
    if kind == "view":
        return (
            f"{name} exists and was not made by this program, so the view of that name was not made and nothing was "
            "changed. Set VIEWS_DATASET to another dataset, or rename what is there"
        )
    return (
        f"{name} was not made by this program (it lacks the mark {MARK_TEXT}): nothing was read into it or changed. "
        "Set TABLE_PREFIX or BIGQUERY_DATASET, and our tables are made beside it; or run "
        f"`pycontw-assets {COMMAND}`, which copies it aside, checks the copy and only then frees the name"
    )


def set_aside_name(name: str) -> str:
    """Return the name under which somebody's table is kept after its name was freed."""
    return f"{name}{SET_ASIDE_SUFFIX}"


def marked(description: str) -> str:
    """Return the comment of a table or view on an engine without labels."""
    return f"{description} {MARK_TEXT}"


def is_marked(comment: str | None) -> bool:
    """Whether a comment ends with the mark."""
    return (comment or "").endswith(MARK_TEXT)


def bears_label(labels: Collection[tuple[str, str]]) -> bool:
    """Whether one of the labels is the mark."""
    return (MARK_LABEL, MARK_VALUE) in labels
