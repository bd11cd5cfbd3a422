"""Bring the guest lists of several spaces in line with the holders: each of them is on one list, and stays there.

Every list has a ``GuestListStep`` of its own. What is decided here is only who belongs to which space. It is recorded
in the ledger before the call that lets somebody in, so a crash moves nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import compress

from pycontw_assets.api.client import Misconfigured, ServiceError
from pycontw_assets.authorize.guest_list import Entry, GuestList, is_due, revoke_limit
from pycontw_assets.authorize.guest_list_step import Gather, GuestListOutcome, GuestListStep, log_outcome
from pycontw_assets.authorize.spaces import Space, assign
from pycontw_assets.ledger.grants import (
    Grant,
    count_revoked,
    current_grants,
    former_spaces,
    grants_without_ticket,
    place_grants,
    recheck_preexisting_guests,
)
from pycontw_assets.ledger.guest_lists import guest_list_state, record_lacking
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.people import recognise
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition, Holder


@dataclass(slots=True)
class _ReadBefore:
    """A list that was read a moment ago under the same lock, so its first read costs no call."""

    client: Gather
    current: GuestList | None = field(repr=False)

    def read(self) -> GuestList:
        current, self.current = self.current, None
        return self.client.read() if current is None else current

    def add(self, entries: Mapping[str, Entry]) -> None:
        self.client.add(entries)

    def overwrite(self, entries: Mapping[str, Entry]) -> None:
        self.client.overwrite(entries)


@dataclass(frozen=True, slots=True)
class _People:
    """The people of a step: holders who are due, and people without a ticket, each with the space they belong to."""

    grants: Mapping[str, Grant]
    due: Mapping[str, Space | None]
    leaving: Mapping[str, Space | None]

    @property
    def unplaced(self) -> bool:
        return None in self.due.values() or None in self.leaving.values()

    def concern(self, space: Space) -> bool:
        return space in self.due.values() or space in self.leaving.values()


_GONE = (404, 410)  # what Gather answers for a space that it does not have


@dataclass(slots=True)
class _Lists:
    """The lists of a step as they were read. ``gone``: Gather does not have the space. ``errors``: other failures."""

    read: dict[Space, GuestList] = field(default_factory=dict, repr=False)
    gone: dict[Space, ServiceError] = field(default_factory=dict)
    errors: list[ServiceError] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class SpacesStep:
    """One event's holders on the guest lists of several spaces, in the order in which the spaces are filled.

    A list is read when something changes in its space, or when it lacked guests the last time. All are read when
    somebody has no space yet, because the person may be on any of them. Where one cannot be read then, nobody gets a
    space, and the rest goes on.

    A space that Gather does not have, while it has another one, holds nobody up: no list is there that a newcomer may
    be on. Its own people keep it, and nobody is counted as removed from it. Where no space answers, the service is
    gone or its address is wrong, and that is an error.
    """

    lists: Mapping[Space, Gather]
    ledger: Ledger
    pseudonymizer: Pseudonymizer
    exclusive: Callable[[], AbstractContextManager[None]]
    poll_id: str
    configured_limit: int | None = None
    overrides: frozenset[str] = frozenset()

    def run(self, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        """Add missing holders, remove guests without a ticket. Without anything to do, Gather is not called."""
        recheck_preexisting_guests(self.ledger, partition.edition)
        people = self._people(partition.edition, holders)
        if not people.due and not people.leaving and not any(map(self._lacks_guests, self.lists)):
            return GuestListOutcome()
        with self.exclusive():
            outcome = self._sync(partition, holders)
        log_outcome(partition, outcome)
        return outcome

    def _people(self, edition: str, holders: Mapping[str, Holder]) -> _People:
        grants, now = current_grants(self.ledger, edition), self.ledger.clock()
        due = [key for key in holders if is_due(grants.get(key), now)]
        leaving = grants_without_ticket(self.ledger, edition)
        return _People(
            grants,
            {key: self._space_of(grants.get(key)) for key in due if not self._is_elsewhere(grants.get(key))},
            {key: self._space_of(grant) for key, grant in leaving.items() if not self._is_elsewhere(grant)},
        )

    def _space_of(self, grant: Grant | None) -> Space | None:
        return next((s for s in self.lists if grant is not None and s.digest == grant.space_digest), None)

    def _lacks_guests(self, space: Space) -> bool:
        return guest_list_state(self.ledger, space.digest).lacking > 0

    def _is_elsewhere(self, grant: Grant | None) -> bool:
        """Say whether somebody was let into a space that the settings do not name. Ticks refuse that."""
        if grant is None or grant.space_digest is None or grant.state == "assumed":
            return False
        return self._space_of(grant) is None

    # -- all spaces -------------------------------------------------------------------------------

    def _sync(self, partition: EventPartition, holders: Mapping[str, Holder]) -> GuestListOutcome:
        people = self._people(partition.edition, holders)
        looks = (people.unplaced or people.concern(space) or self._lacks_guests(space) for space in self.lists)
        lists = self._read(compress(self.lists, looks))
        if people.unplaced:
            for current in lists.read.values():
                recognise(self.ledger, self.pseudonymizer, current.entries)
            people = self._people(partition.edition, holders)
        for space in lists.gone:
            record_lacking(self.ledger, len(list(self._held(people.grants, space))), space.digest)
        placed = {} if lists.errors else self._place(partition.edition, people, lists)
        limit = self._limit(people, lists)
        outcomes, errors = [], [*lists.errors]
        for space, current in lists.read.items():
            # Everybody of the space, because guests who vanished from the list are put back.
            here = {
                key: holder
                for key, holder in holders.items()
                if space in (placed.get(key), self._space_of(people.grants.get(key)))
            }
            try:
                outcomes.append(self._sync_space(space, partition, here, current=current, limit=limit))
            except ServiceError as error:  # the other spaces go on
                errors.append(error)
        if errors:
            raise errors[0]
        waiting = sum(space is None and key not in placed for key, space in people.due.items())
        return _together(outcomes, waiting, full=self._full(waiting), gone=self._describe_gone(people, lists.gone))

    def _sync_space(
        self,
        space: Space,
        partition: EventPartition,
        here: Mapping[str, Holder],
        *,
        current: GuestList | None,
        limit: int,
    ) -> GuestListOutcome:
        client = self.lists[space]
        step = GuestListStep(
            client,
            self.ledger,
            self.pseudonymizer,
            nullcontext,
            self.poll_id,
            limit,
            self.overrides,
            space=space.digest,
            is_one_of_several=True,
        )
        return step.sync(_ReadBefore(client, current), partition, here)

    def _read(self, spaces: Iterable[Space]) -> _Lists:
        """Read these lists. Where Gather has none of the spaces, the service is gone or its address is wrong."""
        lists = _Lists()
        for space in spaces:
            try:
                lists.read[space] = self.lists[space].read()
            except ServiceError as error:
                if isinstance(error, Misconfigured) and error.status in _GONE:
                    lists.gone[space] = error
                else:
                    lists.errors.append(error)
        if lists.gone and not lists.read and not self._has_another(lists.gone):
            lists.errors += lists.gone.values()
            lists.gone.clear()
        return lists

    def _has_another(self, gone: Collection[Space]) -> bool:
        for space, client in self.lists.items():
            if space not in gone:
                with suppress(ServiceError):
                    client.read()
                    return True
        return False

    def _place(self, edition: str, people: _People, lists: _Lists) -> dict[str, Space]:
        """Return a space for everybody without one, as far as there is room. No list was read: for nobody."""
        if not lists.read:
            return {}
        taken = {
            space: {*map(self.pseudonymizer.address, current.entries), *self._held(people.grants, space)}
            for space, current in lists.read.items()
        }
        newcomers = [key for key, space in people.due.items() if space is None]
        by_digest = {space.digest: space for space in self.lists}
        former = {
            key: by_digest[digest]
            for key, digest in former_spaces(self.ledger, edition, newcomers).items()
            if digest in by_digest
        }
        placed = assign(newcomers, taken, former)
        # People who are on no list have left. With a space gone that is in doubt, so they wait.
        otherwise = None if lists.gone else next(iter(self.lists))
        for key in (key for key, space in people.leaving.items() if space is None):
            space = next((space for space, keys in taken.items() if key in keys), otherwise)
            if space is not None:
                placed[key] = space
        for space in self.lists:
            keys = [key for key, its_space in placed.items() if its_space == space]
            place_grants(self.ledger, edition, keys, space.digest)
        return placed

    def _held(self, grants: Mapping[str, Grant], space: Space) -> Iterable[str]:
        """Yield everybody with a place in the space: also those who are about to be let in, or are not seen there."""
        return (key for key, grant in grants.items() if grant.space_digest == space.digest)

    def _limit(self, people: _People, lists: _Lists) -> int:
        """Return how many revocations this poll may do in all spaces together. Beyond that it does none at all."""
        limit, done = revoke_limit(self.configured_limit, len(people.grants)), count_revoked(self.ledger, self.poll_id)
        leaving = sum(space not in lists.gone for space in people.leaving.values())
        return done if leaving > limit - done else limit

    def _describe_gone(self, people: _People, gone: Collection[Space]) -> list[str]:
        """Return a problem for each space that is gone, by its place in the setting."""
        numbered = [(number, space) for number, space in enumerate(self.lists, start=1) if space in gone]
        return [
            f"Gather does not have space {number} of GATHER_SPACE_ID (any more). "
            f"{len(list(self._held(people.grants, space)))} people belong there: they cannot enter, and nobody of them "
            "is moved or removed. New holders go to the other spaces. Bring the space back in Gather, or correct its id"
            for number, space in numbered
        ]

    def _full(self, waiting: int) -> str:
        capacities = ", ".join("no limit" if s.capacity is None else str(s.capacity) for s in self.lists)
        return (
            f"{waiting} holders wait for a place, because no space of GATHER_SPACE_ID has room (capacities: "
            f"{capacities}). Raise a capacity there, or add a space; the next poll lets them in and invites them"
        )


def _together(
    outcomes: Collection[GuestListOutcome], waiting: int, *, full: str, gone: Collection[str] = ()
) -> GuestListOutcome:
    """Return one outcome. Places that were freed just now go to people who wait, so nobody is asked about these."""
    revoked = sum(outcome.revoked for outcome in outcomes)
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    return GuestListOutcome(
        granted=sum(outcome.granted for outcome in outcomes),
        preexisting=sum(outcome.preexisting for outcome in outcomes),
        revoked=revoked,
        unconfirmed=sum(outcome.unconfirmed for outcome in outcomes),
        waiting_revocations=sum(outcome.waiting_revocations for outcome in outcomes),
        without_place=waiting,
        problems=(*problems, *gone, *([full] if waiting > revoked else [])),
        about_people=tuple(problem for outcome in outcomes for problem in outcome.about_people),
        hints=tuple(hint for outcome in outcomes for hint in outcome.hints),
    )
