"""The guest lists alone -> the grants of a ledger that was lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pycontw_assets.authorize.guest_list import Entry, is_our_writing
from pycontw_assets.ledger.grants import Grant


def rebuild_grants(
    edition: str,
    holders: Mapping[str, str],
    present: Mapping[str, Entry] | None,
    spaces: Mapping[str, str] | None = None,
) -> list[Grant]:
    """Return a grant for every holder (pseudonym -> partition key) by what the list says about it.

    Listed with an entry as we write it: let in by us. Listed otherwise: somebody else's guest, never ours to remove.
    Not listed: to be let in. ``present`` is ``None`` where the step is switched off. ``spaces``: the digest of the
    space on whose list somebody is.
    """
    grants = [_grant(edition, key, partition_key, present) for key, partition_key in sorted(holders.items())]
    return [replace(grant, space_digest=(spaces or {}).get(grant.address_key)) for grant in grants]


def _grant(edition: str, key: str, partition_key: str, present: Mapping[str, Entry] | None) -> Grant:
    if present is None:
        return Grant(edition, key, 1, partition_key, "assumed", added_by_us=True)
    if key not in present:
        return Grant(edition, key, 1, partition_key, "intended", added_by_us=True)
    return Grant(edition, key, 1, partition_key, "granted", added_by_us=is_our_writing(present[key]))
