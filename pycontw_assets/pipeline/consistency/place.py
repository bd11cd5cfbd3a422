"""The place that the settings name, to compare with the one that a ledger belongs to."""

from __future__ import annotations

from urllib.parse import urlsplit

from pycontw_assets.authorize.spaces import split_spaces
from pycontw_assets.ledger.consistency.place import Place, check_place
from pycontw_assets.ledger.guest_lists import guest_list_state, has_space_changed
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.settings import OFF, Settings


def checked_place(ledger: Ledger, settings: Settings, *, accepts_account: bool = False) -> Place:
    """Return the place of the settings; ``LedgerError`` where the ledger belongs to another one. Writes nothing.

    ``accepts_account``: the override for services that moved.
    """
    place = _place_of(settings, ledger)
    check_place(ledger, place, accepts_services=accepts_account)
    return place


def _place_of(settings: Settings, ledger: Ledger) -> Place:
    if settings.pycontw_env == "sandbox":
        return Place("sandbox", looks_used_here=_looks_like_a_sandbox(settings, ledger))
    services = {"KKTIX_API_URL": settings.kktix_api_url, "KLAVIYO_API_URL": settings.klaviyo_api_url}
    return Place(settings.pycontw_env, {name: _address(url) for name, url in services.items() if url != OFF})


def _looks_like_a_sandbox(settings: Settings, ledger: Ledger) -> bool:
    """Say whether the last poll let people into this sandbox's space. Without any, its own vault key is the sign."""
    if guest_list_state(ledger).space_digest is not None:
        return not has_space_changed(ledger, *(space.space_id for space in split_spaces(settings.gather_space_id)))
    return settings.sandbox_key_file.exists()


def _address(url: str) -> str:
    """Return host and path of a URL. Users, passwords and queries are no part of what a service is."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2].lower()}{parts.path}"
