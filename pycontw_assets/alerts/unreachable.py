"""Buyers with a usable ticket that mail cannot reach, reported by attendee number so that somebody asks them.

A cancelled campaign is another matter, with an alert and a way back of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll
from pycontw_assets.ledger.reporting.unreachable import last_search, record_search, refused_addresses, unreachable_in
from pycontw_assets.pseudonyms import Pseudonymizer, is_mailable, normalise_address
from pycontw_assets.records import Attendee, EventPartition, OrderSnapshot

ContactAddress = Callable[[Attendee], str | None]  # which answer of the form it is says the field policy


class Orders(Protocol):
    """The part of the vault that is used here."""

    def read(self, key: str) -> OrderSnapshot | None: ...


def unreachable_buyers(
    events: Iterable[tuple[EventPartition, Poll | None]],
    *,
    ledger: Ledger,
    vault: Orders,
    pseudonymizer: Pseudonymizer,
    contact_address: ContactAddress,
) -> Iterator[str]:
    """Return one line per seat. The orders are only opened where somebody is known to be unreachable.

    They are searched when they or the refusals changed, not by every tick: to open many orders takes seconds.
    """

    def search(partition_key: str, refused: Mapping[str, str]) -> dict[int, str | None]:
        snapshot = vault.read(partition_key)
        usable = [record.attendee for record in snapshot.present if record.is_usable] if snapshot else []
        addresses = {person.attendee_id: normalise_address(contact_address(person) or "") for person in usable}
        return _unreachable_among(addresses, refused, pseudonymizer)

    for partition, poll in events:
        refused = refused_addresses(ledger, partition.edition, partition.key)
        if not refused and not (poll and poll.without_address):
            continue
        digest = _digest(poll.content_digest if poll else "", refused)
        if last_search(ledger, partition.key) != digest:
            record_search(ledger, partition.key, digest=digest, attendees=search(partition.key, refused))
        for attendee_id, reason in unreachable_in(ledger, partition.key).items():
            yield f"{partition.key}: attendee {attendee_id} {_in_words(reason)}"


def _digest(content_digest: str, refused: Mapping[str, str]) -> str:
    return hashlib.sha256(repr((content_digest, sorted(refused.items()))).encode()).hexdigest()


def _unreachable_among(
    addresses: Mapping[int, str], refused: Mapping[str, str], pseudonymizer: Pseudonymizer
) -> dict[int, str | None]:
    """Return the attendees that mail cannot reach, with the mail service's reason; ``None``: no address to mail to."""
    unreachable: dict[int, str | None] = {}
    for attendee_id, address in addresses.items():
        if not is_mailable(address):
            unreachable[attendee_id] = None
        elif reason := refused.get(pseudonymizer.digest(address)):
            unreachable[attendee_id] = reason
    return unreachable


def _in_words(reason: str | None) -> str:
    if reason is None:
        return "gave no address that mail could reach: correct it in KKTIX"
    return f"cannot be mailed by Klaviyo ({reason}): ask for another address, correct it in KKTIX"
