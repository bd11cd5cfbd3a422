"""Requests to KKTIX on the days of a sale: by the pipeline's rule for re-reads, and in the naive way."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from pycontw_assets.extract.orders import refresh_due
from pycontw_assets.records import Attendee, AttendeeRecord

POLLS_A_DAY = 288
_CONSTANT = 3  # requests of an idle poll: the listing, the list of books, one book
_DAY = timedelta(days=1)
_START = datetime(2031, 5, 1, tzinfo=timezone.utc)


def rereads_by_age(days: int, refresh: timedelta) -> list[int]:
    """Return how often an unchanged attendee is read on its first day, its second, …."""
    record = AttendeeRecord(
        Attendee(attendee_id=1, is_paid=True, state="activated", answers=()), _START, read_at=_START, changed_at=_START
    )
    reads = [1] + [0] * (days - 1)
    while (due := refresh_due(record, refresh)) < _START + days * _DAY:
        reads[(due - _START) // _DAY] += 1
        record = replace(record, read_at=due)
    return reads


def season(attendees: int, days: int, refresh: timedelta = timedelta(hours=1)) -> list[tuple[int, int, int]]:
    """Return per day of a steady sale: attendees known in the evening, requests of the pipeline, naive requests."""
    by_age = rereads_by_age(days, refresh)
    sold = [attendees * (day + 1) // days - attendees * day // days for day in range(days)]
    table = []
    for day in range(days):
        known = sum(sold[: day + 1])
        pipeline = POLLS_A_DAY * _CONSTANT + sum(sold[day - age] * by_age[age] for age in range(day + 1))
        table.append((known, pipeline, POLLS_A_DAY * (_CONSTANT + known)))
    return table
