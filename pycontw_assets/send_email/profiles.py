"""Addresses to Klaviyo profiles, a few one by one, many in bulk. Profiles carry the address and no name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.pseudonyms import normalise_address
from pycontw_assets.records import Holder
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import Profile
from pycontw_assets.send_email.wait_policy import WaitPolicy

BULK_FROM = 50  # the vendor advises against bulk imports for small updates
_BULK_CHUNK = 5000  # half of what a job takes, so that its 5 MB are never in question
_BULK_PATIENCE = 120.0


@dataclass(slots=True)
class Profiles:
    """By pseudonym: the profiles, and why Klaviyo would not have the others."""

    found: dict[str, Profile] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def ensure_profiles(
    client: KlaviyoClient, waits: WaitPolicy, holders: Mapping[str, Holder], *, properties: Mapping[str, str]
) -> Profiles:
    """Upsert everybody (repeatable: same input, same state). One bad address costs only itself."""
    profiles = Profiles()
    remaining = dict(holders)
    if len(holders) >= BULK_FROM:
        keys = sorted(holders)
        for start in range(0, len(keys), _BULK_CHUNK):
            chunk = {key: holders[key] for key in keys[start : start + _BULK_CHUNK]}
            profiles.found |= _import(client, waits, chunk, properties=properties)
        remaining = {key: holder for key, holder in holders.items() if key not in profiles.found}
    for key, holder in sorted(remaining.items()):
        try:
            profiles.found[key] = client.upsert_profile(holder.spelled, properties)
        except NotFound:
            raise
        except Refused as error:
            if error.pointers and not any("email" in pointer for pointer in error.pointers):
                raise  # not about the address: it would write off everybody
            profiles.refused[key] = "Klaviyo refused the address"
    return profiles


def _import(
    client: KlaviyoClient, waits: WaitPolicy, holders: Mapping[str, Holder], *, properties: Mapping[str, str]
) -> dict[str, Profile]:
    """Whoever the bulk import brought in; the others are tried one by one, which says what is wrong with them."""
    try:
        job_id = client.bulk_import({holder.spelled: properties for holder in holders.values()})
    except NotFound:
        raise
    except Refused:
        return {}
    if not waits.until(_BULK_PATIENCE, lambda: client.bulk_import_job(job_id).status in ("complete", "cancelled")):
        raise Unavailable("Klaviyo", "bulk import", "the job is not done yet; the next poll looks again")
    keys = {holder.address: key for key, holder in holders.items()}
    found: dict[str, Profile] = {}

    def everybody_shows() -> bool:
        missing = [holders[key].spelled for key in keys.values() if key not in found]
        for profile in client.find_profiles(missing):
            key = keys.get(normalise_address(profile.email or ""))
            if key:
                found[key] = profile
        return len(found) >= len(holders) - len(client.bulk_import_errors(job_id))

    waits.until(waits.visible, everybody_shows)
    return found
