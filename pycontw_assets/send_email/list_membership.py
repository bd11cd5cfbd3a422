"""Many profiles onto a list or off it, where one that Klaviyo does not know costs only itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pycontw_assets.api.client import Refused
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient

_MOST_REFUSALS = 30  # enough to single out a few; beyond it something else is wrong


def change_members(
    client: KlaviyoClient, change: Callable[[str, Sequence[str]], None], *, list_id: str, profile_ids: Collection[str]
) -> set[str]:
    """Give all of them to ``change``, halving what is refused; the ids that were refused alone.

    A person may have been deleted there on request. ``NotFound`` when it is the list that is gone.
    """
    unknown: set[str] = set()
    waiting = [sorted(profile_ids)] if profile_ids else []
    refusals = 0
    while waiting:
        part = waiting.pop()
        try:
            change(list_id, part)
        except Refused:
            refusals += 1
            if refusals == 1:
                client.list_member_ids(list_id)
            if refusals > _MOST_REFUSALS:
                raise
            middle = len(part) // 2
            if middle:
                waiting += [part[:middle], part[middle:]]
            else:
                unknown.add(part[0])
    return unknown
