"""Holders to Klaviyo profiles: a few one by one, many in bulk. A profile has the address and no name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.client import NotFound, Refused, Unavailable
from pycontw_assets.ledger.database.tables import REFUSED_ADDRESS
from pycontw_assets.pseudonyms import normalise_address
from pycontw_assets.records import Holder
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.klaviyo_records import Profile
from pycontw_assets.send_email.wait_policy import WaitPolicy

BULK_FROM = 50  # profiles. Klaviyo advises against bulk imports for small updates
_BULK_CHUNK = 5000  # profiles. Half of what a job takes, so that it stays far below 5 MB
_BULK_PATIENCE = 120.0  # seconds until a job ends


@dataclass(slots=True)
class Profiles:
    """Profiles by pseudonym, and the reason for every address that Klaviyo refused.

    ``barred``: the reason why the same mailbox gets no mail in another spelling, which it may have opted out with.
    """

    accepted: dict[str, Profile] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    barred: dict[str, str] = field(default_factory=dict)


def ensure_profiles(
    client: KlaviyoClient,
    waits: WaitPolicy,
    holders: Mapping[str, Holder],
    *,
    properties: Mapping[str, str],
    also: Mapping[str, Mapping[str, str]] | None = None,
) -> Profiles:
    """Upsert a profile with these properties for every holder. It may be repeated. A bad address fails nobody else.

    ``also``: properties of some, by address key.
    """
    profiles = Profiles()
    wanted = {key: {**properties, **(also or {}).get(key, {})} for key in holders}
    remaining = dict(holders)
    if len(holders) >= BULK_FROM:
        keys = sorted(holders)
        for start in range(0, len(keys), _BULK_CHUNK):
            chunk = {key: holders[key] for key in keys[start : start + _BULK_CHUNK]}
            profiles.accepted |= _import(client, waits, chunk, properties=wanted)
        remaining = {key: holder for key, holder in holders.items() if key not in profiles.accepted}

    def upsert(key: str) -> Profile | None:
        """Return the profile; ``None``: Klaviyo refuses the address."""
        try:
            return client.upsert_profile(remaining[key].spelled, wanted[key])
        except NotFound:
            raise
        except Refused as error:
            if error.pointers and not any("email" in pointer for pointer in error.pointers):
                raise  # not about the address: everybody would count as unreachable
            return None

    upserted = ask_at_once(upsert, sorted(remaining))
    profiles.accepted |= {key: profile for key, profile in upserted.items() if profile is not None}
    profiles.refused = {key: REFUSED_ADDRESS for key, profile in upserted.items() if profile is None}
    profiles.barred = _barred(client, holders)
    return profiles


def _barred(client: KlaviyoClient, holders: Mapping[str, Holder]) -> dict[str, str]:
    """Return why mailboxes are unreachable by profiles in other spellings. Nearly nobody has one, then nobody asks."""
    keys = {holder.address: key for key, holder in holders.items() if holder.former}
    former = sorted({form for holder in holders.values() for form in holder.former})
    profiles = client.find_profiles(former) if former else ()
    return {
        keys[address]: reason
        for profile in profiles
        if (reason := profile.unreachable_because) and (address := normalise_address(profile.email or "")) in keys
    }


def _import(
    client: KlaviyoClient,
    waits: WaitPolicy,
    holders: Mapping[str, Holder],
    *,
    properties: Mapping[str, Mapping[str, str]],
) -> dict[str, Profile]:
    """Return the profiles that a bulk import made. The others are tried one by one, which gives the reason.

    ``properties``: by address key.
    """
    try:
        job_id = client.bulk_import({holder.spelled: properties[key] for key, holder in holders.items()})
    except NotFound:
        raise
    except Refused:
        return {}
    if not waits.until(_BULK_PATIENCE, lambda: client.bulk_import_job(job_id).status in ("complete", "cancelled")):
        raise Unavailable("Klaviyo", "bulk import", "the job is not done yet; the next poll looks again")
    keys = {holder.address: key for key, holder in holders.items()}
    imported: dict[str, Profile] = {}

    def shows_all() -> bool:
        missing = [holders[key].spelled for key in keys.values() if key not in imported]
        for profile in client.find_profiles(missing):
            key = keys.get(normalise_address(profile.email or ""))
            if key:
                imported[key] = profile
        return len(imported) >= len(holders) - len(client.bulk_import_errors(job_id))

    waits.until(waits.visible, shows_all)
    return imported
