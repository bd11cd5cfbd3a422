"""When a poll that reads many orders stops for a moment, so that the buyers read so far are served first. Pure.

A rush of thousands takes minutes to read. Newcomers are read in the order of their numbers, the oldest first: the buyer
who paid first has waited longest. With the newest first, a rush that lasts would never reach the buyers of its first
minute.
"""

from __future__ import annotations

from dataclasses import dataclass

from pycontw_assets.records import OrderSnapshot

# After so many waves of the usual size they grow by such a part: a list of the mail service rests for an hour after
# each, and polls need lists, too.
_GROWTH = 8


@dataclass(frozen=True, slots=True)
class WaveSize:
    """A wave is due after so many newcomers, or after so many seconds, whichever is first.

    ``pause``: seconds of reading before the next wave, for each second that the last one took.
    """

    newcomers: int = 500
    seconds: float = 60.0
    pause: float = 1.0

    def is_due(self, *, waiting: int, unread: int, seconds: float, served: int = 0, took: float = 0.0) -> bool:
        """Say whether the ``waiting`` newcomers are served now, before the ``unread`` attendees are read.

        ``seconds``: since the last wave of this poll, which ``took`` so many. ``served``: newcomers of earlier waves.
        With nobody left to read, the end of the poll serves them.
        Waves grow with the poll: one of 50,000 newcomers needs thirty at a fast rate, and fifty at 20 a second. Where
        KKTIX is read faster than a wave can be served, they come less often, because small ones would cost more than
        they save.
        """
        if not (waiting and unread):
            return False
        is_enough = waiting >= max(self.newcomers, served // _GROWTH) and seconds >= took * self.pause
        return is_enough or seconds >= self.seconds


@dataclass(frozen=True, slots=True)
class Wave:
    """The attendees read since the last wave. ``newcomers`` counts those of the whole poll, ``unread`` what is left."""

    orders: OrderSnapshot
    newcomers: int
    unread: int
