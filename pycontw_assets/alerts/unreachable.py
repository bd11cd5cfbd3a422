"""Attendees who are not served, reported by number so that somebody looks after them.

They hold a usable ticket and no mail reaches them, or the guest list does not take them; or they hold none and stay on
it. Each tick looks them up in what is stored, so an alert ends when they are served and not when the next attempt is
about others. A cancelled campaign is another matter, with an alert and a way back of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pycontw_assets.ledger.counting.kept import kept_answer
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import Poll
from pycontw_assets.ledger.reporting.unreachable import (
    Unserved,
    ceded_guests,
    last_search,
    record_search,
    refused_addresses,
    rejected_guests,
    unserved_in,
)
from pycontw_assets.pseudonyms import Pseudonymizer, is_mailable, normalise_address
from pycontw_assets.records import Attendee, EventPartition, OrderSnapshot
from pycontw_assets.vault.object_store import VaultError

_FORM = 1  # raise it with what counts as a refusal: a kept digest of an older version is none of today's
_NO_ATTENDEE = 0  # the ticket has another holder now
_STAYING = (
    "guests without a ticket stay on the guest list, whose tickets passed to others: somebody edited their entries in "
    "Gather by hand. Remove them there if they should leave"
)

ContactAddress = Callable[[Attendee], str | None]  # which answer of the form it is says the field policy


class Orders(Protocol):
    """The part of the vault that is used here. ``VaultError``: the orders are damaged, or not of the ledger's time."""

    def read(self, key: str) -> OrderSnapshot | None: ...


@dataclass(frozen=True, slots=True)
class _Refusals:
    """The people of one event who are not served, by pseudonym; ``mail`` with the mail service's reason."""

    mail: Mapping[str, str]
    access: frozenset[str]
    staying: frozenset[str]

    @property
    def digest(self) -> str:
        """Tell these refusals from others. "": nobody is refused."""
        people = (sorted(self.mail.items()), sorted(self.access), sorted(self.staying))
        return hashlib.sha256(repr(people).encode()).hexdigest() if any(people) else ""


def unserved_attendees(
    events: Iterable[tuple[EventPartition, Poll | None]],
    *,
    ledger: Ledger,
    vault: Orders,
    pseudonymizer: Pseudonymizer,
    contact_address: ContactAddress,
    is_mailed: bool = True,
) -> Iterator[str]:
    """Return one line per seat. The orders are only opened where somebody is known not to be served.

    ``is_mailed``: mail is not switched off, so whom it does not reach matters.

    They are searched when they or the refusals changed, not by every tick: to open many orders takes seconds. Orders
    that cannot be read or are not there change nothing: whoever was found before is not served yet.
    """
    for partition, poll in events:
        refused = _digest_of_refusals(partition, ledger=ledger, is_mailed=is_mailed)
        if not (refused or (poll and poll.without_address)):
            continue
        digest = hashlib.sha256(f"{poll.content_digest if poll else ''} {refused}".encode()).hexdigest()
        if last_search(ledger, partition.key) != digest:
            snapshot, unread = _read(vault, partition, poll)
            if unread:
                yield f"{partition.key}: who is not served could not be looked up; those known before follow: {unread}"
            else:
                refusals = _refusals(partition, ledger=ledger, is_mailed=is_mailed)
                found = dict(_search(snapshot, refusals, pseudonymizer, contact_address))
                record_search(ledger, partition.key, digest=digest, attendees=found)
        for attendee_id, problem in unserved_in(ledger, partition.key).items():
            who = f"attendee {attendee_id} {_in_words(problem)}" if attendee_id != _NO_ATTENDEE else _STAYING
            yield f"{partition.key}: {who}"


def _digest_of_refusals(partition: EventPartition, *, ledger: Ledger, is_mailed: bool) -> str:
    """Return the digest that ``_refusals`` has now: the kept one as long as it holds. "": nobody is refused."""

    def ask() -> str:
        return _refusals(partition, ledger=ledger, is_mailed=is_mailed).digest

    return kept_answer(ledger, f"refusals {_FORM} of {partition.key}: mailed {is_mailed}", ask)


def _refusals(partition: EventPartition, *, ledger: Ledger, is_mailed: bool) -> _Refusals:
    return _Refusals(
        refused_addresses(ledger, partition.edition, partition.key) if is_mailed else {},
        frozenset(rejected_guests(ledger, partition.edition, partition.key)),
        frozenset(ceded_guests(ledger, partition.edition, partition.key)),
    )


def _read(vault: Orders, partition: EventPartition, poll: Poll | None) -> tuple[OrderSnapshot | None, str]:
    """Return the orders, or why they could not be read. Nobody is served only because nothing could be read."""
    try:
        snapshot = vault.read(partition.key)
    except (VaultError, LedgerError) as error:
        return None, str(error)
    if snapshot is None and poll and poll.known:
        return None, "its orders are not in the vault"
    return snapshot, ""


def _search(
    snapshot: OrderSnapshot | None, refusals: _Refusals, pseudonymizer: Pseudonymizer, contact_address: ContactAddress
) -> Iterator[tuple[int, Unserved]]:
    unseen = set(refusals.staying)
    for attendee_id, record in snapshot.records.items() if snapshot else ():
        address = normalise_address(contact_address(record.attendee) or "")
        key = pseudonymizer.digest(address) if is_mailable(address) else None
        if record.gone_at is not None or not record.is_usable:
            if key in refusals.staying:
                unseen.discard(key)
                yield attendee_id, Unserved("stays")
        elif key is None:
            yield attendee_id, Unserved("mail")
        elif key in refusals.access:
            yield attendee_id, Unserved("access")
        elif key in refusals.mail:
            yield attendee_id, Unserved("mail", refusals.mail[key])
    if unseen:
        yield _NO_ATTENDEE, Unserved("stays")


def _in_words(problem: Unserved) -> str:
    # Also with "12 attendees" in front each is a sentence.
    if problem.kind == "access":
        return (
            "could not be put on Gather's list: look at the address in KKTIX, and at the list in Gather. It is tried "
            "again, with growing pauses"
        )
    if problem.kind == "stays":
        return (
            "kept access without a ticket: somebody edited the entry in Gather by hand. Remove it there if they should "
            "leave"
        )
    if problem.reason is None:
        return "gave no address that mail could reach: correct it in KKTIX"
    return f"cannot be mailed by Klaviyo ({problem.reason}): ask for another address, correct it in KKTIX"
