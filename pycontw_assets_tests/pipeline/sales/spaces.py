"""The spaces of the venue in a random sale: a second one that opens in mid-sale, and how far their lists can be cut."""

from __future__ import annotations

from collections.abc import Iterator

from pycontw_assets.ledger.guest_lists import guest_list_state, space_digest
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.world import World

SECOND = "SandboxSpace0002\\South Wing"
LINK = "https://venue.example/app/{space}"  # of every mail, so that a second space changes no words
NO_ROOM = "holders wait for a place"  # how the alarm says it


class Spaces:
    """The spaces as the settings name them, each with its capacity. At first there is one without any."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._capacities: dict[str, int | None] = {keys.GATHER_SPACE_ID: None}

    @property
    def names(self) -> list[str]:
        return list(self._capacities)

    @property
    def setting(self) -> str:
        """Return the value of ``GATHER_SPACE_ID``."""
        return ",".join(space if most is None else f"{space}:{most}" for space, most in self._capacities.items())

    def open_second(self, first: int, second: int) -> None:
        """Open the second space. The first one is full, or has room for so many more."""
        self._world.gather.open_space(SECOND)
        held = len(self._world.gather.guests_of(keys.GATHER_SPACE_ID))
        self._capacities = {keys.GATHER_SPACE_ID: max(1, held + first), SECOND: second}

    def make_room(self) -> None:
        """Raise the capacity of the last space, as the alarm asks."""
        last = self.names[-1]
        self._capacities[last] = (self._capacities[last] or 0) + 3

    def noticeable_cuts(self, ledger: Ledger) -> Iterator[int]:
        """Yield how many guests an answer may show so that it lacks at least two in every space where it lacks any."""
        sizes = [(guest_list_state(ledger, space_digest(s)).size or 0, len(self._world.gather.guests_of(s)))
                 for s in self.names]  # fmt: skip
        for shown in range(max(min(seen, held) for seen, held in sizes)):
            if all(min(seen, held) - shown >= 2 or held <= shown for seen, held in sizes):
                yield shown
