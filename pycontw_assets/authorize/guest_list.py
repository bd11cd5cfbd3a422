"""Holders and the current guest list -> the changes that the list needs, and whether to trust the list. Pure.

``guest_list_step`` makes the changes. Nobody is removed whom this pipeline did not add, and nobody because of a list
that does not look whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pycontw_assets.completeness import GUEST_LIST
from pycontw_assets.ledger.grants import Grant

AFFILIATION = "Attendee"
MOST_LOOKS = 12  # polls in which a guest who may appear late is looked for
_FEWEST_REVOCATIONS = 5  # that a poll may do without an override
_SHARE_OF_REVOCATIONS = 0.10

Entry = Any  # as the service gave it; written back verbatim


class GuestList(Protocol):
    @property
    def entries(self) -> Mapping[str, Entry]: ...

    @property
    def was_object(self) -> bool: ...

    @property
    def unreadable(self) -> int: ...


@dataclass(frozen=True, slots=True)
class GuestListChange:
    """The decision for one event; keys are pseudonyms.

    ``add``: not on the list. ``preexisting``: on it through others. ``confirm``: added by us, seen on the list.
    ``revoke``: added by us, on the list, no ticket any more. ``end``: the same, but not on the list.
    ``cede``: added by us, no ticket any more, but somebody edited the entry, so it is theirs to remove.
    """

    add: frozenset[str] = frozenset()
    preexisting: frozenset[str] = frozenset()
    confirm: frozenset[str] = frozenset()
    revoke: frozenset[str] = frozenset()
    end: frozenset[str] = frozenset()
    cede: frozenset[str] = frozenset()


def entry() -> dict[str, str]:
    """Return what we write for a buyer. The name stays blank: no personal data, and the guest may choose one."""
    return {"name": "", "role": "guest", "affiliation": AFFILIATION}


def looks_ours(listed: Entry) -> bool:
    """Say whether nobody made the entry their own: a speaker who once bought a ticket is not ours to remove."""
    affiliation = listed.get("affiliation") if isinstance(listed, dict) else None
    return affiliation in (None, "", AFFILIATION)


def is_our_writing(listed: Entry) -> bool:
    """Say whether an entry is exactly what we write, where it is not known that we wrote it."""
    return isinstance(listed, dict) and listed.get("affiliation") == AFFILIATION


# -- the decision -------------------------------------------------------------------------------------


def is_due(grant: Grant | None, now: datetime) -> bool:
    """Say whether a holder still has to be let in."""
    if grant is None or grant.state in ("revoking", "assumed"):
        return True
    return grant.state == "intended" and (grant.retry_at is None or grant.retry_at <= now)


def decide(
    holders: Iterable[str], grants: Mapping[str, Grant], without_ticket: Iterable[str], present: Mapping[str, Entry]
) -> GuestListChange:
    """Return what the list needs. ``present`` maps pseudonyms of the listed addresses to their entries."""
    entitled = set(holders)
    listed = entitled & present.keys()
    leaving = set(without_ticket) - entitled
    added_by_us = frozenset(key for key in listed if _was_added_by_us(grants.get(key), present[key]))
    removable = frozenset(key for key in leaving & present.keys() if _may_be_removed(grants.get(key), present[key]))
    return GuestListChange(
        add=frozenset(entitled - present.keys()),
        preexisting=frozenset(listed - added_by_us),
        confirm=added_by_us,
        revoke=removable,
        end=frozenset(leaving - present.keys()),
        cede=frozenset((leaving & present.keys()) - removable),
    )


def _was_added_by_us(grant: Grant | None, listed: Entry) -> bool:
    """Our intent and our writing together: added before a crash. Otherwise somebody else added the guest.

    Also where we meant to: staff may have added the guest while our call was refused or never made.
    """
    if grant is None or not grant.added_by_us:
        return False
    if grant.state in ("intended", "assumed"):
        return is_our_writing(listed)
    return grant.state == "revoking" or looks_ours(listed)


def _may_be_removed(grant: Grant | None, listed: Entry) -> bool:
    """Guests who were seen on the list through us may be removed until somebody makes the entry their own.

    A guest who was only meant to be on it, or was let in without it, needs the entry exactly as we write it.
    """
    was_seen = grant is not None and grant.state in ("granted", "revoking")
    return looks_ours(listed) if was_seen else is_our_writing(listed)


def ends_by_absence(grant: Grant) -> bool:
    """Say whether a period ends when its guest is not on the list, instead of the guest being put back."""
    return grant.state == "revoking" or was_preexisting(grant)


def was_preexisting(grant: Grant) -> bool:
    """Say whether others put the guest on the list, who had no ticket when the step looked last."""
    return grant.state == "intended" and not grant.added_by_us


def looks_in_vain(grant: Grant) -> int:
    """Count the polls that looked for a guest without a ticket; ``MOST_LOOKS`` for one who was seen and not touched.

    A removal that nobody saw through is no reason to believe a list without the guest: it may be cut short.
    """
    if grant.state == "intended":
        return 0
    return grant.attempts if grant.state == "revoking" else MOST_LOOKS


# -- doubts -------------------------------------------------------------------------------------------


def distrust(current: GuestList, listed: Iterable[str], grants: Mapping[str, Grant], last_size: int) -> str | None:
    """Return why the list may not be whole, so that nobody may be removed because of it; ``None``: it looks whole."""
    expected = {key for key, grant in grants.items() if grant.state == "granted"}
    shown = set(listed)
    lacking = len(expected - shown)
    # A crash may have come right after they were removed: that is no sign of a broken list.
    absent = (grant for key, grant in grants.items() if key not in shown)
    removed = sum(grant.state == "revoking" and not grant.attempts for grant in absent)
    if expected and not (current.was_object and current.entries):
        return f"Gather answered with an empty guest list, {len(expected)} guests of ours were on it"
    if GUEST_LIST.is_exceeded(lacking, len(expected)):
        return f"the guest list lacks {lacking} of {len(expected)} guests we put on it"
    if GUEST_LIST.is_exceeded(last_size - removed - len(current.entries), last_size):
        return f"the guest list shrank from {last_size} to {len(current.entries)} without us"
    return None


def revoke_limit(configured: int | None, granted: int) -> int:
    """Return how many revocations one poll may do without an override."""
    if configured is not None:
        return configured
    return max(_FEWEST_REVOCATIONS, math.ceil(granted * _SHARE_OF_REVOCATIONS))
