"""Frozen types that several rooms share, with small pure properties and nothing else.

A type that holds contact details hides them from its ``repr``. Printing one by accident shows ids only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Family = Literal["corporate", "individual", "reserved"]
FAMILIES: tuple[Family, ...] = get_args(Family)
TicketState = Literal["usable", "unpaid", "not activated", "missing", "unclear", "cancelled"]
TICKET_STATES: tuple[TicketState, ...] = get_args(TicketState)
_IMPORTED = "import"  # the last part of a key, in the place of an event's number


@dataclass(frozen=True, slots=True)
class Event:
    """A KKTIX event as its listing shows it. The name is free text edited by the organiser."""

    event_id: int
    name: str


@dataclass(frozen=True, slots=True)
class EventPartition:
    """One KKTIX event of one edition and family: one Dagster partition, ``<edition>-<family>-<event id>``.

    Or the export of a former edition, ``<edition>-<family>-import``. Its number is ours and below 0, which none of
    KKTIX's is.
    """

    event_id: int
    edition: str
    family: Family

    @classmethod
    def imported(cls, edition: str, family: Family) -> EventPartition:
        """Return the partition of the export of an edition and family: there is one, with a number of its own."""
        return cls(-(int(edition) * 10 + FAMILIES.index(family) + 1), edition, family)

    @property
    def is_imported(self) -> bool:
        """Whether its attendees come from an export: nobody is let in or mailed because of them."""
        return self.event_id < 0

    @property
    def key(self) -> str:
        """The partition key, for example ``2031-individual-90001`` or ``2019-corporate-import``."""
        return f"{self.edition}-{self.family}-{_IMPORTED if self.is_imported else self.event_id}"


class ImportedPartition(ValueError):
    """Somebody was about to be let in or mailed because of an imported export. That is a mistake in the code."""


def is_import_key(partition_key: str) -> bool:
    """Whether a partition key is that of an imported export."""
    return partition_key.endswith(f"-{_IMPORTED}")


def refuse_imported(partition_key: str) -> None:
    """Raise ``ImportedPartition`` for the key of an import: nobody gets access or mail because of one."""
    if is_import_key(partition_key):
        raise ImportedPartition(f"{partition_key} is an import: nobody is let in or mailed because of it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendee:
    """One seat as KKTIX describes it, with an allow-list of the payload's fields.

    Door credentials (``checkin_code``, ``qrcode``), ``kyc``, ``id_number``, ``search_string`` and ``slot`` are no
    fields of this type, so they end at the parser. ``answers`` is the form in form order: labels may repeat, values
    may have any JSON type. ``is_paid`` and ``state`` are ``None`` where KKTIX did not say. Such a ticket is not usable.
    ``price`` is in whole units of ``currency``, ``updated_at`` in Unix seconds. ``withheld`` counts the answers and
    fields that were there and could not be read.
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
    withheld: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AttendeeRecord:
    """An attendee and its presence in the attendance book: one row of the warehouse.

    ``read_at``: the last good read of the details. ``changed_at``: the last read that found them different.
    ``listed_after``: the last good poll whose book lacked it. ``paid_seen_at``: the first poll that read it as paid.
    ``paid_seen_after``: the last read that found it unpaid, or the last poll without it. Each is ``None`` where nobody
    knows: in records of older versions, and, for the two bounds, in those of an event's first poll.
    ``missing_polls``: 0 while the book lists it, 1 since a good poll missed it, 2 since one of which a person said that
    its book is right. ``gone_at``: when a poll found that it had left the book for good (cancelled or refunded),
    ``None`` while it is there. All times are aware, in UTC.
    ``content_number`` is derived from the others, and kept where it was needed once (``extract.orders``).
    """

    attendee: Attendee
    first_seen_at: datetime
    gone_at: datetime | None = None
    read_at: datetime | None = None
    changed_at: datetime | None = None
    missing_polls: int = 0
    listed_after: datetime | None = None
    paid_seen_at: datetime | None = None
    paid_seen_after: datetime | None = None
    content_number: int | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_usable(self) -> bool:
        """Whether the ticket lets its holder in: in the book, paid, and in the one state that is known to be valid."""
        return self.gone_at is None and self.attendee.is_paid is True and self.attendee.state == "activated"

    @property
    def is_defective(self) -> bool:
        """Whether KKTIX never said what decides about access."""
        return self.attendee.is_paid is None or self.attendee.state is None

    @property
    def ticket_state(self) -> TicketState:
        """Return the one word for a ticket that every command, asset and report uses.

        ``missing``: the book lacks it, and KKTIX was not asked about it yet, or calls it paid. ``unclear``:
        KKTIX does not say whether it is paid and valid. ``not activated``: paid, and not valid for a reason of KKTIX's.
        """
        if self.gone_at is not None:
            return "cancelled"
        if self.missing_polls:
            return "missing"
        if self.is_defective:
            return "unclear"
        if self.is_usable:
            return "usable"
        if self.attendee.state == "cancelled":
            return "cancelled"
        return "unpaid" if self.attendee.is_paid is not True else "not activated"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An attendee id that could not be read or understood. Every poll tries it again."""

    reason: str
    since: datetime
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Holder:
    """An address with at least one usable ticket of an event.

    ``key`` is its pseudonym. ``address`` is normalised, for comparisons and the guest list. ``spelled`` has the buyer's
    own capitals, for mail. ``former``: other forms of the same mailbox, which older records and services may hold.
    """

    key: str
    address: str = field(repr=False)
    spelled: str = field(repr=False)
    former: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The content that a store keeps although it was replaced or deleted.

    ``line`` says where and why. ``goes``: when it goes by itself. ``todo``: what a person has to do about it.
    ``is_known``: whether the store said so itself.
    """

    line: str
    goes: str = ""
    todo: str = ""
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """All that is known of the attendees of one event after a poll: the vault's object of that event.

    ``records`` and ``quarantine`` are by attendee id. ``rotated_at``: the last poll that read attendees by age.
    ``generation`` grows with every write. ``rebuilding``: a lost snapshot is being read again. Until every attendee was
    read, an absent one says nothing about its holder. ``mark`` names the write, and the ledger knows it.
    """

    partition: EventPartition
    records: Mapping[int, AttendeeRecord] = field(default_factory=dict)
    quarantine: Mapping[int, Quarantined] = field(default_factory=dict)
    rotated_at: datetime | None = None
    generation: int = 0
    rebuilding: bool = False
    mark: str | None = None

    @property
    def present(self) -> list[AttendeeRecord]:
        """The attendees that have not left the attendance book for good."""
        return [record for record in self.records.values() if record.gone_at is None]
