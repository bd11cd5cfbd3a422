"""Bring the guest list in line with the holders, and verify it by reading.

Adding is an append, safe to repeat. Removing means overwriting the whole list (there is no other call), so every doubt
stops it: everybody else is written back verbatim, and a list that does not look whole is not overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.api.log import log_step
from pycontw_assets.authorize.guest_list import (
    MOST_LOOKS,
    Entry,
    GuestList,
    GuestListChange,
    decide,
    distrust,
    ends_by_absence,
    entry,
    is_due,
    is_our_writing,
    looks_in_vain,
    looks_ours,
    revoke_limit,
    was_preexisting,
)
from pycontw_assets.ledger.grants import (
    Grant,
    count_revoked,
    current_grants,
    granted_and_others,
    grants_of,
    grants_without_ticket,
    guests_without_explanation,
    intend_grants,
    postpone_grants,
    recheck_preexisting_guests,
    set_grants,
)
from pycontw_assets.ledger.guest_lists import (
    clear_doubt,
    guest_list_state,
    record_doubt,
    record_lacking,
    record_size,
)
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import recognise
from pycontw_assets.pseudonyms import Pseudonymizer, is_deliverable, normalise_address
from pycontw_assets.records import EventPartition, Holder

CHUNK = 500  # our choice; the service's real limit is not known
_RETRY_BASE = timedelta(minutes=5)
_RETRY_CAP = timedelta(days=1)
_OVERWRITE_ATTEMPTS = 3
_MOST_REFUSALS = 30  # of one step: enough to find a few rejected addresses
_VOUCH = (
    "Look at the list in Gather: if it shows all who should be there, its answer was cut short, and polls wait until "
    "it is whole. Only if they are missing there, too, run `pycontw-assets poll --allow guest-list`"
)
_STRANGERS = (
    "guests look as if this program had let them in, and the ledger knows no ticket of theirs; they stay. They may be "
    "of an earlier year, or the ledger was restored from a backup. Remove them in Gather if they should leave"
)


def _not_whole(unreadable: int) -> str:
    """Explain why nobody is removed: to remove means to write the whole list, and these entries would be lost."""
    return f"{unreadable} entries of Gather's guest list cannot be read: correct or delete them in Gather"


class Gather(Protocol):
    """The guest list of one space: the part of Gather that this stage uses."""

    def read(self) -> GuestList: ...

    def add(self, entries: Mapping[str, Entry]) -> None: ...

    def overwrite(self, entries: Mapping[str, Entry]) -> None: ...


@dataclass(frozen=True, slots=True)
class GuestListOutcome:
    """Counts of one step, and the problems a person should hear of. ``without_place``: holders who found no space.

    ``about_people`` are those of them that concern single guests. The ledger knows these guests, and every tick
    reports them by number. ``hints`` ask a person to look at the list, and are no problem of the step.
    """

    granted: int = 0
    preexisting: int = 0
    revoked: int = 0
    unconfirmed: int = 0
    waiting_revocations: int = 0
    without_place: int = 0
    problems: tuple[str, ...] = ()
    about_people: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def lasting(self) -> tuple[str, ...]:
        """Return the problems that the next attempt judges again, whomever it is about."""
        return tuple(problem for problem in self.problems if problem not in self.about_people)


def log_outcome(partition: EventPartition, outcome: GuestListOutcome) -> None:
    """Log the counts of a step that called Gather."""
    log_step(
        "guest_list_written",
        step="authorize",
        partition=partition.key,
        granted=outcome.granted,
        preexisting=outcome.preexisting,
        revoked=outcome.revoked,
        unconfirmed=outcome.unconfirmed,
        waiting=outcome.waiting_revocations,
        problems=len(outcome.problems),
    )


@dataclass(slots=True)
class GuestListStep:
    """One event's holders on the guest list of its edition. One writer at a time (``exclusive``).

    ``space`` is the digest of the list's space, which new periods are recorded with. ``is_one_of_several``: only the
    grants in this space are about this list; ``space_steps`` says who belongs here, and calls ``sync``.
    """

    client: Gather | None  # None: the step is switched off; access is assumed
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    exclusive: Callable[[], AbstractContextManager[None]]
    poll_id: str
    configured_limit: int | None = None
    overrides: frozenset[str] = frozenset()
    space: str | None = None
    is_one_of_several: bool = False
    problems: list[str] = field(default_factory=list)
    about_people: list[str] = field(default_factory=list)
    _refusals: int = 0
    _accepted: bool = False
    _unreadable: int = 0
    _shown: set[str] = field(default_factory=set, repr=False)
    _untried: set[str] = field(default_factory=set, repr=False)
    _refused: set[str] = field(default_factory=set, repr=False)
    _key_of: dict[str, str] = field(default_factory=dict, repr=False)

    def run(self, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        """Add missing holders, remove guests without a ticket. Without anything to do, Gather is not called."""
        recheck_preexisting_guests(self.ledger, partition.edition)
        granted, others = granted_and_others(self.ledger, partition.edition)
        without_ticket = grants_without_ticket(self.ledger, partition.edition)
        now = self.ledger.clock()
        due = {key for key in holders.keys() - granted if is_due(others.get(key), now)}
        if self.client is None:
            in_doubt = {key for key in holders.keys() & others if others[key].state in ("intended", "revoking")}
            # Guests on the list itself are removed from it when the step is switched on again.
            return self._assume(
                partition,
                due - others.keys(),
                in_doubt,
                {key for key in without_ticket if without_ticket[key].state == "assumed"},
            )
        if not due and not without_ticket:
            return GuestListOutcome()
        with self.exclusive():
            outcome = self.sync(self.client, partition, holders)
        log_outcome(partition, outcome)
        return outcome

    def _assume(
        self, partition: EventPartition, due: set[str], in_doubt: set[str], without_ticket: set[str]
    ) -> GuestListOutcome:
        """Assume access, also where an addition was in doubt when the step was switched off."""
        intend_grants(self.ledger, partition.edition, partition.key, due, added_by_us=True, state="assumed")
        set_grants(self.ledger, partition.edition, in_doubt, "assumed")
        set_grants(self.ledger, partition.edition, without_ticket, "revoked", revoked_in=self.poll_id)
        return GuestListOutcome(granted=len(due), revoked=len(without_ticket))

    def sync(self, client: Gather, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        """Read the list and bring it in line with these holders. The caller is the only writer."""
        current = client.read()
        recognise(self.ledger, self.pseudonymizer, current.entries)
        edition = partition.edition
        grants = self._grants(edition)
        without_ticket = self._of_this_space(grants_without_ticket(self.ledger, edition))
        present, enterable = self._by_key(current.entries), self._enterable(current.entries)
        self._shown, self._unreadable = set(present), current.unreadable
        doubt = self._doubt(current, present, grants)
        if doubt is None:
            record_size(self.ledger, len(current.entries), self._row)
            grants = self._without_left(edition, grants, present)
        now = self.ledger.clock()
        # A list that looks cut may well hold a speaker's entry, so only entries of ours are put back because of it.
        granted = {
            key for key, grant in grants.items() if grant.state == "granted" and (grant.added_by_us or not doubt)
        }
        vanished = granted - enterable
        due = {key for key in holders if key in vanished or is_due(grants.get(key), now)}
        shown = {key: listed for key, listed in present.items() if key in enterable or key not in due}
        change = decide(due, grants, without_ticket, shown)
        added = self._grant(client, partition, holders=holders, change=change, grants=grants, doubt=doubt)
        revoked, waiting = self._revoke_if_safe(client, edition, grants=grants, change=change, doubt=doubt)
        self._record_lacking(grants, change)
        unconfirmed = len(change.add) - added
        if unconfirmed:
            self.about_people.append(
                f"{unconfirmed} guests were sent to Gather and are not on its list; tried again with growing pauses"
            )
        return GuestListOutcome(
            granted=added + len(change.confirm),
            preexisting=len(change.preexisting),
            revoked=revoked,
            unconfirmed=unconfirmed,
            waiting_revocations=waiting,
            problems=(*self.problems, *self.about_people),
            about_people=tuple(self.about_people),
            hints=tuple(self._hints(present)),
        )

    def _hints(self, present: Mapping[str, Entry]) -> Iterator[str]:
        """Yield what only a person can judge: guests in our writing whom the ledger cannot explain."""
        in_our_writing = {key for key, listed in present.items() if is_our_writing(listed)} & self._shown
        if strangers := guests_without_explanation(self.ledger, in_our_writing):
            yield f"{len(strangers)} {_STRANGERS}"

    def _without_left(self, edition: str, grants: Mapping[str, Grant], present: Collection[str]) -> dict[str, Grant]:
        """End the periods of preexisting guests who lost the ticket and were removed by others.

        Their next ticket begins a new period.
        """
        left = {key for key, grant in grants.items() if was_preexisting(grant) and key not in present}
        set_grants(self.ledger, edition, left, "revoked")
        return {key: grant for key, grant in grants.items() if key not in left}

    # -- adding -----------------------------------------------------------------------------------

    def _grant(
        self,
        client: Gather,
        partition: EventPartition,
        *,
        holders: Mapping[str, Holder],
        change: GuestListChange,
        grants: Mapping[str, Grant],
        doubt: str | None,
    ) -> int:
        """Return how many of the added ones were seen on the list afterwards."""
        edition = partition.edition
        add = self._reopen_revoked(edition, change.add, doubt)
        here = {} if self.space is None else {"space_digest": self.space}
        intend_grants(self.ledger, edition, partition.key, change.preexisting, added_by_us=False, space=self.space)
        set_grants(self.ledger, edition, change.preexisting, "granted", added_by_us=False, **here)
        set_grants(self.ledger, edition, change.confirm, "granted", **here)
        if not add:
            return 0
        intend_grants(self.ledger, edition, partition.key, add, added_by_us=True, space=self.space)
        # A guest who vanished from the list, or was let in while the step was off, counts as let in once seen there.
        set_grants(self.ledger, edition, add, "intended", added_by_us=True, **here)
        addresses = sorted(holders[key].address for key in add)
        for start in range(0, len(addresses), CHUNK):
            self._add(client, addresses[start : start + CHUNK])
        untried = {self._key(address) for address in self._untried}
        check = client.read()
        present = self._by_key(check.entries)
        self._shown = set(present)
        confirmed = add & self._enterable(check.entries)
        set_grants(self.ledger, edition, confirmed, "granted", attempts=0, retry_at=None)
        refused = {self._key(address) for address in self._refused}
        without_effect = add - confirmed - untried - refused
        postpone_grants(self.ledger, edition, refused, _RETRY_BASE, _RETRY_CAP)
        postpone_grants(self.ledger, edition, without_effect, _RETRY_BASE, _RETRY_CAP, once_at_once=True)
        if doubt is None and self._doubt(check, present, grants) is None:
            record_size(self.ledger, len(check.entries), self._row)
        return len(confirmed)

    def _reopen_revoked(self, edition: str, add: frozenset[str], doubt: str | None) -> frozenset[str]:
        """End the period of a holder who bought again after leaving the list, so that a new one begins.

        The removal may have been ours, in doubt, or by somebody's hand.
        """
        grants = self._of_this_space(grants_of(self.ledger, edition, add))
        removed = {key for key, grant in grants.items() if ends_by_absence(grant)}
        if removed and doubt:
            self.problems.append(f"{doubt}; {len(removed)} guests wait until it reads well again. {_VOUCH}")
            return add - removed
        set_grants(self.ledger, edition, removed, "revoked")
        return add

    def _add(self, client: Gather, addresses: Sequence[str]) -> None:
        """Add a chunk; when the service refuses it, halve it until the rejected address stands alone.

        Refusals are bounded: when everything is refused, the request itself is wrong. Untried addresses stay due.
        """
        if not all(address.count("@") == 1 for address in addresses):
            raise ValueError("only addresses may go on the guest list; this would have sent something else")
        try:
            client.add({address: entry() for address in addresses})
            self._accepted = True
        except NotFound:
            raise
        except Refused:
            self._refusals += 1
            if len(addresses) == 1:
                self._refused |= set(addresses)
                return
            if self._refusals > _MOST_REFUSALS:
                if not self._accepted:
                    raise
                self._untried |= set(addresses)
                return
            middle = len(addresses) // 2
            self._add(client, addresses[:middle])
            self._add(client, addresses[middle:])

    # -- removing ---------------------------------------------------------------------------------

    def _revoke_if_safe(
        self, client: Gather, edition: str, *, grants: Mapping[str, Grant], change: GuestListChange, doubt: str | None
    ) -> tuple[int, int]:
        """Return the number of revoked guests, and the number that waits for a person."""
        leaving = len(change.revoke) + len(change.end)
        self._cede(edition, change.cede)
        if not leaving:
            return 0, 0
        if self._unreadable:
            self.problems.append(f"{_not_whole(self._unreadable)}; {leaving} guests without a ticket stay meanwhile")
            return 0, leaving
        limit = revoke_limit(self.configured_limit, len(grants)) - count_revoked(self.ledger, self.poll_id)
        if doubt:
            self.problems.append(f"{doubt}; {leaving} revocations refused. {_VOUCH}")
            return 0, leaving
        if len(change.revoke) > limit and "revoke" not in self.overrides:
            self.problems.append(
                f"{len(change.revoke)} revocations are due, more than the {limit} left for this poll; nobody "
                "was removed. If they are right, run `pycontw-assets poll --allow revoke`"
            )
            return 0, leaving
        ended = self._keep_looking(edition, grants, change.end)
        set_grants(self.ledger, edition, ended, "revoked", revoked_in=self.poll_id)
        return len(ended) + self._revoke(client, edition, change.revoke), 0

    def _keep_looking(self, edition: str, grants: Mapping[str, Grant], absent: frozenset[str]) -> frozenset[str]:
        """Return the absent guests who are gone for good. One who was sent and never seen may appear late."""
        looks = {key: looks_in_vain(grants[key]) for key in absent}
        for key, number in looks.items():
            if number < MOST_LOOKS:
                set_grants(self.ledger, edition, [key], "revoking", attempts=number + 1)
        return frozenset(key for key, number in looks.items() if number >= MOST_LOOKS)

    def _cede(self, edition: str, keys: frozenset[str]) -> None:
        if keys:
            set_grants(self.ledger, edition, keys, "granted", added_by_us=False, ceded_at=self.ledger.clock())
            self.about_people.append(
                f"{len(keys)} guests without a ticket stay: somebody edited their entries in Gather by hand. "
                "Remove them there if they should leave"
            )

    def _revoke(self, client: Gather, edition: str, keys: frozenset[str]) -> int:
        if not keys:
            return 0
        set_grants(self.ledger, edition, keys, "revoking", attempts=0)
        left: frozenset[str] = keys
        for _ in range(_OVERWRITE_ATTEMPTS):
            # Read again right before writing: what somebody added since the first read must survive.
            latest = client.read()
            present = self._by_key(latest.entries)
            if doubt := self._doubt(latest, present, self._grants(edition)):
                self.problems.append(f"{doubt}, on a second look; {len(keys)} revocations refused")
                return 0
            if latest.unreadable:
                self.problems.append(f"{_not_whole(latest.unreadable)}; {len(keys)} guests without a ticket stay")
                return 0
            self._shown = set(present)
            left = keys & self._shown
            if not left:
                record_size(self.ledger, len(latest.entries), self._row)
                break
            remaining = {address: item for address, item in latest.entries.items() if self._key(address) not in keys}
            self._overwrite(client, edition, remaining=remaining, leaving=left)
            left = self._still_there(client, edition, remaining=remaining, leaving=keys)
            if not left:
                break
        set_grants(self.ledger, edition, keys - left, "revoked", revoked_in=self.poll_id)
        if left:
            self.problems.append(f"{len(left)} guests are still on the list after being removed; tried again")
        return len(keys - left)

    def _overwrite(
        self, client: Gather, edition: str, *, remaining: Mapping[str, Entry], leaving: frozenset[str]
    ) -> None:
        """Write the list once. After a lost reply it is read again and compared, never just repeated."""
        state = guest_list_state(self.ledger, self._row)
        if state.doubted_size is not None:
            record_doubt(self.ledger, min(state.doubted_size, len(remaining)), state.doubted_in, self._row)
        # A person who leaves may have several entries; the size may fall by all of them.
        record_size(self.ledger, len(remaining) + len(leaving), self._row)
        try:
            client.overwrite(remaining)
        except Unavailable as error:
            if not error.outcome_unknown:
                raise
        except Refused:
            # They are on it for sure: a later list without them is in doubt.
            set_grants(self.ledger, edition, leaving, "granted")
            raise

    def _still_there(
        self, client: Gather, edition: str, *, remaining: Mapping[str, Entry], leaving: frozenset[str]
    ) -> frozenset[str]:
        """Put back guests who vanished, and return the leaving ones who are, or may be, still on the list.

        A list that does not look whole proves nobody gone; the next attempt looks again before it writes.
        """
        after = client.read()
        listed = {normalise_address(address) for address in after.entries}
        vanished = {address: item for address, item in remaining.items() if normalise_address(address) not in listed}
        if vanished:
            client.add(vanished)
            self.problems.append(f"{len(vanished)} guests vanished while others were removed; they were put back")
        present = self._by_key(after.entries)
        if self._doubt(after, present, self._grants(edition)):
            return leaving
        record_size(self.ledger, len(after.entries) + len(vanished), self._row)
        self._shown = set(present)
        return leaving & self._shown

    # -- small helpers ----------------------------------------------------------------------------

    @property
    def _row(self) -> str | None:
        """The space whose state is meant. Of the only list there is, the ledger keeps one state, whatever its space."""
        return self.space if self.is_one_of_several else None

    def _grants(self, edition: str) -> dict[str, Grant]:
        return self._of_this_space(current_grants(self.ledger, edition))

    def _of_this_space(self, grants: dict[str, Grant]) -> dict[str, Grant]:
        if not self.is_one_of_several:
            return grants
        return {key: grant for key, grant in grants.items() if grant.space_digest == self.space}

    def _doubt(self, current: GuestList, present: Iterable[str], grants: Mapping[str, Grant]) -> str | None:
        """Return why the list may not be whole, unless a person was asked about it and vouched for it.

        A person vouches for a list of so many guests: nobody has looked at one that shows fewer. A doubt of this very
        poll was reported to nobody yet.
        """
        state = guest_list_state(self.ledger, self._row)
        doubt = distrust(current, present, grants, state.size or 0)
        shown, is_overridden = len(current.entries), "guest-list" in self.overrides
        if doubt and is_overridden and state.doubted_size is not None and state.doubted_in != self.poll_id:
            if shown >= state.doubted_size:
                return None
            doubt = f"{doubt}, {state.doubted_size - shown} fewer than when a person was asked"
        if doubt and state.doubted_size != shown:
            record_doubt(self.ledger, shown, self.poll_id, self._row)
        elif state.doubted_size is not None and not (doubt or is_overridden):
            clear_doubt(self.ledger, self._row)
        return doubt

    def _key(self, address: str) -> str:
        """Return the pseudonym of an address. The list is read again after every change, and most of it is the same."""
        if address not in self._key_of:
            self._key_of[address] = self.pseudonymizer.address(address)
        return self._key_of[address]

    def _by_key(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Return one entry per pseudonym. Among several spellings, one that somebody else wrote speaks for all."""
        by_key: dict[str, Entry] = {}
        for address, listed in entries.items():
            key = self._key(address)
            if key not in by_key or looks_ours(by_key[key]):
                by_key[key] = listed
        return by_key

    def _enterable(self, entries: Iterable[str]) -> set[str]:
        """Return the guests who can sign in: listed in a spelling with nothing hidden in it.

        Others are added in the deliverable spelling, too, and the entry that is there stays until they leave.
        """
        return {self._key(address) for address in entries if is_deliverable(address)}

    def _record_lacking(self, grants: Mapping[str, Grant], change: GuestListChange) -> None:
        """Count guests of other events: let in before, not part of this change, and not on the list."""
        granted = {key for key, grant in grants.items() if grant.state == "granted"}
        lacking = granted - self._shown - change.add - change.revoke - change.end
        record_lacking(self.ledger, len(lacking), self._row)
