"""Attendees to rows without personal data, by the policy. Pure: no file, no clock, no log, no change to the input.

Rules belong in ``policy.yaml``. What becomes of the answers of a form is in ``form``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from pycontw_assets.deidentify.form import Form, encodable
from pycontw_assets.deidentify.form import answer_text as answer_text
from pycontw_assets.deidentify.form import question_text as question_text
from pycontw_assets.deidentify.policy import Column, ColumnType, Policy, load_policy
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition

if TYPE_CHECKING:
    import pandas as pd

_DTYPES: Mapping[ColumnType, str] = {
    "BOOL": "boolean",
    "FLOAT64": "Float64",
    "INT64": "Int64",
    "STRING": "string[python]",
    "TIMESTAMP": "datetime64[us, UTC]",
}
_Cell = Callable[[AttendeeRecord], Any]
AS_TYPED_COLUMN = "email_sha256_as_typed"
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_BATCH = 500  # records


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """The rows of one partition, and counts of the answers that no rule lets through."""

    frame: pd.DataFrame
    answered: Mapping[str, int]  # kept column -> answers to its question, repeated ones left out
    unknown_questions: Mapping[str, int]  # question text -> answers; a person should add a rule
    unlisted_answers: Mapping[str, int]  # kept column -> answers outside its choices; a person should add a choice
    repeated_answers: Mapping[str, int]  # column -> further answers to a question that was asked more than once


def deidentify(
    records: Iterable[AttendeeRecord],
    partition: EventPartition,
    pseudonymizer: Pseudonymizer,
    *,
    policy: Policy | None = None,
) -> Deidentified:
    """Return one row per attendee, in the given order, with every column of the policy.

    ``records`` may be an iterator: each is used once. ``policy`` is that of ``policy.yaml`` unless given.
    """
    import pandas as pd

    policy = policy or load_policy()
    form = Form(policy, pseudonymizer)
    constants = _constants(partition, policy)
    values: dict[str, list[Any]] = {column.name: [] for column in policy.columns if column.name not in constants}
    cells = {column.name: _cell(column, policy) for column in policy.columns if column.name in values}
    as_typed = AS_TYPED_COLUMN in values and partition.is_imported and not pseudonymizer.is_keyed
    count = 0
    for batch in _batches(records):
        answers = [form.answers_of(record) for record in batch]
        if as_typed:
            for row, record in zip(answers, batch, strict=True):
                row[AS_TYPED_COLUMN] = digest_as_typed(record.attendee, policy)
        for name, cell in cells.items():
            values[name] += map(cell, batch) if cell else [row.get(name) for row in answers]
        count += len(batch)

    def series(column: Column) -> Any:
        """Make a column. Its values are dropped as soon as its series is there."""
        cells = [constants[column.name]] * count if column.name in constants else values.pop(column.name)
        return pd.Series(cells, dtype=_DTYPES[column.type])

    return Deidentified(
        frame=pd.DataFrame({column.name: series(column) for column in policy.columns}),
        answered=dict(form.answered),
        unknown_questions=dict(form.unknown),
        unlisted_answers=dict(form.unlisted),
        repeated_answers=dict(form.repeated),
    )


def _batches(records: Iterable[AttendeeRecord]) -> Iterator[list[AttendeeRecord]]:
    """Yield the records in batches: a column is filled faster at once than cell by cell, and not all are kept."""
    rest = iter(records)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def digest_as_typed(attendee: Attendee, policy: Policy) -> str:
    """Return SHA-256 of the contact address as it was typed, as the tables of 2018 to 2020 hold it.

    Nothing is normalised. An empty field has the digest of the empty text.
    """
    typed = (value for label, value in attendee.answers if policy.asks_for_contact_address(label))
    return hashlib.sha256(encodable(str(next(typed, "") or "")).encode()).hexdigest()


def _constants(partition: EventPartition, policy: Policy) -> dict[str, Any]:
    """Return the columns that are the same in all rows of a partition."""
    values = {
        "partition_key": partition.key,
        "edition": partition.edition,
        "family": partition.family,
        "event_id": partition.event_id,
        "policy_version": policy.version,
    }
    return {column.name: values[column.name] for column in policy.columns if column.name in values}


def _cell(column: Column, policy: Policy) -> _Cell | None:
    """Return the function that reads a column's value from a record; ``None`` for an answer of the form."""
    name, typed = column.name, _TYPED[column.type]
    if name in _PIPELINE:
        return _PIPELINE[name]
    if name in policy.vocabularies:
        choices = policy.vocabularies[name]
        return lambda record: found if (found := getattr(record.attendee, name)) in choices else None
    if column.source.startswith("payload: "):
        return lambda record: typed(getattr(record.attendee, name))
    return None


_PIPELINE: Mapping[str, _Cell] = {
    "is_usable": lambda record: record.is_usable,
    "is_cancelled": lambda record: record.gone_at is not None or record.attendee.state == "cancelled",
    "first_seen_at": lambda record: record.first_seen_at,
    "gone_at": lambda record: record.gone_at,
    "ordered_at": lambda record: record.first_seen_at,
    "ordered_at_certainty": lambda record: certainty(record.first_seen_at, record.listed_after),
    "paid_at": lambda record: record.paid_seen_at,
    "paid_at_certainty": lambda record: _paid_at_certainty(record),
}


def certainty(seen_at: datetime, not_before: datetime | None) -> str:
    """Say how far before ``seen_at`` it may have happened: within the ``hour``, the ``day``, or ever (``at_latest``).

    ``not_before``: the last moment at which it had not happened yet; ``None``: nobody knows one.
    """
    if not_before is None or not_before > seen_at or seen_at - not_before > _DAY:
        return "at_latest"
    return "hour" if seen_at - not_before <= _HOUR else "day"


def _paid_at_certainty(record: AttendeeRecord) -> str | None:
    if record.paid_seen_at is None:
        return "unknown" if record.attendee.is_paid else None  # an older version did not write it down
    return certainty(record.paid_seen_at, record.paid_seen_after)


def _text(value: Any) -> str | None:
    return None if value is None else encodable(str(value))


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _integer(value: Any) -> int | None:
    """Return ``None`` (NULL) for a number that no integer of a warehouse can hold."""
    return None if value is None or not -(2**63) <= value < 2**63 else int(value)


def _moment(value: Any) -> datetime | None:
    """Return the moment of a Unix time in seconds; ``None`` (NULL) for one outside the calendar."""
    try:
        return None if value is None else datetime.fromtimestamp(value, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


_TYPED: Mapping[ColumnType, Callable[[Any], Any]] = {
    "BOOL": lambda value: value,
    "FLOAT64": _number,
    "INT64": _integer,
    "STRING": _text,
    "TIMESTAMP": _moment,
}
