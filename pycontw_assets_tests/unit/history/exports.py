"""Exports of KKTIX as tests write them: the columns of both languages, and cells as spreadsheets leave them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

ENGLISH = (
    "Id", "Order Number", "Registration No.", "Checkin Code", "Ticket Type", "Payment Status", "Tags",
    "QR Code Serial No.", "Paid Date", "Price", "Nickname / 暱稱 (Shown on Badge)", "Contact Name", "Contact Email",
    "Contact Mobile", "Attendance Book",
)  # fmt: skip
CHINESE = (
    "Id", "訂單編號", "報名序號", "檢查碼", "票種", "票券付款狀態", "標籤", "QR Code 序號", "售出日期", "票面價格",
    "Nickname / 暱稱 (Shown on Badge)", "聯絡人 姓名", "聯絡人 Email", "聯絡人 手機", "Attendance Book",
)  # fmt: skip
ORDERS = (
    "訂單編號", "票券狀態", "付款狀態", "付款時間", "取消時間", "退款時間", "付款方式", "購買票券數量", "票券總價",
    "郵資等其他費用", "服務費", "退票金額", "選用的取票方式", "取票時間", "姓名", "Email", "手機",
)  # fmt: skip
ADDRESS, PHONE = ENGLISH.index("Contact Email"), ENGLISH.index("Contact Mobile")


def attendee(number: int = 1, address: str = "anna@example.org", *, year: int = 2019, **cells: str) -> dict[str, str]:
    """Return one row of the English export, by heading. ``cells`` replace some, spelled with underscores."""
    row = {
        "Id": str(30_000_000 + number), "Order Number": str(130_000_000 + number), "Registration No.": str(number),
        "Checkin Code": "GGGG", "Ticket Type": "Discount 優惠價", "Payment Status": "paid", "Tags": "",
        "QR Code Serial No.": "37d2639c", "Paid Date": f"{year}-07-31", "Price": "2600",
        "Nickname / 暱稱 (Shown on Badge)": "Quokka", "Contact Name": "Anna Invented", "Contact Email": address,
        "Contact Mobile": "0900000001", "Attendance Book": "",
    }  # fmt: skip
    return {**row, **{name.replace("_", " "): value for name, value in cells.items()}}


def order(number: int = 1, **cells: str) -> dict[str, str]:
    row = dict.fromkeys(ORDERS, "") | {
        "訂單編號": str(130_000_000 + number), "票券狀態": "activated", "付款狀態": "已繳費",
        "付款時間": "2019/07/31 10:20:30", "付款方式": "CREDITCARD", "購買票券數量": "1", "票券總價": "2600",
        "姓名": "Anna Invented", "Email": "anna@example.org", "手機": "0900000001",
    }  # fmt: skip
    return {**row, **cells}


def attendees_csv(
    rows: Iterable[Mapping[str, str]], headings: Sequence[str] = ENGLISH, *, extra: Mapping[str, str] | None = None
) -> bytes:
    """Return the file. ``headings`` of another language stand for the same columns; ``extra`` adds one to each row."""
    added = dict(extra or {})
    lines = [[*headings, *added], *([*(row[name] for name in ENGLISH), *added.values()] for row in rows)]
    return to_csv(lines)


def orders_csv(rows: Iterable[Mapping[str, str]]) -> bytes:
    return to_csv([list(ORDERS), *([row[name] for name in ORDERS] for row in rows)])


def to_csv(lines: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
