"""KKTIX's hosting interface and Gather's guest list, as far as they are known. Both know one way to ask only."""

from __future__ import annotations

import re
from typing import Any

from pycontw_assets_tests.contract_server import sale
from pycontw_assets_tests.contract_server.exchange import Answer, Question, Refused


def answer_kktix(question: Question) -> Answer:
    """Answer the events, the books, a book or an attendee. Nothing has pages."""
    scheme, _, token = question.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or token != sale.KKTIX_TOKEN:
        raise Refused(401, "unauthorized")
    if question.method != "GET":
        raise Refused(405, "method not allowed")
    if question.path == "":
        return Answer(200, {"data": [{"id": event, "name": name} for event, name in sale.EVENTS.items()]})
    found = re.fullmatch(r"/(\d+)/(attendance_books|attendees)(?:/(\d+))?", question.path)
    if not found or int(found[1]) not in sale.EVENTS:
        raise Refused(404, "not found")
    return Answer(200, _of_event(int(found[1]), found[2], found[3]))


def _of_event(event: int, kind: str, number: str | None) -> Any:
    books = sale.BOOKS.get(event, {})
    if kind == "attendance_books":
        if number is None:
            return [{"id": book, "name": name} for book, name in books.items()]
        if int(number) in books:
            return {"signin_status": [_signed_in(ticket) for ticket in sale.TICKETS.values() if ticket.event == event]}
    ticket = sale.TICKETS.get(int(number or 0)) if kind == "attendees" else None
    if ticket is None or ticket.event != event:
        raise Refused(404, "not found")
    return ticket.as_json()


def _signed_in(ticket: sale.Ticket) -> list[Any]:
    """Return a row of a book. What follows the id is not known: any length is allowed."""
    return [ticket.attendee_id, *([], [None], [1935000100.5])[ticket.number % 3]]


def answer_gather(question: Question) -> Answer:
    """Answer the guest list, whole."""
    if (question.method, question.path) != ("GET", "/api/getEmailGuestlist"):
        raise Refused(404, "not found")
    if question.query.get("apiKey") != sale.GATHER_KEY:
        raise Refused(401, "Unable to access your account.")
    if question.query.get("spaceId") not in sale.GATHER_SPACES:
        raise Refused(404, "no such space")
    return Answer(200, sale.GUESTS if question.query["spaceId"] == sale.GATHER_SPACES[0] else sale.OTHER_GUESTS)
