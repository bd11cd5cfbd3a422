"""Every endpoint that the program reads, and the members of its answers that the contract knows: KKTIX and Gather.

The facts are those of KKTIX's organiser API v2, which has no public reference, and of Gather's documented HTTP API. A
name that is missing here is never shown, only counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from pycontw_assets.pipeline.contract.shapes import ANY, Known, known, word

KKTIX, GATHER, KLAVIYO = "KKTIX", "Gather", "Klaviyo"
SERVICES = (KKTIX, GATHER, KLAVIYO)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. ``path`` is the one of the request, with a name in braces for each id."""

    name: str
    path: str
    contract: Known

    @property
    def service(self) -> str:
        return self.name.partition(" ")[0]


# Signs of paging, which neither service has shown so far. The client looks for the same names.
PAGING_LINKS = ("next", "next_page", "next_url", "next_cursor")
PAGING_TOTALS = ("total", "total_count", "count")
PAGING_LEVELS = ("meta", "links", "paging", "pagination")
_PAGING = dict.fromkeys((*PAGING_LINKS, *PAGING_TOTALS, "page", "per_page", "current_page", "total_pages"), ANY)
_PAGED = {**_PAGING, **{level: Known(members=_PAGING) for level in PAGING_LEVELS}}

# The form belongs to the organiser. These labels of the contact block are KKTIX's own, one set for each language.
_LABELS = ("聯絡人 姓名", "聯絡人 Email", "聯絡人 手機", "Contact Name", "Contact Email", "Contact Mobile", "標籤")
_PAYMENTS = ("WEBSITE", "CREDITCARD", "ATM", "FAMIPORT", "FREE_ORDER", "")

_BOOK_ROW = Known(places=(ANY,))
_ANSWER = Known(places=(word(*_LABELS), ANY))
_ATTENDEE = known(
    "id ticket_id ticket_name reg_no checkin_code qrcode is_paid price kyc id_number search_string updated_at slot "
    "order_no",
    {
        "state": word("activated", "cancelled"),
        "currency": word("TWD"),
        "payment_method": word(*_PAYMENTS),
        "ticket_type": word("qrcode"),
        "data": Known(rows=_ANSWER),
    },
)

EVENTS = Endpoint("KKTIX events", "", Known(members={**_PAGED, "data": Known(rows=known("id name"))}))
BOOKS = Endpoint("KKTIX books", "/{event}/attendance_books", Known(members=_PAGED, rows=known("id name")))
BOOK = Endpoint(
    "KKTIX book",
    "/{event}/attendance_books/{book}",
    Known(members={**_PAGED, "signin_status": Known(rows=_BOOK_ROW)}),
)
ATTENDEE = Endpoint("KKTIX attendee", "/{event}/attendees/{attendee}", _ATTENDEE)
NO_ATTENDEE = Endpoint("KKTIX attendee that does not exist", "/{event}/attendees/{attendee}", ANY)

_GUEST = known("name affiliation", {"role": word("guest", "member", "moderator", "")})
GUESTS = Endpoint("Gather guest list", "/api/getEmailGuestlist", Known(keyed=_GUEST))

OTHERS = (EVENTS, BOOKS, BOOK, ATTENDEE, NO_ATTENDEE, GUESTS)
