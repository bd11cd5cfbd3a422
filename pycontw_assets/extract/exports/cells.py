"""Cells to values, undoing what spreadsheets do to them. Pure.

Each function raises ``BadCell``, whose text says what is wrong and the fix, and never quotes the cell.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

TAIPEI = timezone(timedelta(hours=8))  # KKTIX writes times of Taipei, and there is no summer time there

_FORMULA = re.compile(r'="(.*)"', re.DOTALL)  # ="0900000001", by which people keep leading zeros
_SCIENTIFIC = re.compile(r"[+-]?\d(?:\.(\d+))?[eE]\+?(\d+)")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MONEY = re.compile(r"\d+(?:\.\d+)?")
_CURRENCY = re.compile(r"\A(?:NT\$|TWD|\$)\s*|\s*TWD\Z", re.IGNORECASE)
_MOMENT = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"(?: ?([+-]\d{2}):?(\d{2})| ?(Z|UTC))?"
)
_NINE_DIGITS, _WITH_COUNTRY = re.compile(r"9\d{8}"), re.compile(r"886[2-9]\d{7,8}")
_LONGEST_NUMBER = 18  # digits of a number of KKTIX, which fit a column of 64 bits
_BUSINESS_NUMBER = 8  # digits of a Taiwanese business number
_EXPORT_AGAIN = "take the cell from the file as KKTIX gave it, or empty it"
_LOST = f"a spreadsheet wrote the number as 1.23E+11 and dropped its last digits; {_EXPORT_AGAIN}"


class BadCell(Exception):
    """A cell that cannot be read for sure."""


def plain(cell: str) -> str:
    """Return a cell without the ``="…"`` that keeps a spreadsheet from changing it."""
    match = _FORMULA.fullmatch(cell.strip())
    return match[1].replace('""', '"') if match else cell


def whole_number(cell: str) -> int | None:
    """Return a whole number above 0; ``None`` for an empty cell. Leading zeros and ``.0`` do not matter."""
    digits = _number_text(cell)
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[: _LONGEST_NUMBER + 1]) < 10**_LONGEST_NUMBER):
        raise BadCell("it needs a whole number above 0; " + _EXPORT_AGAIN)
    return int(digits)


def amount(cell: str) -> float | None:
    """Return a price in whole units; ``None`` for an empty cell."""
    text = _CURRENCY.sub("", _number_text(cell))
    if not text:
        return None
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not _MONEY.fullmatch(text):
        raise BadCell("it needs a price, such as 2500 or 1290.0")
    return float(text)


def moment(cell: str) -> datetime | None:
    """Return a time in UTC; ``None`` for an empty cell. A day alone begins at midnight. Without a zone it is Taipei's.

    Two shapes are known: ``2019/07/31 10:20:30`` and ``2019-07-31``, both with or without time and zone.
    """
    text = plain(cell).strip()
    if not text:
        return None
    match = _MOMENT.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        numbers = [int(part or 0) for part in match.group(1, 3, 4, 5, 6, 7)]
        return datetime(*numbers, tzinfo=_zone(match)).astimezone(timezone.utc)  # type: ignore[arg-type,misc]
    except (ValueError, OverflowError):
        raise BadCell(
            "it needs a day or a time with the year first, such as 2019-07-31 or 2019/07/31 10:20:30; set the column "
            "to that format, or take the file as KKTIX gave it"
        ) from None


def phone(cell: str) -> str:
    """Return a phone as it was typed, with the zero or the plus that a spreadsheet dropped."""
    text = plain(cell).strip().removeprefix("'")
    if _SCIENTIFIC.fullmatch(text) or re.fullmatch(r"\d+\.0", text):
        text = _number_text(text)
    if _NINE_DIGITS.fullmatch(text):
        return f"0{text}"
    return f"+{text}" if _WITH_COUNTRY.fullmatch(text) else text


def business_number(cell: str) -> str:
    """Return a business number with the leading zeros that a spreadsheet dropped."""
    text = _number_text(cell)
    return text.zfill(_BUSINESS_NUMBER) if text.isascii() and text.isdigit() else plain(cell)


def _zone(match: re.Match[str]) -> timezone:
    if match[10]:
        return timezone.utc
    if not match[8]:
        return TAIPEI
    minutes = int(match[9]) * (-1 if match[8].startswith("-") else 1)
    return timezone(timedelta(hours=int(match[8]), minutes=minutes))


def _number_text(cell: str) -> str:
    """Return the digits of a number that a spreadsheet may have written as ``12.0`` or ``1.2E+1``."""
    text = plain(cell).strip().removeprefix("'")
    if match := _SCIENTIFIC.fullmatch(text):
        if len(match[1] or "") < int(match[2]):
            raise BadCell(_LOST)
        try:
            text = f"{Decimal(text):f}"
        except InvalidOperation:
            raise BadCell(_LOST) from None
    return re.sub(r"\.0+\Z", "", text)
