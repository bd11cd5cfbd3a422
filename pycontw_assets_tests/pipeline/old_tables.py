"""Tables as organisers filled them before the program existed: 28 columns, three years, invented people."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pycontw_assets.records import FAMILIES, Family
from pycontw_assets_tests.pipeline.engines import Engine

YEARS = (2018, 2019, 2020)
NUMBERS = ("registration_no", "price")
COLUMNS = (
    "registration_no", "ticket_type", "payment_status", "paid_date", "price", "dietary_habit",
    "years_of_using_python", "area_of_interest", "organization", "job_title", "country_or_region", "gender", "email",
    "tags", "invoice_policy", "attendance_book", "need_shuttle_bus_service", "size_of_tshirt", "invoiced_company_name",
    "unified_business_no", "departure_from_region", "email_from_sponsor", "email_to_sponsor",
    "how_did_you_know_pycon_tw", "have_you_ever_attended_pycon_tw", "know_financial_aid", "pynight_attendee_numbers",
    "pynight_attending_or_not",
)  # fmt: skip
# Family -> the type that pandas guessed for the price.
PRICE_TYPES: dict[Family, str] = {"corporate": "FLOAT64", "individual": "INT64", "reserved": "FLOAT64"}
SECRETS = ("Zebulon Industries", "Chief Quokka", "wants a window seat")


def name_of(family: Family) -> str:
    return f"ods_kktix_ticket_{family}_attendees"


def old_rows(family: Family) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table: per year one more than the year before, the last one never paid."""
    for year in YEARS:
        count = 4 + (year - YEARS[0]) + len(family) % 3
        for number in range(1, count + 1):
            row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
            is_paid = number < count
            row |= {
                "registration_no": number,
                "ticket_type": f'一般票 "{number % 2}" / Regular',
                "payment_status": "paid" if is_paid else "not",
                "paid_date": f"{year}-0{1 + number % 9}-15",
                "price": 1000 + 100 * (number % 2),
                "gender": "Male / 男性",
                "organization": SECRETS[0],
                "job_title": SECRETS[1],
                "tags": SECRETS[2],
                "email": hashlib.sha256(f"Guest{number}@Example.org".encode() if number > 1 else b"").hexdigest(),
            }
            yield row


def fill(engine: Engine, family: Family, name: str | None = None) -> None:
    types = {**dict.fromkeys(COLUMNS, "STRING"), "registration_no": "INT64", "price": PRICE_TYPES[family]}
    spelled = types if engine.dataset != "ods" else {**types, **{c: _duckdb(t) for c, t in types.items()}}
    target = f"{engine.dataset}.{name or name_of(family)}"
    if engine.dataset == "ods":
        engine.execute("CREATE SCHEMA IF NOT EXISTS ods")
    engine.execute(f"CREATE TABLE {target} ({', '.join(f'{c} {t}' for c, t in spelled.items())})")
    values = ",\n".join(f"({', '.join(_literal(row[c]) for c in COLUMNS)})" for row in old_rows(family))
    engine.execute(f"INSERT INTO {target} VALUES {values}")


def fill_all(engine: Engine) -> None:
    for family in FAMILIES:
        fill(engine, family)


def paid_by_ticket(year: int, family: Family) -> Counter[str]:
    """Return ticket's name -> how many paid tickets of a year."""
    return Counter(
        row["ticket_type"]
        for row in old_rows(family)
        if row["paid_date"].startswith(str(year)) and row["payment_status"] == "paid"
    )


def _duckdb(type_: str) -> str:
    return {"STRING": "VARCHAR", "INT64": "BIGINT", "FLOAT64": "DOUBLE"}[type_]


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"
