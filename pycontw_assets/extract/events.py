"""Which listed events to poll: edition and family come from the settings, the ledger or the event's name. Pure.

An event of another edition, or one whose name gives no edition or family, is reported and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pycontw_assets.api.outlets import shorten
from pycontw_assets.records import FAMILIES, Event, EventPartition, Family

_YEAR = re.compile(r"(?<!\d)(20[0-9]{2})(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A listed event that is left alone, and why. ``fix``: what a person is asked to do about it, if anything.

    ``name`` is what people are shown: one line, and not a long one. ``edition``: the one it belongs to, where that is
    known.
    """

    event_id: int
    name: str
    reason: str
    fix: str = ""
    edition: str | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """The listing in two parts: partitions to poll, and the other events, each with its reason.

    ``conflicts``: by id, the recorded events that ``KKTIX_EVENTS`` contradicts, listed or not. They wait for a person.
    """

    edition: str | None
    partitions: tuple[EventPartition, ...]
    unmatched: tuple[Unmatched, ...]
    conflicts: Mapping[int, str] = field(default_factory=dict)


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


def live_edition(
    configured: str | None, known: Mapping[int, EventPartition], mapped: Mapping[int, EventPartition | None]
) -> str | None:
    """Return the edition that is polled: the configured one, otherwise the newest that the ledger has events of.

    Only a person names another one. So no event that is listed too early, or under a wrong year, ends a sale at work.
    """
    readings = (mapped.get(event_id, partition) for event_id, partition in known.items())
    return configured or max((reading.edition for reading in readings if reading), default=None)


def discover(
    listed: Sequence[Event],
    *,
    known: Mapping[int, EventPartition],
    mapped: Mapping[int, EventPartition | None],
    edition: str | None,
    may_begin: bool,
) -> Discovery:
    """Sort the listing by what is to be polled.

    ``known``: the events in the ledger, by id. ``mapped``: ``KKTIX_EVENTS`` by id, with ``None`` for an event to
    ignore. ``edition``: the configured one, if any. ``may_begin``: take the newest listed edition where neither that
    nor the ledger names one.
    An event to ignore is left alone, and so is one whose recorded key ``KKTIX_EVENTS`` contradicts. Otherwise the
    recorded key comes first, then ``mapped``, then the name.
    """
    conflicts = _conflicts(known, mapped)
    readings = {event.event_id: _reading(event, known, mapped, conflicts) for event in listed}
    recognised = [reading for reading in readings.values() if isinstance(reading, EventPartition)]
    live = live_edition(edition, known, mapped)
    if live is None and may_begin:
        live = max((partition.edition for partition in recognised), default=None)
    partitions = [partition for partition in recognised if partition.edition == live]
    polled = {partition.event_id for partition in partitions}
    unmatched = [
        _unmatched(event, readings[event.event_id], live, is_asked=event.event_id not in mapped)
        for event in listed
        if event.event_id not in polled
    ]
    return Discovery(
        live,
        tuple(sorted(partitions, key=lambda partition: partition.key)),
        tuple(unmatched),
        conflicts,
    )


def _conflicts(known: Mapping[int, EventPartition], mapped: Mapping[int, EventPartition | None]) -> dict[int, str]:
    """Return the events, by id, whose mapping would be ignored because another key is recorded."""
    pairs = [(partition, mapped.get(event_id)) for event_id, partition in known.items()]
    return {
        recorded.event_id: f"KKTIX_EVENTS makes event {recorded.event_id} {wanted.key}, and it is recorded as "
        f"{recorded.key}. Run `pycontw-assets rename-event {recorded.key} {wanted.key}`, or correct KKTIX_EVENTS"
        for recorded, wanted in pairs
        if wanted is not None and wanted != recorded
    }


def _reading(
    event: Event,
    known: Mapping[int, EventPartition],
    mapped: Mapping[int, EventPartition | None],
    conflicts: Mapping[int, str],
) -> EventPartition | str:
    if event.event_id in mapped and mapped[event.event_id] is None:
        return "KKTIX_EVENTS says to ignore it"
    if event.event_id in conflicts:
        return "KKTIX_EVENTS contradicts the recorded key"
    return known.get(event.event_id) or mapped.get(event.event_id) or suggest(event)


def _unmatched(event: Event, reading: EventPartition | str, live: str | None, *, is_asked: bool) -> Unmatched:
    """Describe an event that is left alone. ``is_asked``: a person has not said anything about it yet."""
    if isinstance(reading, str):
        fix = "map it in KKTIX_EVENTS" if is_asked else ""
        return Unmatched(event_id=event.event_id, name=shorten(event.name), reason=reading, fix=fix)
    is_later = live is not None and reading.edition > live
    return Unmatched(
        event_id=event.event_id,
        name=shorten(event.name),
        reason=f"it belongs to edition {reading.edition}, not {live}",
        fix=f"set EDITION={reading.edition} when that sale begins, or map it in KKTIX_EVENTS" if is_later else "",
        edition=reading.edition,
    )
