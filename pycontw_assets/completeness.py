"""How much may be missing from a list before it looks cut. One rule, one tolerance per list. Pure.

A list that was cut on its way must take nobody's access. It is believed while no more entries are missing than the
larger of a number, which short lists need, and a share. An empty list in the place of a filled one is never believed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    number: int
    share: float

    def is_exceeded(self, missing: int, expected: int) -> bool:
        """Say whether too many of the ``expected`` entries are ``missing``."""
        return missing > self.most(expected)

    def most(self, expected: int) -> int:
        """Return how many of the ``expected`` entries may be missing."""
        return int(max(self.number, self.share * expected))


# Buyers give tickets back by themselves, and a whole group may do so between two polls.
ATTENDANCE_BOOK = Tolerance(number=5, share=0.10)
# The vault has lost the orders of an event: one book alone decides, without the second look of the next poll. Whom it
# lacks is asked for by number where the numbers are known, as those of older orders are.
BOOK_OF_LOST_ORDERS = Tolerance(number=1, share=0.10)
# Guests leave the list through this pipeline, or one at a time by somebody's hand.
GUEST_LIST = Tolerance(number=1, share=0.01)
# Attendees that cannot be read concern themselves. So many of them mean that KKTIX answers in another way.
UNREADABLE_ATTENDEES = Tolerance(number=5, share=0.10)
