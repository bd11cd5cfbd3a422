"""Find the person a command is about: by address, or by one of their numbers in KKTIX. Pure.

Three kinds of numbers look alike, and a number can be the order of one person and the attendee of another. Then
nobody is chosen: the caller asks which one is meant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.pseudonyms import masked, normalise_address
from pycontw_assets.records import AttendeeRecord, EventPartition, OrderSnapshot

Kind = Literal["order", "registration", "attendee"]
Snapshots = Mapping[EventPartition, OrderSnapshot]

METAVAR = "ADDRESS|NUMBER"
HELP = (
    "the address, or a number in KKTIX: of the order, of the registration or of the attendee (`attendee:NUMBER` leaves "
    "no doubt which); - reads standard input"
)

_KINDS: tuple[Kind, ...] = get_args(Kind)
_NUMBER = re.compile(rf"(?:(?P<kind>{'|'.join(_KINDS)})s?\b[ :]*)?(?:#|no\b\.?)? *(?P<digits>\d[\d ]*)")
_LONGEST_NUMBER = 18  # digits
_MOST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Seat:
    """One attendee of one event. Only the two together are known to be unique."""

    partition: EventPartition
    attendee_id: int


@dataclass(frozen=True, slots=True)
class Person:
    """An address with all its seats, or a seat without an address. ``fits``: the kinds of number that led here."""

    address: str | None = field(repr=False)
    seats: tuple[Seat, ...]
    fits: tuple[Kind, ...] = ()

    @property
    def who(self) -> str:
        """The person as shown to people: a masked address, or else the attendee's number."""
        return masked(self.address) if self.address else f"attendee {self.seats[0].attendee_id}"


def is_number(wanted: str) -> bool:
    """Whether a person is asked for by a number."""
    return _number(wanted) is not None


def find_people(wanted: str, snapshots: Snapshots) -> list[Person]:
    """Return everybody whom the address or the number fits. An address is one person, whether it has seats or not."""
    if (asked := _number(wanted)) is None:
        address = normalise_address(wanted)
        return [Person(address, _seats_of(address, snapshots))]
    kind, digits = asked
    fitting: dict[str | Seat, set[Kind]] = {}
    for seat, found, kinds in _fitting(snapshots, int(digits)):
        if chosen := kinds if kind is None else kinds & {kind}:
            fitting.setdefault(found or seat, set()).update(chosen)
    return [
        Person(
            key if isinstance(key, str) else None,
            (key,) if isinstance(key, Seat) else _seats_of(key, snapshots),
            tuple(each for each in _KINDS if each in kinds),
        )
        for key, kinds in fitting.items()
    ]


def describe_choice(wanted: str, people: Iterable[Person]) -> Iterator[str]:
    """Yield the question which of several people is meant. Addresses are masked."""
    everybody = list(people)
    asked = _number(wanted)
    yield f"{asked[1] if asked else wanted} fits {len(everybody)} people; which one is meant?"
    for person in everybody[:_MOST_SHOWN]:
        seats = ", ".join(f"attendee:{seat.attendee_id} of {seat.partition.key}" for seat in person.seats[:_MOST_SHOWN])
        yield f"  {' and '.join(person.fits)} of {person.who}: {seats}"
    if len(everybody) > _MOST_SHOWN:
        yield f"  and {len(everybody) - _MOST_SHOWN} more"
    yield "Ask again with the address, or with attendee:NUMBER"


def _number(wanted: str) -> tuple[Kind | None, str] | None:
    """Return a number with the kind it is said to be. Width, blanks and ``#`` do not count."""
    text = unicodedata.normalize("NFKC", wanted).casefold()
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    match = _NUMBER.fullmatch(" ".join(text.split()))
    if match is None:
        return None
    kind: Kind | None = match["kind"]  # type: ignore[assignment]  # the expression holds these words only
    return kind, match["digits"].replace(" ", "")[: _LONGEST_NUMBER + 1]


def _fitting(snapshots: Snapshots, number: int) -> Iterator[tuple[Seat, str | None, set[Kind]]]:
    """Yield every seat that has this number, with its address and what the number is of."""
    for partition, snapshot in sorted(snapshots.items(), key=lambda item: item[0].key):
        for attendee_id, record in sorted(snapshot.records.items()):
            numbers = {
                "order": record.attendee.order_no,
                "registration": record.attendee.reg_no,
                "attendee": attendee_id,
            }
            if kinds := {kind for kind in _KINDS if numbers[kind] == number}:
                yield Seat(partition, attendee_id), _address(record), kinds
        if number in snapshot.quarantine and number not in snapshot.records:
            yield Seat(partition, number), None, {"attendee"}


def _seats_of(address: str, snapshots: Snapshots) -> tuple[Seat, ...]:
    return tuple(
        Seat(partition, attendee_id)
        for partition, snapshot in sorted(snapshots.items(), key=lambda item: item[0].key)
        for attendee_id, record in sorted(snapshot.records.items())
        if _address(record) == address
    )


def _address(record: AttendeeRecord) -> str | None:
    spelled = contact_address(record.attendee)
    return normalise_address(spelled) if spelled else None
