"""Which events hints are about. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pycontw_assets.extract.hook.delivery import name_digest
from pycontw_assets.ledger.hints.deliveries import ANY_EVENT, Hint
from pycontw_assets.records import Event


@dataclass(frozen=True, slots=True)
class Resolution:
    """The ids of the events that are due, and what was learned: the event of a slug, by the slug's digest.

    ``every_event``: some hint says no event for sure, so all of them are due.
    """

    event_ids: frozenset[int] = frozenset()
    every_event: bool = False
    learned: Mapping[str, int] = field(default_factory=dict)


def needs_listing(hints: Iterable[Hint], slugs: Mapping[str, int]) -> bool:
    """Say whether a name has to be looked up among those that KKTIX lists."""
    return any(hint.subject not in slugs and hint.subject != ANY_EVENT for hint in hints)


def resolve(hints: Iterable[Hint], slugs: Mapping[str, int], listed: Iterable[Event]) -> Resolution:
    """Return the events that the hints are about. A slug that is known counts more than a name, which may change.

    ``listed``: all events that KKTIX lists; empty where nothing had to be looked up. One name of several events makes
    all of them due, and is not learned.
    """
    by_name: dict[str, set[int]] = {}
    for event in listed:
        by_name.setdefault(name_digest(event.name), set()).add(event.event_id)
    event_ids, learned, every_event = set[int](), dict[str, int](), False
    for hint in hints:
        if hint.subject in slugs:
            event_ids.add(slugs[hint.subject])
            continue
        named = by_name.get(hint.name_digest, set())
        event_ids |= named
        every_event |= not named
        if len(named) == 1:
            learned[hint.subject] = min(named)
    return Resolution(frozenset(event_ids), every_event, learned)
