"""Read the exports of one edition and family into attendees, as the KKTIX client would yield them. Pure.

An attendee export holds activated tickets only. The export of orders, where there is one, adds the exact time and way
of payment, and says which orders were cancelled since.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from pycontw_assets.extract.exports.cells import (
    TAIPEI,
    BadCell,
    amount,
    business_number,
    moment,
    phone,
    plain,
    whole_number,
)
from pycontw_assets.extract.exports.columns import Columns, Role, attendee_columns, order_columns, refuse_other_year
from pycontw_assets.extract.exports.sheet import ExportError, Row, Sheet, read_sheet
from pycontw_assets.extract.orders import parse_attendee
from pycontw_assets.records import FAMILIES, Attendee, Family

Kind = Literal["phone", "business number", "text"]
_T = TypeVar("_T")

# The payment of a ticket or order, in the words of the exports and of the tables that were made of them.
_PAYMENTS: Mapping[str, bool] = {
    **dict.fromkeys(("paid", "已繳費", "已付款", "已繳費有退款"), True),
    **dict.fromkeys(("unpaid", "not paid", "not", "pending", "未繳費", "未付款"), False),
}
_STATES = ("activated", "cancelled")
_FAMILY_WORDS: Mapping[Family, tuple[str, ...]] = {
    "corporate": ("corporate", "企業"),
    "individual": ("individual", "個人"),
    "reserved": ("reserved", "保留"),
}
_LONGEST_ANSWER = 10_000  # characters, as for an answer of KKTIX
_YEAR = re.compile(r"(?<!\d)20\d\d(?!\d)")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a person named: its name, for what that says of the content, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Export:
    """The attendees of an export, and the row of each in the file, by number."""

    attendees: tuple[Attendee, ...]
    rows: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class _Order:
    row: Row
    state: str
    is_paid: bool
    paid_at: datetime | None
    method: str | None


def read_export(
    attendees: File,
    orders: File | None = None,
    *,
    edition: str,
    family: Family,
    kind_of: Callable[[str], Kind] = lambda label: "text",
) -> Export:
    """Return the attendees of the exports of one edition and family.

    ``kind_of`` says which questions ask for a phone or a business number: spreadsheets drop their zeros. Raise
    ``ExportError`` for anything that does not fit together. Nothing is guessed.
    """
    sheet = read_sheet("attendees.csv", attendees.content)
    _refuse_name(sheet, attendees.name, edition, family)
    columns = attendee_columns(sheet)
    refuse_other_year(sheet, columns, edition)
    known_orders = _read_orders(orders, edition) if orders else None
    kinds = {index: kind_of(sheet.headings[index]) for index in columns.questions}
    rows: dict[int, int] = {}
    registrations: dict[int, int] = {}
    read: list[Attendee] = []
    used: set[int] = set()
    for row in sheet.rows:
        line = _Line(sheet, columns, row)
        attendee = _attendee(line, kinds, known_orders, family=family, edition=edition)
        _refuse_doubled(line, "attendee_id", attendee.attendee_id, rows)
        if attendee.reg_no is not None:
            _refuse_doubled(line, "reg_no", attendee.reg_no, registrations)
        used.add(attendee.order_no or 0)
        read.append(attendee)
    if known_orders is not None:
        _refuse_missing_attendees(known_orders, used)
    return Export(tuple(read), rows)


@dataclass(frozen=True, slots=True)
class _Line:
    """One row, read by role. Its errors name the place."""

    sheet: Sheet
    columns: Columns
    row: Row

    def read(self, role: Role, read: Callable[[str], _T | None]) -> _T | None:
        """Return the value of a role's cell; ``None`` where the file has no such column."""
        index = self.columns.of.get(role)
        return None if index is None else self.at(index, read)

    def at(self, index: int, read: Callable[[str], _T]) -> _T:
        try:
            return read(self.row.cells[index])
        except BadCell as bad:
            raise self.sheet.error(str(bad), row=self.row, column=index) from None

    def needed(self, role: Role, read: Callable[[str], _T | None]) -> _T:
        value = self.read(role, read)
        if value is None:
            raise self.error(role, "the cell is empty; take the file as KKTIX gave it")
        return value

    def error(self, role: Role, problem: str) -> ExportError:
        return self.sheet.error(problem, row=self.row, column=self.columns.of.get(role))


def _attendee(
    line: _Line, kinds: Mapping[int, Kind], orders: Mapping[int, _Order] | None, *, family: Family, edition: str
) -> Attendee:
    order_no = line.needed("order_no", whole_number)
    order = None
    if orders is not None:
        order = orders.get(order_no)
        if order is None:
            raise line.error("order_no", "orders.csv does not hold this order; take both exports of one event")
    is_paid = line.needed("payment", _payment)
    if order is not None and order.is_paid != is_paid:
        raise line.error("payment", f"row {order.row.number} of orders.csv says otherwise; export both again")
    sold_at = line.read("sold_at", moment)
    _refuse_year(line, sold_at, edition)
    payload = {
        "id": line.needed("attendee_id", whole_number),
        "order_no": order_no,
        "reg_no": line.read("reg_no", whole_number),
        "ticket_name": line.read("ticket_name", _ticket_name(family)),
        "is_paid": is_paid,
        "state": order.state if order else line.read("state", _state) or "activated",
        "price": line.read("price", amount),
        "payment_method": order.method if order else line.read("method", _text),
        "ticket_type": line.read("pickup", _text),
        "updated_at": _seconds(order.paid_at if order and order.paid_at else sold_at),
        "data": [[line.sheet.headings[index], line.at(index, _ANSWERS[kind])] for index, kind in kinds.items()],
    }
    line.read("email", _address)
    attendee, defects = parse_attendee(payload)
    if defects or attendee.withheld:
        raise line.sheet.error("a value of this row is out of bounds; take the row as KKTIX gave it", row=line.row)
    return attendee


def _read_orders(file: File, edition: str) -> dict[int, _Order]:
    sheet = read_sheet("orders.csv", file.content)
    columns, orders = order_columns(sheet), dict[int, _Order]()
    rows: dict[int, int] = {}
    for row in sheet.rows:
        line = _Line(sheet, columns, row)
        number = line.needed("order_no", whole_number)
        _refuse_doubled(line, "order_no", number, rows)
        paid_at = line.read("sold_at", moment)
        _refuse_year(line, paid_at, edition)
        orders[number] = _Order(
            row,
            state=line.needed("state", _state),
            is_paid=line.needed("payment", _payment),
            paid_at=paid_at,
            method=line.read("method", _text),
        )
    return orders


# -- contradictions -----------------------------------------------------------------------------------


def _refuse_name(sheet: Sheet, name: str, edition: str, family: Family) -> None:
    """Refuse a file whose name speaks of another year or family. A name that says nothing is fine."""
    years = set(_YEAR.findall(name))
    if years and edition not in years:
        raise sheet.error(f"the file's name says {min(years)}, not {edition}; name the right EDITION, or rename it")
    if other := _other_family(name, family):
        raise sheet.error(f"the file's name says {other}, not {family}; name the right FAMILY, or rename it")


def _refuse_year(line: _Line, sold_at: datetime | None, edition: str) -> None:
    """Refuse a ticket that was not sold in the year of the edition or the one before it."""
    if sold_at is None:
        return
    year = sold_at.astimezone(TAIPEI).year
    if year not in (int(edition) - 1, int(edition)):
        raise line.error("sold_at", f"sold in {year}, which does not fit {edition}; name the right EDITION or file")


def _refuse_doubled(line: _Line, role: Role, number: int, rows: dict[int, int]) -> None:
    if (earlier := rows.setdefault(number, line.row.number)) != line.row.number:
        raise line.error(
            role,
            f"row {earlier} has the same number; remove the row that is doubled, or import two files each by itself",
        )


def _refuse_missing_attendees(orders: Mapping[int, _Order], used: Iterable[int]) -> None:
    """Refuse an attendee export that lacks the attendees of a valid order: it was cut, or is of another day."""
    for number in orders.keys() - set(used):
        order = orders[number]
        if order.state == "activated" and order.is_paid:
            raise ExportError(
                f"orders.csv: row {order.row.number}: attendees.csv has no attendee of this order; export both again, "
                "on the same day and of the same event"
            )


def _other_family(text: str, family: Family) -> Family | None:
    """Return the other family that a text speaks of; ``None`` if it speaks of none, or of this one as well."""
    folded = text.casefold()
    spoken = [each for each in FAMILIES if any(word in folded for word in _FAMILY_WORDS[each])]
    return spoken[0] if spoken and family not in spoken else None


# -- cells --------------------------------------------------------------------------------------------


def _text(cell: str) -> str | None:
    return plain(cell).strip() or None


def _answer(cell: str) -> str:
    """Return an answer as it was typed: an old digest of an address depends on every blank."""
    if len(cell) > _LONGEST_ANSWER:
        raise BadCell(f"the answer is longer than {_LONGEST_ANSWER} characters; shorten it")
    return plain(cell)


_ANSWERS: Mapping[Kind, Callable[[str], Any]] = {
    "phone": phone,
    "business number": business_number,
    "text": _answer,
}


def _payment(cell: str) -> bool | None:
    text = (_text(cell) or "").casefold()
    if text and text not in _PAYMENTS:
        raise BadCell(
            f"it is none of the known words for payment ({', '.join(_PAYMENTS)}); take the file as KKTIX gave it"
        )
    return _PAYMENTS.get(text)


def _state(cell: str) -> str | None:
    text = (_text(cell) or "").casefold()
    if text and text not in _STATES:
        raise BadCell(f"it is none of the known states of a ticket ({', '.join(_STATES)})")
    return text or None


def _ticket_name(family: Family) -> Callable[[str], str | None]:
    def read(cell: str) -> str | None:
        if other := _other_family(cell, family):
            raise BadCell(f"a ticket of the family {other}, not {family}; name the right FAMILY or file")
        return _text(cell)

    return read


def _address(cell: str) -> None:
    text = plain(cell).strip()
    if text and "@" not in text:
        raise BadCell("it is no address; are columns shifted? Take the row as KKTIX gave it, or empty the cell")


def _seconds(when: datetime | None) -> float | None:
    return when.timestamp() if when else None
