"""An export yields the attendees that the API would yield; what does not fit is refused with its place and the fix."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.extract.exports.cells import BadCell, amount, business_number, moment, phone, plain, whole_number
from pycontw_assets.extract.exports.reading import Export, File, read_export
from pycontw_assets.extract.exports.sheet import ExportError, column_letters, read_sheet
from pycontw_assets.extract.orders import parse_attendee
from pycontw_assets.pipeline.history.importing import kind_of_question, next_records
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition
from pycontw_assets_tests.unit.history.exports import (
    ADDRESS,
    CHINESE,
    ENGLISH,
    attendee,
    attendees_csv,
    order,
    orders_csv,
    to_csv,
)

NOW = datetime(2031, 6, 1, tzinfo=timezone.utc)
PARTITION = EventPartition.imported("2019", "individual")


def read(
    content: bytes, orders: bytes | None = None, *, name: str = "export.csv", edition: str = "2019", **options: Any
) -> Export:
    files = File(name, content), File("orders.csv", orders) if orders is not None else None
    family = options.pop("family", "individual")
    return read_export(*files, edition=edition, family=family, kind_of=kind_of_question)


def refusal(content: bytes, orders: bytes | None = None, **options: Any) -> str:
    with pytest.raises(ExportError) as refused:
        read(content, orders, **options)
    return str(refused.value)


def rows_of(export: Export, key: str | None = None) -> list[dict[str, Any]]:
    records = next_records(None, export.attendees, (), NOW).values()
    frame = deidentify(records, PARTITION, Pseudonymizer(key)).frame
    return [dict(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]


# -- good files ---------------------------------------------------------------------------------------


def test_an_export_yields_what_the_api_yields_of_the_same_attendee() -> None:
    payload = {
        "id": 30_000_001, "order_no": 130_000_001, "reg_no": 1, "ticket_name": "Discount 優惠價", "is_paid": True,
        "state": "activated", "price": 2600, "updated_at": datetime(2019, 7, 30, 16, tzinfo=timezone.utc).timestamp(),
        "data": [
            ["Nickname / 暱稱 (Shown on Badge)", "Quokka"], ["Contact Name", "Anna Invented"],
            ["Contact Email", "anna@example.org"], ["Contact Mobile", "0900000001"],
        ],
    }  # fmt: skip
    assert read(attendees_csv([attendee()])).attendees == (parse_attendee(payload)[0],)


def test_both_languages_give_the_same_rows() -> None:
    people = [attendee(1), attendee(2, "bert@example.org")]
    assert rows_of(read(attendees_csv(people))) == rows_of(read(attendees_csv(people, CHINESE)))


def test_the_newer_chinese_headings_are_known() -> None:
    newer = {"票券付款狀態": "付款狀態", "售出日期": "付款時間"}
    headings = [newer.get(name, name) for name in CHINESE]
    content = attendees_csv([attendee()], headings, extra={"票券狀態": "cancelled", "付款方式": "ATM"})
    [found] = read(content).attendees
    assert (found.state, found.payment_method, found.is_paid) == ("cancelled", "ATM", True)


def test_a_byte_order_mark_quotes_commas_and_newlines_do_not_matter() -> None:
    odd = attendee(**{"Contact_Name": 'Anna "A",\nInvented'})
    content = b"\xef\xbb\xbf" + attendees_csv([odd, attendee(2)])
    export = read(content)
    assert ("Contact Name", 'Anna "A",\nInvented') in export.attendees[0].answers
    assert list(export.rows.values()) == [2, 3]  # as a spreadsheet counts, whatever stands in a cell


def test_empty_lines_are_no_attendees() -> None:
    content = attendees_csv([attendee(1), attendee(2)]) + b"\r\n" + b"," * (len(ENGLISH) - 1) + b"\r\n"
    assert len(read(content).attendees) == 2


def test_credentials_of_the_door_and_tags_are_never_read() -> None:
    [found] = read(attendees_csv([attendee(**{"Tags": "vip", "Attendance_Book": "Day 1"})])).attendees
    assert not {"GGGG", "37d2639c", "vip", "Day 1"} & {str(value) for _, value in found.answers}


def test_the_orders_add_time_and_way_of_payment_and_cancellations() -> None:
    cancelled = order(2, 票券狀態="cancelled", 付款狀態="已繳費有退款")
    lost = order(9, 票券狀態="cancelled", 付款狀態="未繳費", 付款時間="", 付款方式="")
    export = read(attendees_csv([attendee(1), attendee(2)]), orders_csv([order(1), cancelled, lost]))
    first, second = export.attendees
    assert first.updated_at == datetime(2019, 7, 31, 2, 20, 30, tzinfo=timezone.utc).timestamp()
    assert (first.payment_method, first.state, second.state) == ("CREDITCARD", "activated", "cancelled")
    assert [row["is_usable"] for row in rows_of(export)] == [True, False]


# -- what spreadsheets do to cells --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("933123456", "0933123456"),
        ("933123456.0", "0933123456"),
        ("9.33123456E+08", "0933123456"),
        ("886933123456", "+886933123456"),
        ("'0933123456", "0933123456"),
        ('="0933123456"', "0933123456"),
        ("0933-123-456", "0933-123-456"),
        ("", ""),
    ],
)
def test_a_phone_gets_back_what_a_spreadsheet_took(cell: str, value: str) -> None:
    assert phone(cell) == value


@pytest.mark.parametrize("cell", ["933123456", "0933123456", "9.33123456E+08", "886933123456", "+886 933 123 456"])
def test_a_phone_has_one_digest_however_the_spreadsheet_left_it(cell: str) -> None:
    [found] = rows_of(read(attendees_csv([attendee(Contact_Mobile=cell)])))
    [api] = rows_of(read(attendees_csv([attendee(Contact_Mobile="0933123456")])))
    assert found["mobile_sha256"] == api["mobile_sha256"] is not None


def test_a_business_number_gets_its_zeros_back() -> None:
    assert [business_number(cell) for cell in ("1234567", "01234567", "12345678.0", "", "none")] == [
        "01234567", "01234567", "12345678", "", "none",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("read_cell", "cell", "value"),
    [
        (whole_number, "007", 7),
        (whole_number, "1" * 18, int("1" * 18)),
        (whole_number, "12.0", 12),
        (whole_number, "1.2E+1", 12),
        (whole_number, " 12 ", 12),
        (whole_number, "", None),
        (amount, "2,600", 2600.0),
        (amount, "NT$1290.0", 1290.0),
        (amount, "0", 0.0),
        (amount, "", None),
        (plain, '="00123"', "00123"),
    ],
)
def test_a_number_is_read_as_it_was_meant(read_cell: Any, cell: str, value: Any) -> None:
    assert read_cell(cell) == value


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("2019/07/31 10:20:30", datetime(2019, 7, 31, 2, 20, 30, tzinfo=timezone.utc)),
        ("2019-07-31", datetime(2019, 7, 30, 16, tzinfo=timezone.utc)),
        ("2019/7/1 9:05", datetime(2019, 7, 1, 1, 5, tzinfo=timezone.utc)),
        ("2019-07-31 10:20:30 +0800", datetime(2019, 7, 31, 2, 20, 30, tzinfo=timezone.utc)),
        ("2019-07-31T10:20:30Z", datetime(2019, 7, 31, 10, 20, 30, tzinfo=timezone.utc)),
        ("", None),
    ],
)
def test_both_shapes_of_dates_are_times_of_taipei(cell: str, value: datetime | None) -> None:
    assert moment(cell) == value


@pytest.mark.parametrize(
    ("read_cell", "cell"),
    [
        (whole_number, "1.43E+11"),
        (whole_number, "12a"),
        (whole_number, "-3"),
        (whole_number, "1" * 19),
        (phone, "8.86933E+11"),
        (amount, "free"),
        (amount, "-1"),
        (moment, "31/07/2019"),
        (moment, "2019-13-01"),
        (moment, "43677"),
    ],
)
def test_a_cell_that_lost_something_is_refused_and_not_quoted(read_cell: Any, cell: str) -> None:
    with pytest.raises(BadCell) as bad:
        read_cell(cell)
    assert cell not in str(bad.value)


# -- bad files, one by one ----------------------------------------------------------------------------


def without(name: str) -> bytes:
    at = ENGLISH.index(name)
    row = attendee()
    return to_csv([[h for h in ENGLISH if h != name], [row[h] for i, h in enumerate(ENGLISH) if i != at]])


def test_a_file_in_another_encoding_is_refused() -> None:
    content = attendees_csv([attendee(), attendee(2, Contact_Name="陳")])
    assert "line 1: it is not in UTF-8" in refusal(content.decode().encode("big5", "replace"))
    assert "UTF-16" in refusal(content.decode().encode("utf-16"))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_refused(separator: str) -> None:
    content = attendees_csv([attendee()]).replace(b",", separator.encode())
    assert "attendees.csv: row 1: cells are separated by" in refusal(content)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(content: bytes) -> None:
    assert "row 1: its first row holds no headings" in refusal(content)


def test_a_file_with_headings_only_is_refused() -> None:
    assert "it holds no rows below its headings" in refusal(attendees_csv([]))


def test_quotes_that_do_not_match_are_refused_with_their_row() -> None:
    content = attendees_csv([attendee(), attendee(2)]).replace(b"Anna Invented", b'"Anna" Invented')
    assert "attendees.csv: row 2: its quotes do not match" in refusal(content)


@pytest.mark.parametrize("change", [lambda row: row + b",more", lambda row: row.rpartition(b",")[0]])
def test_a_row_with_more_or_fewer_cells_is_refused(change: Any) -> None:
    first, second, third, _ = attendees_csv([attendee(), attendee(2)]).split(b"\r\n")
    text = refusal(b"\r\n".join([first, second, change(third), b""]))
    assert text.startswith("attendees.csv: row 3: ")
    assert "cells below 15 headings" in text


@pytest.mark.parametrize(
    "name",
    ["Id", "Order Number", "Registration No.", "Ticket Type", "Payment Status", "Paid Date", "Price", "Contact Email"],
)
def test_a_missing_column_is_named(name: str) -> None:
    text = refusal(without(name))
    assert "attendees.csv: row 1: the English export has these columns" in text
    assert name in text


def test_headings_of_another_language_are_refused() -> None:
    japanese = ["Id", "注文番号", "登録番号", *(f"見出し{i}" for i in range(len(ENGLISH) - 3))]
    text = refusal(attendees_csv([attendee()], japanese))
    assert "neither those of the Chinese nor of the English export" in text
    assert "繁體中文" in text


def test_a_file_without_headings_is_refused_without_a_word_of_its_people() -> None:
    text = refusal(to_csv([list(attendee().values()), list(attendee(2).values())]))
    assert "its headings are neither" in text
    assert "Anna" not in text
    assert "@" not in text


def test_headings_of_both_languages_are_refused() -> None:
    mixed = attendees_csv([attendee()], extra={"票種": "x", "票面價格": "1"})
    assert "row 1, column P: a heading of the Chinese export in a file of the English one" in refusal(mixed)


def test_a_heading_that_is_there_twice_is_refused() -> None:
    headings = [*ENGLISH[:-1], "Price"]
    assert "row 1, column O: the heading Price is there twice" in refusal(attendees_csv([attendee()], headings))


def test_a_column_without_a_heading_is_refused_where_it_holds_something() -> None:
    assert "row 2, column P: the column has no heading" in refusal(attendees_csv([attendee()], extra={"": "text"}))
    assert len(read(attendees_csv([attendee()], extra={"": ""})).attendees) == 1


def test_the_export_of_orders_is_no_export_of_attendees_nor_the_other_way_round() -> None:
    attendees, orders = attendees_csv([attendee()]), orders_csv([order()])
    assert "it is the export of orders" in refusal(orders)
    assert "orders.csv: row 1: its headings are not those of the Chinese export of orders" in refusal(
        attendees, attendees
    )


@pytest.mark.parametrize("year", [2017, 2020])
def test_a_ticket_that_was_not_sold_for_the_edition_is_refused(year: int) -> None:
    text = refusal(attendees_csv([attendee(1), attendee(2, year=year)]))
    assert f"attendees.csv: row 3, column I: sold in {year}, which does not fit 2019" in text


def test_a_ticket_may_be_sold_the_year_before_also_by_the_clock_of_taipei() -> None:
    early = attendee(1, Paid_Date="2018-12-24")
    last_minute = attendee(2, Paid_Date="2019-12-31 23:59:59")
    assert len(read(attendees_csv([early, last_minute])).attendees) == 2


def test_questions_of_another_year_are_refused() -> None:
    label = "Privacy Policy of PyCon TW 2020 / 個人資料保護聲明 https://example.org/2019"
    text = refusal(attendees_csv([attendee()], extra={label: ""}))
    assert "row 1, column P: its questions name the year 2020, not 2019" in text
    assert read(attendees_csv([attendee()], extra={label.replace("2020", "2019"): ""})).attendees


@pytest.mark.parametrize(
    ("name", "word"), [("individual-attendees-2018.csv", "2018"), ("corporate-attendees.csv", "corporate")]
)
def test_the_name_of_the_file_may_not_contradict(name: str, word: str) -> None:
    assert f"the file's name says {word}" in refusal(attendees_csv([attendee()]), name=name)
    assert read(attendees_csv([attendee()]), name="individual-attendees-2019.csv").attendees


def test_a_ticket_of_another_family_is_refused() -> None:
    text = refusal(attendees_csv([attendee(), attendee(2, Ticket_Type="Corporate 企業票")]))
    assert "attendees.csv: row 3, column E: a ticket of the family corporate, not individual" in text


@pytest.mark.parametrize(("name", "column"), [("Id", "A"), ("Registration No.", "C")])
def test_a_doubled_number_is_refused_with_both_rows(name: str, column: str) -> None:
    doubled = {**attendee(2), name: attendee(1)[name]}
    assert f"row 3, column {column}: row 2 has the same number" in refusal(attendees_csv([attendee(1), doubled]))


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ({"Id": "x"}, "column A: it needs a whole number"),
        ({"Id": ""}, "column A: the cell is empty"),
        ({"Order Number": ""}, "column B: the cell is empty"),
        ({"Order Number": "1.43E+11"}, "column B: a spreadsheet wrote the number"),
        ({"Payment Status": ""}, "column F: the cell is empty"),
        ({"Payment Status": "maybe"}, "column F: it is none of the known words for payment"),
        ({"Paid Date": "07/31/2019"}, "column I: it needs a day or a time"),
        ({"Price": "a lot"}, "column J: it needs a price"),
        ({"Contact Email": "0900000001"}, "column M: it is no address"),
        ({"Contact Mobile": "8.8693E+11"}, "column N: a spreadsheet wrote the number"),
        ({"Contact Name": "x" * 10_001}, "column L: the answer is longer"),
    ],
)
def test_a_cell_that_cannot_be_read_is_refused_with_its_place(cells: dict[str, str], place: str) -> None:
    text = refusal(attendees_csv([attendee(), {**attendee(2), **cells}]))
    assert text.startswith(f"attendees.csv: row 3, {place}")
    assert not [value for value in cells.values() if value and value in text]


def test_orders_that_contradict_the_attendees_are_refused() -> None:
    attendees = attendees_csv([attendee(1), attendee(2)])
    unpaid = order(2, 付款狀態="未繳費")
    assert "row 3, column B: orders.csv does not hold this order" in refusal(attendees, orders_csv([order(1)]))
    assert "row 3, column F: row 3 of orders.csv says otherwise" in refusal(attendees, orders_csv([order(1), unpaid]))
    missing = orders_csv([order(1), order(2), order(3)])
    assert "orders.csv: row 4: attendees.csv has no attendee of this order" in refusal(attendees, missing)
    doubled = orders_csv([order(1), order(2), order(2)])
    assert "orders.csv: row 4, column A: row 3 has the same number" in refusal(attendees, doubled)
    wrong_year = orders_csv([order(1), order(2, 付款時間="2020/07/31 10:20:30")])
    assert "orders.csv: row 3, column D: sold in 2020" in refusal(attendees, wrong_year)
    odd_state = orders_csv([order(1), order(2, 票券狀態="gone")])
    assert "orders.csv: row 3, column B: it is none of the known states" in refusal(attendees, odd_state)


def test_columns_have_the_letters_of_a_spreadsheet() -> None:
    assert [column_letters(index) for index in (0, 25, 26, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]


# -- the old digest -----------------------------------------------------------------------------------


def test_the_old_digest_is_that_of_the_address_as_typed() -> None:
    typed = [" Anna@Example.org", "anna@example.org", ""]
    rows = rows_of(read(attendees_csv([attendee(number, address) for number, address in enumerate(typed, start=1)])))
    plain_digest = Pseudonymizer().digest
    assert [row["email_sha256_as_typed"] for row in rows] == [plain_digest(text) for text in typed]
    assert rows[0]["email_sha256"] == rows[1]["email_sha256"] == plain_digest("anna@example.org")
    assert rows[2]["email_sha256"] is None


def test_the_old_digest_is_not_made_with_a_key_nor_of_polled_orders() -> None:
    export = read(attendees_csv([attendee()]))
    assert [row["email_sha256_as_typed"] for row in rows_of(export, key="secret")] == [None]
    records = next_records(None, export.attendees, (), NOW).values()
    polled = deidentify(records, EventPartition(90001, "2019", "individual"), Pseudonymizer()).frame
    assert polled["email_sha256_as_typed"].isna().all()


def test_the_contact_column_is_where_the_tests_say() -> None:
    assert read_sheet("a", attendees_csv([attendee()])).headings[ADDRESS] == "Contact Email"
