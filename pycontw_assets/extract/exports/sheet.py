"""A CSV file as a sheet: its headings and rows, with the numbers and letters that a spreadsheet shows for them.

Rows are counted as a spreadsheet does: the headings are row 1, and a cell may hold several lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SAVE_AS = "save it as `CSV UTF-8 (comma delimited)`, or take the file as KKTIX gave it"
_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs"}


class ExportError(Exception):
    """An export that is refused. The text names the file, the row, the column and the fix, never what a cell holds."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row below the headings. ``number`` is the one a spreadsheet shows."""

    number: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole file. ``name`` is what messages call it. Every row has as many cells as there are headings."""

    name: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    def error(self, problem: str, *, row: Row | int | None = None, column: int | None = None) -> ExportError:
        """Return the refusal at a place of this file. ``column`` counts from 0."""
        number = row.number if isinstance(row, Row) else row
        places = [f"row {number}"] if number is not None else []
        places += [f"column {column_letters(column)}"] if column is not None else []
        return ExportError(": ".join(filter(None, (self.name, ", ".join(places), problem))))


def column_letters(index: int) -> str:
    """Return the letters of a column that a spreadsheet shows: 0 is ``A``, 26 is ``AA``."""
    letters = ""
    while index >= 0:
        index, letter = divmod(index, 26)
        letters, index = chr(ord("A") + letter) + letters, index - 1
    return letters


def read_sheet(name: str, content: bytes) -> Sheet:
    """Return the sheet of a file's bytes. Raise ``ExportError`` for one that is no whole CSV file in UTF-8."""
    records = list(_records(name, _decoded(name, content)))
    sheet = Sheet(name, tuple(cell.strip() for cell in records[0].cells) if records else (), ())
    if not any(sheet.headings):
        raise sheet.error("its first row holds no headings; take the file as KKTIX gave it", row=1)
    for separator, word in _OTHER_SEPARATORS.items():
        if len(sheet.headings) == 1 and separator in sheet.headings[0]:
            raise sheet.error(f"cells are separated by {word}, not by commas; {_SAVE_AS}", row=1)
    rows = tuple(row for row in records[1:] if any(cell.strip() for cell in row.cells))
    for row in rows:
        if len(row.cells) != len(sheet.headings):
            raise sheet.error(
                f"{len(row.cells)} cells below {len(sheet.headings)} headings; a comma or a quote is missing or too "
                "many, so correct the row, or take the file as KKTIX gave it",
                row=row,
            )
    if not rows:
        raise sheet.error("it holds no rows below its headings; nothing would be imported")
    return Sheet(name, sheet.headings, rows)


def _decoded(name: str, content: bytes) -> str:
    if content.startswith(_UTF_16):
        raise ExportError(f"{name}: it is in UTF-16, as Excel's `Unicode text` is; {_SAVE_AS}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ExportError(
            f"{name}: line {line}: it is not in UTF-8 (Excel in Taiwan saves Big5 unless asked for UTF-8); {_SAVE_AS}"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ExportError(f"{name}: line {line}: it holds bytes that are no text; take the file as KKTIX gave it")
    return text


def _records(name: str, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for cells in reader:
            yield Row(number, tuple(cells))
            number += 1
    except csv.Error:
        raise ExportError(
            f"{name}: row {number}: its quotes do not match, or a cell is far too long; correct the row, or take the "
            "file as KKTIX gave it"
        ) from None


def position_of(headings: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the columns whose heading is one of these names."""
    return [index for index, heading in enumerate(headings) if heading in names]
