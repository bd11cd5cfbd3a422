"""Frozen types that several stages share. No behaviour beyond small properties; nothing here does I/O.

A type that holds contact details hides them from its ``repr``, so that printing one by accident shows ids only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Family = Literal["corporate", "individual", "reserved"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True, slots=True)
class Event:
    """A KKTIX event as its listing shows it. The name is free text edited by the organiser."""

    event_id: int
    name: str


@dataclass(frozen=True, slots=True)
class EventPartition:
    """One KKTIX event of one edition and family: one Dagster partition, ``<edition>-<family>-<event id>``."""

    event_id: int
    edition: str
    family: Family

    @property
    def key(self) -> str:
        return f"{self.edition}-{self.family}-{self.event_id}"


@dataclass(frozen=True, slots=True)
class Attendee:
    """One seat, as KKTIX describes it; an allow-list of the payload's fields.

    Door credentials (``checkin_code``, ``qrcode``), ``kyc``, ``id_number``, ``search_string`` and ``slot`` are
    not fields of this type, so they end at the parser. ``answers`` is the form in form order: labels may
    repeat, values may be of any JSON type.
    """

    attendee_id: int
    is_paid: bool
    state: str
    answers: tuple[tuple[str, Any], ...] = field(repr=False)
    ticket_id: int | None = None
    ticket_name: str | None = None
    reg_no: int | None = None
    price: float | None = None
    currency: str | None = None
    payment_method: str | None = None
    ticket_type: str | None = None
    order_no: int | None = None
    updated_at: float | None = None


@dataclass(frozen=True, slots=True)
class AttendeeRecord:
    """An attendee and what we know of its presence: one row of the warehouse.

    ``gone_at`` is when it was found to have left the attendance book for good (cancelled or refunded);
    ``None`` while it is there. All times are aware UTC.
    """

    attendee: Attendee
    first_seen_at: datetime
    gone_at: datetime | None = None

    @property
    def is_usable(self) -> bool:
        """The one statement of the rule: in the book, paid, and in the one state known to be valid."""
        return self.gone_at is None and self.attendee.is_paid is True and self.attendee.state == "activated"
