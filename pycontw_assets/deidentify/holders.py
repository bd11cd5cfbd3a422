"""From attendees to holders: contact addresses with a usable ticket, and their pseudonyms. Pure.

The policy says which labels ask for the contact address: those of its rule for ``email_sha256``. So a ticket has a
digest in that column if and only if its address is invited.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pycontw_assets.deidentify.policy import Policy, load_policy
from pycontw_assets.pseudonyms import (
    Pseudonymizer,
    deliverable_address,
    former_addresses,
    is_mailable,
    normalise_address,
)
from pycontw_assets.records import Attendee, AttendeeRecord, Holder, OrderSnapshot

_T = TypeVar("_T")


def contact_address(attendee: Attendee) -> str | None:
    """Return the buyer's address in its deliverable spelling; ``None`` where none was given."""
    answer = contact_answer(attendee)
    return None if answer is None else deliverable_address(answer)


def contact_answer(attendee: Attendee) -> str | None:
    """Return the buyer's address as it was typed; ``None`` where none was given.

    KKTIX appends a contact block to every form. Only text counts as an address; another JSON value invites nobody.
    """
    for label, value in attendee.answers:
        if _asks_for_contact_address(label) and isinstance(value, str) and _says_something(value):
            return value
    return None


def _says_something(answer: str) -> bool:
    """Whether more is left of an answer than blanks and characters that show nothing. An ``@`` always is."""
    return "@" in answer or bool(deliverable_address(answer))


def _kept(find: Callable[..., _T]) -> Callable[..., _T]:
    """Keep the latest answer of a function, for the very same arguments.

    The steps of a run ask about the same orders in turn.
    """
    latest: tuple[tuple[object, ...], _T] | None = None

    @functools.wraps(find)
    def answer(*asked: object) -> _T:
        nonlocal latest
        kept = latest
        if kept is None or not all(new is known for new, known in zip(asked, kept[0], strict=True)):
            kept = latest = asked, find(*asked)
        return kept[1]

    return answer


@dataclass(frozen=True, slots=True)
class Contact:
    """A usable ticket and its contact address: as it was typed, and normalised.

    ``address`` is ``None`` where mail cannot be sent to it: it is missing, or has not the shape of an address.
    """

    record: AttendeeRecord
    answer: str = field(repr=False)
    address: str | None = field(repr=False)


def usable_contacts(snapshot: OrderSnapshot) -> Sequence[Contact]:
    """Return the contacts of the usable tickets, the oldest ticket first."""
    return _find_contacts(snapshot.records, load_policy())


@_kept
def _find_contacts(records: Mapping[int, AttendeeRecord], _policy: Policy) -> list[Contact]:
    return [_contact(record) for _, record in sorted(records.items()) if record.is_usable]


def _contact(record: AttendeeRecord) -> Contact:
    answer = contact_answer(record.attendee) or ""
    address = normalise_address(answer)
    return Contact(record, answer, address if is_mailable(address) else None)


@dataclass(frozen=True, slots=True)
class Contacts:
    """Judge contact addresses. ``refused``: pseudonyms of addresses that no mail of ours can reach."""

    pseudonymizer: Pseudonymizer
    refused: Collection[str] = ()

    def has_contact(self, attendee: Attendee) -> bool:
        """Whether the form says which address the buyer gave, be it none.

        Otherwise the answer could not be read: its label is not there, or its value is neither a text nor empty.
        """
        if contact_answer(attendee) is not None:
            return True
        values = [value for label, value in attendee.answers if _asks_for_contact_address(label)]
        return bool(values) and all(value is None or isinstance(value, str) for value in values)

    def unreachable(self, snapshot: OrderSnapshot) -> list[int]:
        """Return the numbers of the usable tickets that mail cannot reach, as far as is known."""
        return [
            contact.record.attendee.attendee_id
            for contact in usable_contacts(snapshot)
            if contact.address is None or (self.refused and self.pseudonymizer.digest(contact.address) in self.refused)
        ]


@functools.lru_cache(maxsize=10_000)
def _asks_for_contact_address(label: str) -> bool:
    """Ask the policy once per label. This is called for every answer of every attendee, and labels are few."""
    return load_policy().asks_for_contact_address(label)


def holders_of(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, Holder]:
    """Return pseudonym -> holder, one entry per mailbox with a usable ticket that mail can be sent to.

    The oldest ticket comes first, in whatever order the orders were read: places in a space are given in this order.
    The tickets of an import make nobody a holder: their conference is over, and only polls say what is valid now.
    """
    if snapshot.partition.is_imported:
        return {}
    return dict(_find_holders(usable_contacts(snapshot), pseudonymizer))


@_kept
def _find_holders(contacts: Sequence[Contact], pseudonymizer: Pseudonymizer) -> dict[str, Holder]:
    typed: dict[str, list[str]] = {}
    for contact in contacts:
        if contact.address is not None:
            typed.setdefault(contact.address, []).append(contact.answer)
    holders = (_holder(address, answers, pseudonymizer) for address, answers in typed.items())
    return {holder.key: holder for holder in holders}


def _holder(address: str, answers: list[str], pseudonymizer: Pseudonymizer) -> Holder:
    former = {form for answer in answers for form in former_addresses(answer)}
    return Holder(pseudonymizer.digest(address), address, deliverable_address(answers[0]), tuple(sorted(former)))


def spellings_of(records: Iterable[AttendeeRecord]) -> set[str]:
    """Return every contact address as it was typed, whatever became of the ticket."""
    return {answer for record in records if (answer := contact_answer(record.attendee)) is not None}


def count_unmailable(snapshot: OrderSnapshot) -> int:
    """Count the usable tickets whose contact address is missing or has not the shape of an address."""
    return sum(contact.address is None for contact in usable_contacts(snapshot))
