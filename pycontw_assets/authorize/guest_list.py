"""Holders and the current guest list -> who to add and who to remove; then doing it, verified by reading.

Adding is an append, safe to repeat. Removing means overwriting the whole list (there is no other call), so
every doubt stops it: it never removes anybody this pipeline did not add, writes everybody else back verbatim,
and refuses when the list that was read does not look whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.ledger.grants import (
    Grant,
    count_revoked,
    current_grants,
    grants_without_ticket,
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
from pycontw_assets.pseudonyms import Pseudonymizer, normalise_address
from pycontw_assets.records import EventPartition, Holder

AFFILIATION = "Attendee"
CHUNK = 500  # our choice; the service's real limit is not known
_RETRY_BASE = timedelta(minutes=5)
_RETRY_CAP = timedelta(days=1)
_OVERWRITE_ATTEMPTS = 3
_MOST_REFUSALS = 30  # of one step: enough to find a few poison addresses
_MOST_LOOKS = 12  # polls in which a guest who may show late is looked for
_VOUCH = (
    "Look at the list in Gather: if it shows all who should be there, its answer was cut short, and polls wait until "
    "it is whole. Only if they are missing there, too, run `pycontw-assets poll --allow guest-list`"
)
_TOLERANCE_COUNT = 1
_TOLERANCE_SHARE = 0.01

Entry = Any  # as the service gave it; written back verbatim


class GuestList(Protocol):
    @property
    def entries(self) -> Mapping[str, Entry]: ...

    @property
    def was_object(self) -> bool: ...


class Gather(Protocol):
    """What this stage asks of Gather."""

    def read(self) -> GuestList: ...

    def add(self, entries: Mapping[str, Entry]) -> None: ...

    def overwrite(self, entries: Mapping[str, Entry]) -> None: ...


@dataclass(frozen=True, slots=True)
class GuestListChange:
    """The decision for one event; keys are pseudonyms.

    ``add``: not on the list; ``preexisting``: on it already; ``confirm``: ours, seen on the list;
    ``revoke``: ours, on the list, no ticket any more; ``end``: ours, no ticket and not on the list;
    ``cede``: was ours, but somebody edited the entry, so it is theirs to remove.
    """

    add: frozenset[str] = frozenset()
    preexisting: frozenset[str] = frozenset()
    confirm: frozenset[str] = frozenset()
    revoke: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()
    cede: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GuestListOutcome:
    """Counts of one step, and the problems a person should hear of."""

    granted: int = 0
    preexisting: int = 0
    revoked: int = 0
    unconfirmed: int = 0
    waiting_revocations: int = 0
    problems: tuple[str, ...] = ()


def entry() -> dict[str, str]:
    """What we write for a buyer. The name stays blank: no personal data, and the guest may choose one."""
    return {"name": "", "role": "guest", "affiliation": AFFILIATION}


def is_due(grant: Grant | None, now: datetime) -> bool:
    """Whether a holder still has to be let in."""
    if grant is None or grant.state in ("revoking", "assumed"):
        return True
    return grant.state == "intended" and (grant.retry_at is None or grant.retry_at <= now)


def decide(
    holders: Iterable[str], grants: Mapping[str, Grant], without_ticket: Iterable[str], present: Mapping[str, Entry]
) -> GuestListChange:
    """Pure: what the list needs. ``present`` maps pseudonyms of the listed addresses to their entries."""
    wanted = set(holders)
    listed = wanted & present.keys()
    leaving = set(without_ticket) - wanted
    ours = frozenset(key for key in listed if _put_there_by_us(grants.get(key), present[key]))
    removable = frozenset(key for key in leaving & present.keys() if _may_be_removed(grants.get(key), present[key]))
    return GuestListChange(
        add=frozenset(wanted - present.keys()),
        preexisting=frozenset(listed - ours),
        confirm=ours,
        revoke=removable,
        end=frozenset(leaving - present.keys()),
        cede=frozenset((leaving & present.keys()) - removable),
    )


def _put_there_by_us(grant: Grant | None, listed: Entry) -> bool:
    """An intent of ours and our writing: added before a crash. Anything else somebody else put there.

    Also where we meant to add them: staff did, while our call was refused or never made.
    """
    if grant is None or not grant.added_by_us:
        return False
    if grant.state in ("intended", "assumed"):
        return is_our_writing(listed)
    return grant.state == "revoking" or looks_ours(listed)


def _may_be_removed(grant: Grant | None, listed: Entry) -> bool:
    """Who is known to be on the list through us, until somebody makes the entry their own.

    Who was only meant to be, or let in without the list: what we would have written, and nothing less telling.
    """
    is_known = grant is not None and grant.state in ("granted", "revoking")
    return looks_ours(listed) if is_known else is_our_writing(listed)


def _has_left(grant: Grant) -> bool:
    """Of a guest who is not on the list: whether that ends the period, rather than being mended."""
    return grant.state == "revoking" or _was_guest_of_others(grant)


def _was_guest_of_others(grant: Grant) -> bool:
    """Not ours to take off, and without a ticket the last time we looked."""
    return grant.state == "intended" and not grant.added_by_us


def _looks_for_latecomer(grant: Grant) -> int:
    """How often a guest without a ticket was already looked for in vain; enough for one who was seen and not touched.

    A removal that nobody saw through is no reason to believe a list that lacks the guest: it may be cut short.
    """
    if grant.state == "intended":
        return 0
    return grant.attempts if grant.state == "revoking" else _MOST_LOOKS


def looks_ours(listed: Entry) -> bool:
    """Whether nobody made the entry their own meanwhile: a speaker who once bought a ticket is not ours to remove."""
    affiliation = listed.get("affiliation") if isinstance(listed, dict) else None
    return affiliation in (None, "", AFFILIATION)


def is_our_writing(listed: Entry) -> bool:
    """Stricter than "not edited since": for an entry that is not known to have come from us."""
    return isinstance(listed, dict) and listed.get("affiliation") == AFFILIATION


def distrust(current: GuestList, listed: Iterable[str], grants: Mapping[str, Grant], last_size: int) -> str | None:
    """Why the list that was read may not be whole, so that nothing may be removed on its word."""
    expected = {key for key, grant in grants.items() if grant.state == "granted"}
    shown = set(listed)
    lacking = len(expected - shown)
    # A crash may have come right after they were taken off: that is no sign of a broken list.
    taken_off = sum(
        grant.state == "revoking" and not grant.attempts and key not in shown for key, grant in grants.items()
    )
    if expected and not (current.was_object and current.entries):
        return f"Gather answered with an empty guest list, {len(expected)} guests of ours were on it"
    if _is_many(lacking, len(expected)):
        return f"the guest list lacks {lacking} of {len(expected)} guests we put on it"
    if _is_many(last_size - taken_off - len(current.entries), last_size):
        return f"the guest list shrank from {last_size} to {len(current.entries)} without us"
    return None


def _is_many(lacking: int, expected: int) -> bool:
    return lacking > max(_TOLERANCE_COUNT, _TOLERANCE_SHARE * expected)


def revoke_limit(configured: int | None, granted: int) -> int:
    """Most revocations one poll may do by itself."""
    return configured if configured is not None else max(5, math.ceil(granted * 0.10))


@dataclass(slots=True)
class GuestListStep:
    """Brings the guest list of one edition in line with one event's holders. One writer at a time (``exclusive``)."""

    client: Gather | None  # None: the step is switched off; access is taken as given
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    exclusive: Callable[[], AbstractContextManager[None]]
    poll_id: str
    configured_limit: int | None = None
    overrides: frozenset[str] = frozenset()
    problems: list[str] = field(default_factory=list)
    _refusals: int = 0
    _accepted: bool = False
    _shown: set[str] = field(default_factory=set, repr=False)
    _untried: set[str] = field(default_factory=set, repr=False)
    _refused: set[str] = field(default_factory=set, repr=False)

    def run(self, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        """Add who is missing, remove whose ticket is gone. Without anything to do, Gather is not called."""
        recheck_preexisting_guests(self.ledger, partition.edition)
        grants = current_grants(self.ledger, partition.edition)
        without_ticket = grants_without_ticket(self.ledger, partition.edition)
        now = self.ledger.clock()
        due = {key for key in holders if is_due(grants.get(key), now)}
        if self.client is None:
            in_doubt = {key for key in holders if key in grants and grants[key].state in ("intended", "revoking")}
            # Who was let in on the list itself stays to be taken off it when the step is switched on again.
            return self._assume(
                partition,
                due - grants.keys(),
                in_doubt,
                {key for key in without_ticket if without_ticket[key].state == "assumed"},
            )
        if not due and not without_ticket:
            return GuestListOutcome()
        with self.exclusive():
            return self._sync(self.client, partition, holders)

    def _assume(
        self, partition: EventPartition, due: set[str], in_doubt: set[str], without_ticket: set[str]
    ) -> GuestListOutcome:
        """Access is taken as given, also for those whose addition was in doubt when the step was switched off."""
        intend_grants(self.ledger, partition.edition, partition.key, due, added_by_us=True, state="assumed")
        set_grants(self.ledger, partition.edition, in_doubt, "assumed")
        set_grants(self.ledger, partition.edition, without_ticket, "revoked", revoked_in=self.poll_id)
        return GuestListOutcome(granted=len(due), revoked=len(without_ticket))

    def _sync(self, client: Gather, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        current = client.read()
        edition = partition.edition
        grants, without_ticket = current_grants(self.ledger, edition), grants_without_ticket(self.ledger, edition)
        present = self._by_key(current.entries)
        self._shown = set(present)
        doubt = self._doubt(current, grants)
        if doubt is None:
            record_size(self.ledger, len(current.entries))
            grants = self._without_left(edition, grants, present)
        now = self.ledger.clock()
        # On the word of a list that looks truncated only our own entries are put back: a speaker's may well be there.
        granted = {
            key for key, grant in grants.items() if grant.state == "granted" and (grant.added_by_us or not doubt)
        }
        vanished = granted - present.keys()
        wanted = {key for key in holders if key in vanished or is_due(grants.get(key), now)}
        change = decide(wanted, grants, without_ticket, present)
        added = self._grant(client, partition, holders, change, grants, doubt)
        revoked, waiting = self._revoke_if_safe(client, edition, grants, change, doubt)
        self._note_lacking(grants, change)
        unconfirmed = len(change.add) - added
        if unconfirmed:
            self.problems.append(
                f"{unconfirmed} guests were sent to Gather and are not on its list; tried again with growing pauses"
            )
        return GuestListOutcome(
            added + len(change.confirm), len(change.preexisting), revoked, unconfirmed, waiting, tuple(self.problems)
        )

    def _without_left(self, edition: str, grants: Mapping[str, Grant], present: Collection[str]) -> dict[str, Grant]:
        """Whom others put on the list, who lost the ticket, and whom they took off: wherever the next ticket finds
        them, it is a new beginning."""
        left = {key for key, grant in grants.items() if _was_guest_of_others(grant) and key not in present}
        set_grants(self.ledger, edition, left, "revoked")
        return {key: grant for key, grant in grants.items() if key not in left}

    # -- adding -----------------------------------------------------------------------------------

    def _grant(
        self,
        client: Gather,
        partition: EventPartition,
        holders: Mapping[str, Holder],
        change: GuestListChange,
        grants: Mapping[str, Grant],
        doubt: str | None,
    ) -> int:
        edition = partition.edition
        add = self._reopen_revoked(edition, change.add, doubt)
        intend_grants(self.ledger, edition, partition.key, change.preexisting, added_by_us=False)
        set_grants(self.ledger, edition, change.preexisting, "granted", added_by_us=False)
        set_grants(self.ledger, edition, change.confirm, "granted")
        if not add:
            return 0
        intend_grants(self.ledger, edition, partition.key, add, added_by_us=True)
        # Whoever fell off the list, or was let in while the step was off, counts as let in only once seen there.
        set_grants(self.ledger, edition, add, "intended", added_by_us=True)
        addresses = sorted(holders[key].address for key in add)
        for start in range(0, len(addresses), CHUNK):
            self._add(client, addresses[start : start + CHUNK])
        untried = {self._key(address) for address in self._untried}
        check = client.read()
        self._shown = set(self._by_key(check.entries))
        confirmed = add & self._shown
        set_grants(self.ledger, edition, confirmed, "granted", attempts=0, retry_at=None)
        refused = {self._key(address) for address in self._refused}
        without_effect = add - confirmed - untried - refused
        postpone_grants(self.ledger, edition, refused, _RETRY_BASE, _RETRY_CAP)
        postpone_grants(self.ledger, edition, without_effect, _RETRY_BASE, _RETRY_CAP, once_at_once=True)
        if doubt is None and self._doubt(check, grants) is None:
            record_size(self.ledger, len(check.entries))
        return len(confirmed)

    def _reopen_revoked(self, edition: str, add: frozenset[str], doubt: str | None) -> frozenset[str]:
        """Who bought again after leaving the list, by a removal in doubt or by somebody's hand: a new period begins."""
        grants = current_grants(self.ledger, edition)
        removed = {key for key in add if key in grants and _has_left(grants[key])}
        if removed and doubt:
            self.problems.append(f"{doubt}; {len(removed)} guests wait until it reads well again. {_VOUCH}")
            return add - removed
        set_grants(self.ledger, edition, removed, "revoked")
        return add

    def _add(self, client: Gather, addresses: Sequence[str]) -> None:
        """Add a chunk; when the service refuses it, halve it until the poison address stands alone.

        Not for ever: when it refuses everything, the request itself is wrong; what was not tried is due at once.
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
        self, client: Gather, edition: str, grants: Mapping[str, Grant], change: GuestListChange, doubt: str | None
    ) -> tuple[int, int]:
        """Number revoked, number that waits for a person."""
        leaving = len(change.revoke) + len(change.end)
        self._cede(edition, change.cede)
        if not leaving:
            return 0, 0
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
        """Who was sent and never seen may show late, and has to be taken off then; the others are gone for good."""
        looks = {key: _looks_for_latecomer(grants[key]) for key in absent}
        for key, number in looks.items():
            if number < _MOST_LOOKS:
                set_grants(self.ledger, edition, [key], "revoking", attempts=number + 1)
        return frozenset(key for key, number in looks.items() if number >= _MOST_LOOKS)

    def _cede(self, edition: str, keys: frozenset[str]) -> None:
        if keys:
            set_grants(self.ledger, edition, keys, "granted", added_by_us=False)
            self.problems.append(
                f"{len(keys)} guests without a ticket stay: somebody edited their entries in Gather by hand. "
                "Remove them there if that is wanted"
            )

    def _revoke(self, client: Gather, edition: str, keys: frozenset[str]) -> int:
        if not keys:
            return 0
        set_grants(self.ledger, edition, keys, "revoking", attempts=0)
        left: frozenset[str] = keys
        for _ in range(_OVERWRITE_ATTEMPTS):
            # Read again right before writing: what somebody added since the first read must survive.
            latest = client.read()
            if doubt := self._doubt(latest, current_grants(self.ledger, edition)):
                self.problems.append(f"{doubt}, on a second look; {len(keys)} revocations refused")
                return 0
            self._shown = set(self._by_key(latest.entries))
            left = keys & self._shown
            if not left:
                record_size(self.ledger, len(latest.entries))
                break
            remaining = {address: item for address, item in latest.entries.items() if self._key(address) not in keys}
            self._overwrite(client, edition, remaining, left)
            left = self._still_there(client, edition, remaining, keys)
            if not left:
                break
        set_grants(self.ledger, edition, keys - left, "revoked", revoked_in=self.poll_id)
        if left:
            self.problems.append(f"{len(left)} guests are still on the list after being removed; tried again")
        return len(keys - left)

    def _overwrite(self, client: Gather, edition: str, remaining: Mapping[str, Entry], leaving: frozenset[str]) -> None:
        """Never repeated as it is: after a lost reply the list is read again and compared."""
        state = guest_list_state(self.ledger)
        if state.doubted_size is not None:
            record_doubt(self.ledger, min(state.doubted_size, len(remaining)), state.doubted_in)
        # One person may leave with several entries: the list shrinks by those.
        record_size(self.ledger, len(remaining) + len(leaving))
        try:
            client.overwrite(remaining)
        except Unavailable as error:
            if not error.outcome_unknown:
                raise
        except Refused:
            # They are in for sure: a later list without them is a list to doubt.
            set_grants(self.ledger, edition, leaving, "granted")
            raise

    def _still_there(
        self, client: Gather, edition: str, remaining: Mapping[str, Entry], leaving: frozenset[str]
    ) -> frozenset[str]:
        """Put back who should have stayed and is not there; of those to leave, who is there, or all: perhaps they are.

        A list that does not look whole proves nobody gone; the next attempt looks again before it writes.
        """
        after = client.read()
        listed = {normalise_address(address) for address in after.entries}
        vanished = {address: item for address, item in remaining.items() if normalise_address(address) not in listed}
        if vanished:
            client.add(vanished)
            self.problems.append(f"{len(vanished)} guests vanished while others were removed; they were put back")
        if self._doubt(after, current_grants(self.ledger, edition)):
            return leaving
        record_size(self.ledger, len(after.entries) + len(vanished))
        self._shown = set(self._by_key(after.entries))
        return leaving & self._shown

    # -- small helpers ----------------------------------------------------------------------------

    def _doubt(self, current: GuestList, grants: Mapping[str, Grant]) -> str | None:
        """Why the list may not be whole, unless a person was asked about it and vouched.

        What was vouched for is a list of so many guests. An answer that shows fewer is none that anybody looked at,
        and what a poll meets itself was told to nobody yet.
        """
        state = guest_list_state(self.ledger)
        doubt = distrust(current, self._by_key(current.entries), grants, state.size or 0)
        shown, is_overridden = len(current.entries), "guest-list" in self.overrides
        if doubt and is_overridden and state.doubted_size is not None and state.doubted_in != self.poll_id:
            if shown >= state.doubted_size:
                return None
            doubt = f"{doubt}, {state.doubted_size - shown} fewer than when a person was asked"
        if doubt and state.doubted_size != shown:
            record_doubt(self.ledger, shown, self.poll_id)
        elif state.doubted_size is not None and not (doubt or is_overridden):
            clear_doubt(self.ledger)
        return doubt

    def _key(self, address: str) -> str:
        return self.pseudonymizer.address(address)

    def _by_key(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """One entry per pseudonym. Of several spellings, one that somebody else wrote speaks for all."""
        found: dict[str, Entry] = {}
        for address, listed in entries.items():
            key = self._key(address)
            if key not in found or looks_ours(found[key]):
                found[key] = listed
        return found

    def _note_lacking(self, grants: Mapping[str, Grant], change: GuestListChange) -> None:
        """Let in before, no business of this step, and not on the list it saw last: guests of other events."""
        granted = {key for key, grant in grants.items() if grant.state == "granted"}
        lacking = granted - self._shown - change.add - change.revoke - change.end
        record_lacking(self.ledger, len(lacking))
