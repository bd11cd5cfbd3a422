"""What is asked of the rows of a partition before they are written. Pure; texts name columns and counts, no value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pycontw_assets.load.warehouse import WarehouseError, doubled_rows

if TYPE_CHECKING:
    import pandas as pd

DIGEST_SUFFIX = "_sha256"
_DIGEST = r"[0-9a-f]{64}"
# What stands between other characters of a number or digest is a part of it, no phone and no id.
_ALONE = r"(?<![0-9A-Za-z]){}(?![0-9A-Za-z])"
_PERSONAL = {
    "an address": re.compile(r"[^\s@\"<>]+@[^\s@\"<>]+\.[a-zA-Z]{2,}"),
    "a phone": re.compile(_ALONE.format(r"(?:\+?886[ -]?|0)9\d{2}[ -]?\d{3}[ -]?\d{3}")),
    "a national id": re.compile(_ALONE.format(r"[A-Z][1289A-D]\d{8}")),
}


# Checks of rows that decide whether they are written at all -> what a person does about it.
WAYS_OUT = {
    "holds_no_personal_data": "Make these fields `hash` or `drop` in deidentify/policy.yaml, then materialize the "
    "partition again",
    "digests_have_their_shape": "A mistake in deidentify/; the table keeps what it held",
}


class RefusedRows(WarehouseError):
    """Nothing was written: a table cannot be unread. ``found`` names columns and counts, ``check`` what they failed."""

    def __init__(self, table_name: str, check: str, found: list[str]) -> None:
        self.check = check
        self.found = found
        super().__init__(f"{table_name} was not written: {'; '.join(found)}. {WAYS_OUT[check]}")


def refuse_misleading(table_name: str, frame: pd.DataFrame) -> None:
    """``RefusedRows`` for values that look personal, or digests that are none."""
    findings = {"holds_no_personal_data": personal_values, "digests_have_their_shape": malformed_digests}
    for check, find in findings.items():
        if found := find(frame):
            raise RefusedRows(table_name, check, found)


def personal_values(frame: pd.DataFrame) -> list[str]:
    """Columns in clear whose cells look like an address, a phone or a Taiwanese id; empty: none."""
    found = []
    for column in _texts(frame):
        if column.endswith(DIGEST_SUFFIX):
            continue
        texts = frame[column].dropna().unique()
        for kind, pattern in _PERSONAL.items():
            count = sum(pattern.search(text) is not None for text in texts)
            if count:
                found.append(f"{column}: {count} values look like {kind}")
    return found


def malformed_digests(frame: pd.DataFrame) -> list[str]:
    """Hashed columns that hold something other than 64 hexadecimal digits or NULL."""
    columns = [column for column in _texts(frame) if column.endswith(DIGEST_SUFFIX)]
    bad = {column: int((~frame[column].dropna().str.fullmatch(_DIGEST)).sum()) for column in columns}
    return [f"{column}: {count} values are no SHA-256" for column, count in bad.items() if count]


def doubled_keys(frame: pd.DataFrame) -> list[str]:
    doubled = doubled_rows(frame)
    return [f"{doubled} rows repeat an (event, attendee) that is there already"] if doubled else []


def _texts(frame: pd.DataFrame) -> list[str]:
    return [str(column) for column in frame.columns if str(frame[column].dtype) in ("string", "object")]
