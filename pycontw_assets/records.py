"""Frozen types that several stages share. They carry small pure properties and nothing else.

A type that holds contact details hides them from its ``repr``. Printing one by accident shows ids only.
"""

from __future__ import annotations

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendee:
    """One seat, as KKTIX describes it; an allow-list of the payload's fields.

    Door credentials (``checkin_code``, ``qrcode``), ``kyc``, ``id_number``, ``search_string`` and ``slot`` are
    not fields of this type, so they end at the parser. ``answers`` is the form in form order: labels may
    repeat, values may be of any JSON type. ``is_paid`` and ``state`` are ``None`` where KKTIX did not say:
    such a ticket is not usable.
    """

    attendee_id: int
    is_paid: bool | None
    state: str | None
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

    ``read_at`` is the last good read of its details, ``changed_at`` the last read that found them different.
    ``missing_polls`` counts good polls in a row without it; ``gone_at`` is when it was found to have left the
    attendance book for good (cancelled or refunded), ``None`` while it is there. All times are aware UTC.
    """

    attendee: Attendee
    first_seen_at: datetime
    gone_at: datetime | None = None
    read_at: datetime | None = None
    changed_at: datetime | None = None
    missing_polls: int = 0

    @property
    def is_usable(self) -> bool:
        """The one statement of the rule: in the book, paid, and in the one state known to be valid."""
        return self.gone_at is None and self.attendee.is_paid is True and self.attendee.state == "activated"

    @property
    def is_defective(self) -> bool:
        """KKTIX never told what decides about access."""
        return self.attendee.is_paid is None or self.attendee.state is None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An attendee id that could not be read or understood; retried by every poll until it can."""

    reason: str
    since: datetime
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Holder:
    """An address that holds at least one usable ticket of an event.

    ``address`` is the normalised form (compared, granted); ``spelled`` is the buyer's own spelling (mailed).
    """

    key: str
    address: str = field(repr=False)
    spelled: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """Everything known of one event's attendees after a poll: what the vault keeps, one object per event.

    ``rebuilding`` is set while a lost snapshot is being read again: until every attendee was read, its absence
    from here says nothing about its holder.
    """

    partition: EventPartition
    records: Mapping[int, AttendeeRecord] = field(default_factory=dict)
    quarantine: Mapping[int, Quarantined] = field(default_factory=dict)
    rotated_at: datetime | None = None
    generation: int = 0
    rebuilding: bool = False

    @property
    def present(self) -> list[AttendeeRecord]:
        """Those who have not left the attendance book for good."""
        return [record for record in self.records.values() if record.gone_at is None]
