"""The columns of the exports in the two languages, and where a file has them. Pure.

What KKTIX calls its own columns depends on the language of whoever exported. Of the file, messages name the column's
letter only: a file without headings has people in its first row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pycontw_assets.extract.exports.sheet import Sheet, position_of

Role = Literal[
    "attendee_id", "order_no", "reg_no", "ticket_name", "payment", "sold_at", "price", "email",
    "state", "method", "pickup",
]  # fmt: skip
Names = Mapping[Role, tuple[str, ...]]

_CHINESE: Names = {
    "attendee_id": ("Id",),
    "order_no": ("訂單編號",),
    "reg_no": ("報名序號",),
    "ticket_name": ("票種",),
    "payment": ("票券付款狀態", "付款狀態"),
    "sold_at": ("售出日期", "付款時間"),
    "price": ("票面價格",),
    "email": ("聯絡人 Email",),
}
_ENGLISH: Names = {
    "attendee_id": ("Id",),
    "order_no": ("Order Number",),
    "reg_no": ("Registration No.",),
    "ticket_name": ("Ticket Type",),
    "payment": ("Payment Status",),
    "sold_at": ("Paid Date",),
    "price": ("Price",),
    "email": ("Contact Email",),
}
LANGUAGES: Mapping[str, Names] = {"Chinese": _CHINESE, "English": _ENGLISH}
_MORE: Names = {"state": ("票券狀態",), "method": ("付款方式",), "pickup": ("選用的取票方式",)}
# KKTIX's own columns of which nothing is read: credentials of the door, the organisers' tags, marks of the desk.
_NEVER_READ = frozenset(
    {"檢查碼", "QR Code 序號", "標籤", "Checkin Code", "QR Code Serial No.", "Tags", "Attendance Book"}
)
_ORDERS: Names = {
    "order_no": ("訂單編號",),
    "state": ("票券狀態",),
    "payment": ("付款狀態",),
    "sold_at": ("付款時間",),
    "method": ("付款方式",),
}
_SIGNS_OF_ORDERS = ("購買票券數量", "票券總價", "退票金額")
_YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")
_URL = re.compile(r"https?://\S+")
_SWITCH = "switch KKTIX to 繁體中文 or English, and export again"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a file has what: a column for each role, and the columns of the form, in form order."""

    of: Mapping[Role, int]
    questions: tuple[int, ...] = ()


def attendee_columns(sheet: Sheet) -> Columns:
    """Return the columns of an attendee export. Raise ``ExportError`` for another file, or one without a column."""
    if position_of(sheet.headings, _SIGNS_OF_ORDERS):
        raise sheet.error("it is the export of orders; name the export of attendees first, then that of orders")
    present = {language: _present(sheet, names) for language, names in LANGUAGES.items()}
    language = max(present, key=lambda each: len(present[each]))
    if len(present[language]) <= 1:  # "Id" is the same in all languages
        raise sheet.error(f"its headings are neither those of the Chinese nor of the English export; {_SWITCH}", row=1)
    names = LANGUAGES[language]
    _refuse_missing(sheet, names, present[language], language)
    for other, columns in present.items():
        if other != language and (mixed := {*columns.values()} - {*present[language].values()}):
            raise sheet.error(
                f"a heading of the {other} export in a file of the {language} one: two files were joined, so import "
                "each by itself",
                row=1,
                column=min(mixed),
            )
    return Columns({**present[language], **_present(sheet, _MORE)}, _questions(sheet, present[language]))


def order_columns(sheet: Sheet) -> Columns:
    """Return the columns of an order export, which is known in Chinese only."""
    present = _present(sheet, _ORDERS)
    if not position_of(sheet.headings, _SIGNS_OF_ORDERS):
        raise sheet.error(
            "its headings are not those of the Chinese export of orders, the only one that is known; switch KKTIX to "
            "繁體中文 and export the orders again, or leave the file out",
            row=1,
        )
    _refuse_missing(sheet, _ORDERS, present, "Chinese")
    return Columns(present)


def refuse_other_year(sheet: Sheet, columns: Columns, edition: str) -> None:
    """Raise ``ExportError`` where the questions name years, and none is the edition's."""
    years = {index: set(_YEAR.findall(_URL.sub("", sheet.headings[index]))) for index in columns.questions}
    named = {year for found in years.values() for year in found}
    if named and edition not in named:
        column = next(index for index, found in years.items() if found)
        raise sheet.error(
            f"its questions name the year {min(years[column])}, not {edition}; name the right EDITION, or the right "
            "file",
            row=1,
            column=column,
        )


def _present(sheet: Sheet, names: Names) -> dict[Role, int]:
    found: dict[Role, int] = {}
    for role, wordings in names.items():
        columns = position_of(sheet.headings, wordings)
        if len(columns) > 1:
            raise sheet.error(
                f"the heading {wordings[0]} is there twice; keep the column that KKTIX gave", row=1, column=columns[1]
            )
        if columns:
            found[role] = columns[0]
    return found


def _refuse_missing(sheet: Sheet, names: Names, present: Mapping[Role, int], language: str) -> None:
    missing = [" or ".join(wordings) for role, wordings in names.items() if role not in present]
    if missing:
        raise sheet.error(
            f"the {language} export has these columns, too, and they are missing: {', '.join(missing)}; take the file "
            "as KKTIX gave it, with all its columns",
            row=1,
        )


def _questions(sheet: Sheet, meta: Mapping[Role, int]) -> tuple[int, ...]:
    """Return the columns of the form. The contact's address is an answer, too."""
    skipped = {index for role, index in meta.items() if role != "email"}
    skipped |= set(position_of(sheet.headings, sum(_MORE.values(), ())))
    skipped |= set(position_of(sheet.headings, tuple(_NEVER_READ)))
    questions = []
    for index, heading in enumerate(sheet.headings):
        if not heading and (row := next((row for row in sheet.rows if row.cells[index].strip()), None)):
            raise sheet.error("the column has no heading; give it the one that KKTIX gave", row=row, column=index)
        if heading and index not in skipped:
            questions.append(index)
    return tuple(questions)
