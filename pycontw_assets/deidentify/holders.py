"""From attendees to holders: contact addresses with a usable ticket, and their pseudonyms. Pure.

The policy says which labels ask for the contact address: those of its rule for ``email_sha256``. So a ticket has a
digest in that column if and only if its address is invited.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import answer_text
from pycontw_assets.pseudonyms import Pseudonymizer, is_mailable, normalise_address
from pycontw_assets.records import Attendee, Holder, OrderSnapshot


def contact_address(attendee: Attendee) -> str | None:
    """Return the buyer's address in the buyer's spelling (NFKC, trimmed); ``None`` where none was given.

    KKTIX appends a contact block to every form. Only text counts as an address; another JSON value invites nobody.
    """
    for label, value in attendee.answers:
        if _asks_for_contact_address(label) and isinstance(value, str) and (spelled := answer_text(value)):
            return spelled
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
        values = [value for label, value in attendee.answers if _asks_for_contact_address(label)]
        if any(isinstance(value, str) and answer_text(value) for value in values):
            return True
        return bool(values) and all(value is None or isinstance(value, str) for value in values)

    def is_reachable(self, attendee: Attendee) -> bool:
        """Whether mail can reach the contact address, as far as is known."""
        address = normalise_address(contact_address(attendee) or "")
        return is_mailable(address) and not (self.refused and self.pseudonymizer.digest(address) in self.refused)


@functools.lru_cache(maxsize=10_000)
def _asks_for_contact_address(label: str) -> bool:
    """Ask the policy once per label. This is called for every answer of every attendee, and labels are few."""
    return load_policy().asks_for_contact_address(label)


def holders_of(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, Holder]:
    """Return pseudonym -> holder, one entry per mailable address with a usable ticket."""
    holders: dict[str, Holder] = {}
    for spelled in _usable_addresses(snapshot):
        address = normalise_address(spelled or "")
        if spelled is not None and is_mailable(address):
            key = pseudonymizer.digest(address)
            holders.setdefault(key, Holder(key, address, spelled))
    return holders


def count_unmailable(snapshot: OrderSnapshot) -> int:
    """Count the usable tickets whose contact address is missing or has not the shape of an address."""
    return sum(not is_mailable(normalise_address(spelled or "")) for spelled in _usable_addresses(snapshot))


def _usable_addresses(snapshot: OrderSnapshot) -> Iterator[str | None]:
    return (contact_address(record.attendee) for record in snapshot.records.values() if record.is_usable)
