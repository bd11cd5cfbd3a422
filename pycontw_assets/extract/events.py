"""Which listed events are ours: edition and family from configuration, memory or the name. Pure.

An event of another edition, or one whose name gives no edition or family, is reported and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pycontw_assets.records import FAMILIES, Event, EventPartition, Family

_YEAR = re.compile(r"(?<!\d)(20[0-9]{2})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A listed event that is left alone, and why. ``is_undecided``: its name did not say enough, nor did a person."""

    event_id: int
    name: str
    reason: str
    is_undecided: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """The listing, sorted: partitions to poll, and everything else with its reason."""

    edition: str | None
    partitions: tuple[EventPartition, ...]
    unmatched: tuple[Unmatched, ...]


def suggest(event: Event) -> EventPartition | str:
    """What the name says: a partition, or why it says none. Ambiguous names are never guessed."""
    years = set(_YEAR.findall(event.name))
    families: list[Family] = [family for family in FAMILIES if family in event.name.lower()]
    if "registration" not in event.name.lower():
        return "its name does not say registration"
    if len(years) != 1:
        return "its name gives no edition" if not years else "its name gives several years"
    if len(families) != 1:
        return "its name gives no ticket family" if not families else "its name gives several ticket families"
    return EventPartition(event.event_id, years.pop(), families[0])


def live_edition(configured: str | None, events: Iterable[EventPartition]) -> str | None:
    """Return the edition that is polled: the configured one, otherwise the newest of the events ever listed."""
    return configured or max((event.edition for event in events), default=None)


def discover(
    listed: Sequence[Event],
    *,
    known: Mapping[int, EventPartition],
    mapped: Mapping[int, EventPartition | None],
    edition: str | None,
) -> Discovery:
    """Sort the listing. ``mapped`` is what a person decided, ``None`` for an event to ignore.

    Precedence: a person's ``None``, then the key an event once got, then a person's mapping, then the name.
    Without a configured edition the newest one ever listed is live: last year's event, left alone in a listing
    that lost this year's for a moment, must not come to life.
    """
    readings = {event.event_id: _reading(event, known, mapped) for event in listed}
    recognised = [reading for reading in readings.values() if isinstance(reading, EventPartition)]
    live = live_edition(edition, [*recognised, *known.values()])
    ours: list[EventPartition] = []
    others: list[Unmatched] = []
    for event in listed:
        reading = readings[event.event_id]
        if isinstance(reading, EventPartition) and reading.edition == live:
            ours.append(reading)
        else:
            reason = reading if isinstance(reading, str) else f"it belongs to edition {reading.edition}, not {live}"
            is_undecided = isinstance(reading, str) and event.event_id not in mapped
            unmatched = Unmatched(event_id=event.event_id, name=event.name, reason=reason, is_undecided=is_undecided)
            others.append(unmatched)
    return Discovery(live, tuple(sorted(ours, key=lambda partition: partition.key)), tuple(others))


def _reading(
    event: Event, known: Mapping[int, EventPartition], mapped: Mapping[int, EventPartition | None]
) -> EventPartition | str:
    if event.event_id in mapped and mapped[event.event_id] is None:
        return "KKTIX_EVENTS says to ignore it"
    return known.get(event.event_id) or mapped.get(event.event_id) or suggest(event)
