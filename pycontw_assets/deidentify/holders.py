"""From attendees to holders: contact addresses with a usable ticket, and their pseudonyms. Pure.

The policy says which labels ask for the contact address: those of its rule for ``email_sha256``. So a ticket has a
digest in that column if and only if its address is invited.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pycontw_assets.deidentify.policy import Policy, load_policy
from pycontw_assets.pseudonyms import (
    Pseudonymizer,
    deliverable_address,
    former_addresses,
    is_mailable,
    normalise_address,
)
from pycontw_assets.records import Attendee, AttendeeRecord, Holder, OrderSnapshot


def contact_address(attendee: Attendee) -> str | None:
    """Return the buyer's address in its deliverable spelling; ``None`` where none was given."""
    answer = contact_answer(attendee)
    return None if answer is None else deliverable_address(answer)


def contact_answer(attendee: Attendee) -> str | None:
    """Return the buyer's address as it was typed; ``None`` where none was given.

    KKTIX appends a contact block to every form. Only text counts as an address; another JSON value invites nobody.
    """
    for label, value in attendee.answers:
        if _asks_for_contact_address(label) and isinstance(value, str) and deliverable_address(value):
            return value
    return None


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

    def is_reachable(self, attendee: Attendee) -> bool:
        """Whether mail can reach the contact address, as far as is known."""
        address = normalise_address(contact_answer(attendee) or "")
        return is_mailable(address) and not (self.refused and self.pseudonymizer.digest(address) in self.refused)


@functools.lru_cache(maxsize=10_000)
def _asks_for_contact_address(label: str) -> bool:
    """Ask the policy once per label. This is called for every answer of every attendee, and labels are few."""
    return load_policy().asks_for_contact_address(label)


def holders_of(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, Holder]:
    """Return pseudonym -> holder, one entry per mailbox with a usable ticket that mail can be sent to.

    The oldest ticket comes first, in whatever order the orders were read: places in a space are given in this order.
    The tickets of an import make nobody a holder: their conference is over, and only polls say what is valid now.
    The steps of a run ask about the same snapshot in turn, so the latest answer is kept with it.
    """
    global _latest
    if snapshot.partition.is_imported:
        return {}
    asked = (snapshot.records, pseudonymizer, load_policy())
    if _latest is None or not all(new is known for new, known in zip(asked, _latest[0], strict=True)):
        _latest = asked, _find_holders(snapshot, pseudonymizer)
    return dict(_latest[1])


_latest: tuple[tuple[Mapping[int, AttendeeRecord], Pseudonymizer, Policy], dict[str, Holder]] | None = None


def _find_holders(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, Holder]:
    typed: dict[str, list[str]] = {}
    for _, record in sorted(snapshot.records.items()):
        answer = contact_answer(record.attendee) if record.is_usable else None
        if answer is not None and is_mailable(address := normalise_address(answer)):
            typed.setdefault(address, []).append(answer)
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
    answers = (contact_answer(record.attendee) for record in snapshot.records.values() if record.is_usable)
    return sum(not is_mailable(normalise_address(answer or "")) for answer in answers)
