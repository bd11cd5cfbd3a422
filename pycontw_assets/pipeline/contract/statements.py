"""Every assumption about KKTIX and Gather that an answer can confirm or refute, and the table of all statements.

A new assumption is one line: the endpoint, the place in its answers, and what is expected. ``judge`` has the kinds.
"""

from __future__ import annotations

from pycontw_assets.pipeline.contract.endpoints import ATTENDEE, BOOK, BOOKS, EVENTS, GUESTS, NO_ATTENDEE
from pycontw_assets.pipeline.contract.judge import (
    Statement,
    answers,
    fact,
    kinds,
    length,
    media_type,
    member,
    not_round,
    one_page,
    refuses,
    words,
)
from pycontw_assets.pipeline.contract.klaviyo_statements import OF_KLAVIYO
from pycontw_assets.pipeline.contract.shapes import Fold

_JSON = "application/json"
_WHOLE, _NUMBER, _TEXT, _LIST, _OBJECT = "whole number", "number with fraction", "text", "list", "object"
_PAGE_SIZES = (100, 500, 1000)
_READ = "attendees read"

_OF_KKTIX: tuple[Statement, ...] = (
    answers(EVENTS),
    media_type(EVENTS, _JSON),
    member(EVENTS, "data", _LIST),
    member(EVENTS, "data[].id", _WHOLE),
    member(EVENTS, "data[].name", _TEXT),
    one_page(EVENTS),
    not_round(EVENTS, "data", _PAGE_SIZES),
    answers(BOOKS),
    member(BOOKS, Fold.ROOT, _LIST),
    member(BOOKS, "[].id", _WHOLE),
    length(BOOKS, Fold.ROOT, least=1, most=1000, text="every event has at least one attendance book"),
    one_page(BOOKS),
    answers(BOOK),
    member(BOOK, "signin_status", _LIST),
    member(BOOK, "signin_status[]", _LIST),
    member(
        BOOK, "signin_status[][0]", _WHOLE, text="the first item of every row of a book is the attendee's id, a number"
    ),
    one_page(BOOK),
    not_round(BOOK, "signin_status", _PAGE_SIZES),
    fact(BOOK, "ids twice in one book", "a book lists nobody twice", of="ids in books"),
    fact(BOOK, "ids in books of two events", "nobody is in the books of two events", of="ids in books"),
    answers(ATTENDEE, or_nothing=True),
    member(ATTENDEE, "id", _WHOLE),
    member(ATTENDEE, "ticket_id", _WHOLE),
    member(ATTENDEE, "ticket_name", _TEXT),
    member(ATTENDEE, "reg_no", _WHOLE),
    member(ATTENDEE, "state", _TEXT),
    words(ATTENDEE, "state"),
    member(ATTENDEE, "is_paid", "true or false"),
    member(ATTENDEE, "price", _WHOLE, _NUMBER),
    member(ATTENDEE, "currency", _TEXT),
    words(ATTENDEE, "currency", "every price is in TWD"),
    member(ATTENDEE, "payment_method", _TEXT),
    words(ATTENDEE, "payment_method"),
    member(ATTENDEE, "ticket_type", _TEXT),
    words(ATTENDEE, "ticket_type"),
    member(ATTENDEE, "updated_at", _WHOLE, _NUMBER),
    member(ATTENDEE, "order_no", _WHOLE),
    member(ATTENDEE, "checkin_code", _TEXT),
    length(ATTENDEE, "checkin_code", least=4, most=4, text="a check-in code has 4 characters"),
    member(ATTENDEE, "qrcode", _TEXT),
    length(ATTENDEE, "qrcode", least=32, most=32, text="a QR code has 32 characters"),
    member(ATTENDEE, "kyc", _OBJECT),
    member(ATTENDEE, "id_number", "null"),
    member(ATTENDEE, "slot", _OBJECT),
    member(ATTENDEE, "search_string", _TEXT),
    member(ATTENDEE, "data", _LIST),
    member(ATTENDEE, "data[]", _LIST),
    length(ATTENDEE, "data[]", least=2, most=2, text="every answer of the form is a pair of label and value"),
    member(ATTENDEE, "data[][0]", _TEXT, text="every label of the form is a text"),
    fact(ATTENDEE, "labels longer than 200 characters", "labels are cut at 200 characters", of=_READ),
    fact(
        ATTENDEE,
        "attendees without a contact address",
        "every form has the contact address under one of the two known labels",
        of=_READ,
    ),
    fact(ATTENDEE, "attendees with another id than asked for", "the answer has the id that was asked for", of=_READ),
    fact(
        ATTENDEE,
        "attendees in a book and not paid",
        "attendees who have not paid are in the book, too",
        of=_READ,
        occurs=True,
    ),
    fact(ATTENDEE, "attendees in a book and cancelled", "cancelled attendees are not in the book", of=_READ),
    refuses(NO_ATTENDEE, "404", "an attendee that does not exist is answered with 404"),
)

_OF_GATHER: tuple[Statement, ...] = (
    answers(GUESTS),
    media_type(GUESTS, _JSON),
    member(GUESTS, Fold.ROOT, _OBJECT),
    kinds(GUESTS, "(name)", "address", text="every name in the guest list is an address"),
    member(GUESTS, "*", _OBJECT, text="every entry of the guest list is an object"),
    member(GUESTS, "*.name", _TEXT, optional=True),
    member(GUESTS, "*.affiliation", _TEXT, optional=True),
    member(GUESTS, "*.role", _TEXT, optional=True),
    words(GUESTS, "*.role"),
)

STATEMENTS: tuple[Statement, ...] = (*_OF_KKTIX, *_OF_GATHER, *OF_KLAVIYO)
