"""A believable ticket sale to start with: three events of the live edition, and two events to leave alone."""

from __future__ import annotations

from collections.abc import Iterator

from pycontw_assets.sandbox.kktix.people import AddressKind
from pycontw_assets.sandbox.world import World

_ODD_KINDS: tuple[AddressKind, ...] = ("upper", "plus", "idn", "padded", "fullwidth", "invalid", "missing")
_UNPAID_SHARE = 0.1
_GROUP_SHARE = 0.1


def seed_demo(world: World, edition: str = "2031", seed: int = 0, *, attendees: int = 60) -> dict[str, int]:
    """Fill an empty world with about ``attendees`` attendees, and return the event ids by family.

    About a tenth is unpaid. The sale has orders of several seats, an address with tickets in two events, every odd
    kind of address, an event with two books that list different people, and guests and a mailing list made by hand.
    """
    world.context.random.seed(seed)
    last = str(int(edition) - 1)
    events = {
        "individual": world.add_event(f"PyCon TW {edition} Registration: Individual", 90001, books=2),
        "corporate": world.add_event(f"PyCon TW {edition} Registration: Corporate", 90002, locale="en"),
        "reserved": world.add_event(f"PyCon TW {edition} Registration: Reserved", 90003),
    }
    world.sell(world.add_event(f"PyCon TW {edition} Volunteer Party", 90007), 2)
    past = world.add_event(f"PyCon TW {last} Registration: Individual", 80001)
    world.sell(past, 3)
    world.end_event(past)
    _sell_most(world, events, attendees)
    _sell_oddities(world, events)
    _add_handmade_entries(world)
    return events


def _sell_most(world: World, events: dict[str, int], attendees: int) -> None:
    chance = world.context.random
    sold = 0
    families = _endless_families()
    while sold < attendees:
        family = next(families)
        seats = chance.choice((2, 3)) if chance.random() < _GROUP_SHARE else 1
        books = [chance.choice((0, 1))] if family == "individual" else None  # no book lists everybody
        world.sell(events[family], seats, paid=chance.random() >= _UNPAID_SHARE, books=books)
        sold += seats


def _endless_families() -> Iterator[str]:
    while True:
        yield from ("individual", "individual", "corporate", "individual", "reserved")


def _sell_oddities(world: World, events: dict[str, int]) -> None:
    for position, kind in enumerate(_ODD_KINDS):
        world.sell(events[("individual", "corporate")[position % 2]], kind=kind)
    buyer = world.kktix.people.next()
    world.sell(events["individual"], person=buyer)
    world.sell(events["corporate"], person=buyer, paid=False)
    world.sell(events["reserved"], price=0)
    world.cancel(world.sell(events["individual"])[0])


def _add_handmade_entries(world: World) -> None:
    world.add_guest("speaker-desk@example.org", {"name": "Speaker Desk", "affiliation": "Speaker", "role": "guest"})
    world.add_guest("By.Hand@example.org", {})
    world.klaviyo.add_list_by_hand("Newsletter", ["reader-one@example.org", "reader-two@example.org"])
