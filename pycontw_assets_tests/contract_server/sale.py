"""An invented sale: three events of a conference, fourteen attendees, and what Klaviyo keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KKTIX_TOKEN = "kk-witness-5cbe01"
GATHER_KEY = "gk-witness-81d7f3"
GATHER_SPACES = ("WitnessSpace0042\\Hall of Pangolins", "WitnessSpace0043\\Hall of Civets")
KLAVIYO_KEY = "pk_witness_0f9ad2"

EVENTS = {
    73001: "PyCon TW 2031 Registration: Individual",
    73002: "PyCon TW 2031 Registration: Corporate 企業票",
    73003: "PyCon TW 2031 Registration: Reserved",
    73009: "PyCon TW 2031 Volunteer Barbecue",
}
BOOKS = {73001: {46501: "Saturday door", 46502: "Sunday door"}, 73002: {46503: "Both days"}, 73003: {46504: "Both"}}
LONG_QUESTION = ("Which of these workshops would you attend 請選擇工作坊? " * 9)[:200]
_LABELS = {
    73001: ("聯絡人 姓名", "聯絡人 Email", "聯絡人 手機"),
    73002: ("Contact Name", "Contact Email", "Contact Mobile"),
    73003: ("聯絡人 姓名", "聯絡人 Email", "聯絡人 手機"),
}
_PEOPLE = (
    ("Okapi Lin", "okapi.lin@example.org"),
    ("Tapir Chen", "Tapir.Chen@example.org"),
    ("Numbat Wu", "numbat.wu@example.org"),
    ("Quoll Tsai", "quoll+tickets@example.org"),
    ("石虎 小林", "leopard-cat@example.org"),
    ("Serval Hsu", "serval.hsu@example.org"),
    ("Dhole Kao", "dhole.kao@example.org"),
)
_SOLD = ((73001, 7), (73002, 4), (73003, 3))
SPEAKER = "aardvark.desk@example.org"


@dataclass(frozen=True)
class Ticket:
    """One attendee. ``state`` and ``is_paid`` are KKTIX's; an order that waits for its payment is not paid."""

    event: int
    number: int
    name: str
    address: str
    is_paid: bool

    @property
    def attendee_id(self) -> int:
        return self.event * 100 + 10 + self.number

    @property
    def answers(self) -> list[list[Any]]:
        name, address, phone = _LABELS[self.event]
        return [
            ["Nickname / 暱稱 (Shown on Badge)", self.name.split()[0]],
            ["# invoice policy #", ""],
            [LONG_QUESTION, "Beekeeping with asyncio"],
            ["Years of Using Python / 使用 Python 多久", 7 if self.number == 2 else "3-5 years"],
            ["Employer", "Pangolin Works Ltd"],
            ["Employer", None],
            [name, self.name],
            [address, self.address],
            [phone, f"09{self.attendee_id:08d}"],
            ["標籤", ""],
        ]

    def as_json(self) -> dict[str, Any]:
        price = 0 if self.event == 73003 else 2500
        return {
            "id": self.attendee_id,
            "ticket_id": 58000 + self.event % 10,
            "ticket_name": f"Burrow {'free' if not price else 'regular'} 一般票",
            "reg_no": self.number,
            "state": "activated",
            "checkin_code": f"W{self.number}XQ",
            "qrcode": f"{self.attendee_id:07d}fedcba9876543210fedcba987",
            "is_paid": self.is_paid,
            "price": price if self.number != 3 else price + 0.5,
            "currency": "TWD",
            "payment_method": "WEBSITE",
            "data": self.answers,
            "kyc": {},
            "id_number": None,
            "search_string": f"{self.name}\n{self.address}",
            "updated_at": 1935000000.25 + self.number,
            "ticket_type": "qrcode",
            "slot": {},
            "order_no": 812300000 + self.attendee_id % 100000,
        }


def _sell() -> Iterator[Ticket]:
    for event, many in _SOLD:
        for number in range(1, many + 1):
            name, address = _PEOPLE[(number - 1) % len(_PEOPLE)]
            yield Ticket(event, number, name, address, is_paid=number != many or event == 73003)


TICKETS = {ticket.attendee_id: ticket for ticket in _sell()}
GUESTS: dict[str, dict[str, str]] = {
    **{address: {"name": "", "role": "guest", "affiliation": "Attendee"} for _, address in _PEOPLE[:4]},
    SPEAKER: {"name": "Aardvark Desk", "affiliation": "Keynote", "role": "moderator"},
    "byhand.narwhal@example.org": {},
}
OTHER_GUESTS: dict[str, dict[str, str]] = {
    address: {"name": "", "role": "guest", "affiliation": "Attendee"} for _, address in _PEOPLE[4:]
}

# -- Klaviyo --------------------------------------------------------------------------------------------------

LISTS = {
    f"LwT{number:03d}": "pycontw-2031-individual-73001-ticket-holders" if number == 4 else f"Burrow bulletin {number}"
    for number in range(1, 14)
}
PROFILES = {f"01JWITNESS00000000000000{number:02d}": person for number, person in enumerate(_PEOPLE, start=1)}
TEMPLATES = {f"TwM{number:03d}": f"pycontw-2031-invitation-v{number}" for number in (1, 2)}
CAMPAIGNS = {  # id -> name, status, archived
    "01JWCAMPAIGN00000000000001": ("pycontw-2031-invite-20310601T0200Z-77aa11bb", "Sent", False),
    "01JWCAMPAIGN00000000000002": ("pycontw-2030-invite-20300601T0200Z-77aa11cc", "Sent", True),
    "01JWCAMPAIGN00000000000003": ("pycontw-2031-invite-20310603T0200Z-77aa11dd", "Sent", False),
    "01JWCAMPAIGN00000000000004": ("Burrow newsletter of June", "Draft", False),
}
METRICS = {"MwT001": "Placed Order", "MwT002": "Received Email", "MwT003": "pycontw-ticket-usable"}
FLOWS = {"FwL001": ("Welcome to the burrow", "live"), "FwL002": ("Old welcome", "draft")}
SUBJECT = "Your way into the burrow"


def secrets() -> set[str]:
    """Return everything that the report must not hold: people, keys, names of events, tickets and things, ids."""
    found: set[str] = {KKTIX_TOKEN, GATHER_KEY, *GATHER_SPACES, KLAVIYO_KEY, SUBJECT}
    found |= {*EVENTS.values(), *map(str, EVENTS), *GUESTS, *OTHER_GUESTS, "Aardvark", "Keynote", LONG_QUESTION}
    for space in GATHER_SPACES:
        found |= set(space.split("\\"))
    for books in BOOKS.values():
        found |= {*books.values(), *map(str, books)}
    for ticket in TICKETS.values():
        shown = ticket.as_json()
        found |= {str(shown[name]) for name in ("id", "ticket_id", "ticket_name", "checkin_code", "qrcode", "order_no")}
        found |= {part for label, value in ticket.answers[:8] for part in (label, str(value)) if value}
        found |= {ticket.answers[8][1], *ticket.name.split(), shown["search_string"], str(shown["updated_at"])}
    found |= {*LISTS, *LISTS.values(), *PROFILES, *TEMPLATES, *TEMPLATES.values(), *CAMPAIGNS, *METRICS, *FLOWS}
    found |= {name for name, _, _ in CAMPAIGNS.values()} | {name for name, _ in FLOWS.values()} | set(METRICS.values())
    # The language of a form is no secret: these labels are KKTIX's own, and so is the number of one digit.
    return {text for text in found - {label for labels in _LABELS.values() for label in labels} if len(text) > 1}
