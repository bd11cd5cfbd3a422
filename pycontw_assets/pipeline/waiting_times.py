"""How long buyers waited, from payment to access and to the invitation, by the pipeline's own records. Pure.

From payment: KKTIX tells no time of it; ``paid_at`` says what stands for it. It is never later than the moment the
pipeline knew of the usable ticket, so an edit after that shortens no wait.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pycontw_assets.deidentify.holders import holders_of, usable_contacts
from pycontw_assets.extract.orders import paid_at
from pycontw_assets.ledger.progress import Reached
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import OrderSnapshot


def seconds_from_payment(
    reached: Collection[Reached], snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer
) -> list[float]:
    """Return the seconds each of them waited, counted from the first usable ticket of the event."""
    paid = _paid({item.address_key for item in reached}, snapshot, pseudonymizer)
    return list(_waits(reached, paid))


def _paid(keys: Collection[str], snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> dict[str, datetime]:
    if not keys:
        return {}
    holders = holders_of(snapshot, pseudonymizer)
    reached = {holders[key].address: key for key in keys if key in holders}
    found: dict[str, datetime] = {}
    for contact in usable_contacts(snapshot):
        if contact.address in reached:
            key, paid = reached[contact.address], paid_at(contact.record)
            found[key] = min(paid, found.get(key, paid))
    return found


def _waits(reached: Iterable[Reached], paid: Mapping[str, datetime]) -> Iterator[float]:
    for item in reached:
        since = min(paid.get(item.address_key, item.known_at), item.known_at)
        yield max((item.reached_at - since).total_seconds(), 0.0)


def figures(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """Plain numbers, which become plots; none at all when nobody waited."""
    found = spread(seconds)
    if found is None:
        return {}
    values = {"p50": found.median, "p95": found.p95, "max": found.slowest}
    return {f"{name}_{share}": round(value, 1) for share, value in values.items()}


# -- percentiles ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    count: int
    median: float
    p95: float
    slowest: float


def spread(seconds: Iterable[float | None]) -> Spread | None:
    """``None`` when nobody waited; who never got what they waited for (``None``) is not counted."""
    known = sorted(one for one in seconds if one is not None)
    if not known:
        return None
    return Spread(len(known), percentile(known, 50), percentile(known, 95), known[-1])


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that so many percent do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]
