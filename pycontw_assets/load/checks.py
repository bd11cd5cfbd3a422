"""Checks of the rows of a partition before they are written. Pure. Texts name columns and counts, never a value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pycontw_assets.load.warehouse import WarehouseError, doubled_rows

if TYPE_CHECKING:
    import pandas as pd

DIGEST_SUFFIX = "_sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Digits between other letters or digits are part of a number or digest, no phone and no id.
_ALONE = r"(?<![0-9A-Za-z]){}(?![0-9A-Za-z])"
_PERSONAL = {
    # It begins where a word begins. Without that, a long word is searched from each of its characters to its end.
    "an address": re.compile(r"(?<![^\s@\"<>])[^\s@\"<>]+@[^\s@\"<>]+\.[a-zA-Z]{2,}"),
    "a phone": re.compile(_ALONE.format(r"(?:\+?886[ -]?|0)9\d{2}[ -]?\d{3}[ -]?\d{3}")),
    "a national id": re.compile(_ALONE.format(r"[A-Z][1289A-D]\d{8}")),
}

# Checks that decide whether the rows are written at all -> the fix.
WAYS_OUT = {
    "holds_no_personal_data": "Make these fields `hash` or `drop` in deidentify/policy.yaml, then materialize the "
    "partition again",
    "digests_have_their_shape": "A mistake in deidentify/; the table keeps what it held",
}


class RefusedRows(WarehouseError):
    """The rows were not written, because nobody can unread a table.

    ``problems`` names columns and counts, ``check`` the check that they failed.
    """

    def __init__(self, table_name: str, check: str, problems: list[str]) -> None:
        self.check = check
        self.problems = problems
        super().__init__(f"{table_name} was not written: {'; '.join(problems)}. {WAYS_OUT[check]}")


def refuse_misleading(table_name: str, frame: pd.DataFrame) -> None:
    """Raise ``RefusedRows`` for values that look personal, and for digests that are none."""
    checks = {"holds_no_personal_data": personal_values, "digests_have_their_shape": malformed_digests}
    for check, find_problems in checks.items():
        if problems := find_problems(frame):
            raise RefusedRows(table_name, check, problems)


def personal_values(frame: pd.DataFrame) -> list[str]:
    """Return one text per column in clear with cells that look like an address, a phone or a Taiwanese id."""
    problems = []
    for column in _texts(frame):
        if column.endswith(DIGEST_SUFFIX):
            continue
        texts = set(frame[column].dropna().tolist())
        for kind, pattern in _PERSONAL.items():
            count = sum(pattern.search(text) is not None for text in texts)
            if count:
                problems.append(f"{column}: {count} values look like {kind}")
    return problems


def malformed_digests(frame: pd.DataFrame) -> list[str]:
    """Return one text per hashed column with cells other than 64 hexadecimal digits or NULL."""
    columns = [column for column in _texts(frame) if column.endswith(DIGEST_SUFFIX)]
    bad = {name: list(map(_DIGEST.fullmatch, frame[name].dropna().tolist())).count(None) for name in columns}
    return [f"{column}: {count} values are no SHA-256" for column, count in bad.items() if count]


def doubled_keys(frame: pd.DataFrame) -> list[str]:
    """Return a text when two rows have the same event and attendee."""
    doubled = doubled_rows(frame)
    return [f"{doubled} rows repeat an (event, attendee) that is there already"] if doubled else []


def _texts(frame: pd.DataFrame) -> list[str]:
    return [str(column) for column in frame.columns if str(frame[column].dtype) in ("string", "object")]
