"""Add many profiles to a list or remove them, where an unknown profile does not fail the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pycontw_assets.api.client import Refused
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient

_MOST_REFUSALS = 30  # enough to find a few unknown profiles. More means that something else is wrong


def change_members(
    client: KlaviyoClient, change: Callable[[str, Sequence[str]], None], *, list_id: str, profile_ids: Collection[str]
) -> set[str]:
    """Pass all profiles to ``change``, halve what is refused, and return the ids that were refused alone.

    ``change`` is ``add_to_list`` or ``remove_from_list``. A profile may have been deleted in Klaviyo on request. Raise
    ``NotFound`` when the list is gone.
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
