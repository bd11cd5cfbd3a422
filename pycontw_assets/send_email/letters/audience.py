"""The people of a letter: the ticket-holder lists, one mail for each address, and nobody who is only still listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pycontw_assets.api.client import NotFound
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import count_list_changes, forget_members, list_members
from pycontw_assets.ledger.remote_ids import record_remote_id, remembered_id
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.wait_policy import WaitPolicy

MOST_LISTS = 14  # Klaviyo takes 15 a campaign, and one is for second profiles


class ListsUnfit(Exception):
    """The lists are not what a letter may go to. The text says why, and what to do. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The people of one letter.

    ``lists``: list id -> profile ids that belong on it. ``people``: distinct addresses. ``second``: profiles of people
    who have another one on these lists, because they spelled their address in two ways; the letter leaves them out.
    """

    lists: Mapping[str, frozenset[str]]
    people: int
    second: frozenset[str] = frozenset()


def recorded_audience(ledger: Ledger, partitions: Sequence[EventPartition]) -> Audience:
    """Return the audience as the ledger knows the lists. Raise ``ListsUnfit`` where a list is behind the ledger.

    A holder who is not on the list yet would miss the letter, and somebody who is still on it without a ticket, after a
    refund that is not carried out, would get it.
    """
    members = {partition: list_members(ledger, partition.key) for partition in partitions}
    behind = sum(count_list_changes(ledger, partition.key) for partition in partitions)
    ids = {partition: remembered_id(ledger, "list", ticket_holder_list(partition)) for partition in partitions}
    filled = [partition for partition in partitions if any(members[partition].values())]
    if behind or not all(ids[partition] for partition in filled):
        raise ListsUnfit(
            f"the ticket-holder lists are behind the ledger by {behind} people; run `pycontw-assets poll` first, then "
            "the same command again"
        )
    if not filled:
        raise ListsUnfit("nobody is on the ticket-holder lists, as far as this ledger knows; run `pycontw-assets poll`")
    if len(filled) > MOST_LISTS:
        raise ListsUnfit(f"{len(filled)} lists are more than the {MOST_LISTS} of one campaign; use --family")
    return audience_of({ids[partition] or "": members[partition] for partition in filled})


def audience_of(members: Mapping[str, Mapping[str, str | None]]) -> Audience:
    """Return the audience of these members: list id -> pseudonym -> profile id, ``None`` if Klaviyo refused it. Pure.

    Of several profiles of one person, the one of the smallest id stays.
    """
    profiles: dict[str, set[str]] = {}
    for of_list in members.values():
        for key, profile_id in of_list.items():
            if profile_id is not None:
                profiles.setdefault(key, set()).add(profile_id)
    kept = {min(ids) for ids in profiles.values()}
    return Audience(
        lists={
            list_id: frozenset(profile_id for profile_id in of_list.values() if profile_id is not None)
            for list_id, of_list in members.items()
        },
        people=len(profiles),
        second=frozenset().union(*profiles.values()) - kept,
    )


def count_missing(
    client: KlaviyoClient, ledger: Ledger, waits: WaitPolicy, partitions: Sequence[EventPartition], audience: Audience
) -> int:
    """Return how many members Klaviyo does not show. Raise ``ListsUnfit`` if it shows others, who may hold no ticket.

    Changes of a list may show late, so a difference is looked at again for a while.
    """
    missing: set[str] = set()
    for list_id, expected in audience.lists.items():
        try:
            shown = _read_until_equal(client, waits, list_id, expected)
        except NotFound:
            _forget_list(ledger, partitions, list_id)
            raise ListsUnfit(
                f"the list {list_id} was deleted in Klaviyo; run `pycontw-assets poll`, which makes it again"
            ) from None
        if strangers := shown - expected:
            raise ListsUnfit(
                f"{len(strangers)} profiles on the list {list_id} hold no ticket that this ledger knows: somebody "
                "added them, or their removal does not show yet. Run `pycontw-assets poll`, and look at the list in "
                "Klaviyo"
            )
        missing |= expected - shown
    return len(missing - audience.second)


def _read_until_equal(
    client: KlaviyoClient, waits: WaitPolicy, list_id: str, expected: Collection[str]
) -> frozenset[str]:
    latest: list[frozenset[str]] = [frozenset()]

    def is_equal() -> bool:
        latest[0] = client.list_member_ids(list_id)
        return latest[0] == expected

    waits.until(waits.visible, is_equal)
    return latest[0]


def _forget_list(ledger: Ledger, partitions: Sequence[EventPartition], list_id: str) -> None:
    for partition in partitions:
        name = ticket_holder_list(partition)
        if remembered_id(ledger, "list", name) == list_id:
            record_remote_id(ledger, "list", name, remote_id=None)
            forget_members(ledger, partition.key, list_members(ledger, partition.key))
