"""Refuse to work for one organiser with the keys of another. Nothing of it costs a request while the keys stay.

KKTIX has no account to ask for, so its events say whose they are. Klaviyo is asked once for each new key.
"""

from __future__ import annotations

from collections.abc import Collection

from pycontw_assets.api.outlets import shorten
from pycontw_assets.ledger.consistency.accounts import (
    KKTIX_TOKEN,
    KLAVIYO_ACCOUNT,
    KLAVIYO_KEY,
    fingerprint,
    record_accounts,
    recorded_accounts,
)
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import Settings

_WAY_OUT = "Set the old key again. If it is right, run `pycontw-assets poll --allow account`"


def kktix_token(listed: Collection[int], *, ledger: Ledger, settings: Settings) -> str | None:
    """Return the fingerprint of KKTIX's token where it is to be recorded; ``None``: it is, or this is a sandbox.

    Raise ``LedgerError`` where the token is another one and lists none of the events that the ledger knows: it is the
    token of another organisation, whose buyers must not be let in.
    """
    if settings.pycontw_env == "sandbox":
        return None
    token, recorded = fingerprint(settings.kktix_api_token.get_secret_value()), recorded_accounts(ledger)
    if recorded.get(KKTIX_TOKEN) == token:
        return None
    known = known_events(ledger).keys()
    if KKTIX_TOKEN in recorded and known and not known & set(listed):
        raise LedgerError(
            "KKTIX_API_TOKEN was changed, and KKTIX lists none of the events that the ledger knows: it may be the "
            f"token of another organisation. Nothing was changed. {_WAY_OUT}"
        )
    return token


def record_kktix_token(token: str, *, ledger: Ledger) -> None:
    record_accounts(ledger, {KKTIX_TOKEN: token})


def refuse_other_klaviyo_account(*, klaviyo: KlaviyoClient, ledger: Ledger, settings: Settings) -> None:
    """Refuse to change anything in a Klaviyo account that is not the ledger's: it would mail everybody again.

    Call it before the first change. It asks Klaviyo only where the key is a new one. Raise ``LedgerError`` for another
    account, and ``ServiceError`` when Klaviyo does not say which one it is.
    """
    if settings.pycontw_env == "sandbox":
        return
    key, recorded = fingerprint(settings.klaviyo_api_key.get_secret_value()), recorded_accounts(ledger)
    if recorded.get(KLAVIYO_KEY) == key:
        return
    account = klaviyo.account_id()
    if recorded.get(KLAVIYO_ACCOUNT, account) != account:
        raise LedgerError(
            f"KLAVIYO_API_KEY is of the account {shorten(account)}, and the ledger belongs to "
            f"{shorten(recorded[KLAVIYO_ACCOUNT])}: it would mail everybody again. Nothing was changed. {_WAY_OUT}"
        )
    record_accounts(ledger, {KLAVIYO_KEY: key, KLAVIYO_ACCOUNT: account})
