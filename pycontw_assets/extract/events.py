"""Which listed events to poll: edition and family come from the settings, the ledger or the event's name. Pure.

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
    """A listed event that is left alone, and why. ``is_undecided``: neither name nor ``KKTIX_EVENTS`` says enough."""

    event_id: int
    name: str
    reason: str
    is_undecided: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """The listing in two parts: partitions to poll, and the other events, each with its reason."""

    edition: str | None
    partitions: tuple[EventPartition, ...]
    unmatched: tuple[Unmatched, ...]


def suggest(event: Event) -> EventPartition | str:
    """Return the partition that the name gives, or the reason why it gives none. Nothing is guessed."""
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
    """Sort the listing by what is to be polled.

    ``known``: the events in the ledger, by id. ``mapped``: ``KKTIX_EVENTS`` by id, with ``None`` for an event to
    ignore. ``edition``: the configured one, if any.
    Precedence: a ``None`` in ``mapped``, then ``known``, then ``mapped``, then the name.
    The newest edition includes the known events. Otherwise last year's event would come to life whenever the listing
    loses this year's for a moment.
    """
    readings = {event.event_id: _reading(event, known, mapped) for event in listed}
    recognised = [reading for reading in readings.values() if isinstance(reading, EventPartition)]
    live = live_edition(edition, [*recognised, *known.values()])
    partitions: list[EventPartition] = []
    unmatched: list[Unmatched] = []
    for event in listed:
        reading = readings[event.event_id]
        if isinstance(reading, EventPartition) and reading.edition == live:
            partitions.append(reading)
        else:
            reason = reading if isinstance(reading, str) else f"it belongs to edition {reading.edition}, not {live}"
            is_undecided = isinstance(reading, str) and event.event_id not in mapped
            unmatched.append(
                Unmatched(event_id=event.event_id, name=event.name, reason=reason, is_undecided=is_undecided)
            )
    return Discovery(live, tuple(sorted(partitions, key=lambda partition: partition.key)), tuple(unmatched))


def _reading(
    event: Event, known: Mapping[int, EventPartition], mapped: Mapping[int, EventPartition | None]
) -> EventPartition | str:
    if event.event_id in mapped and mapped[event.event_id] is None:
        return "KKTIX_EVENTS says to ignore it"
    return known.get(event.event_id) or mapped.get(event.event_id) or suggest(event)
