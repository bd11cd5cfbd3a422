"""The text of an error that may be stored and shown: it must not carry anything about a person.

Dagster keeps exception texts in its event log, cron mails them. Errors of this package are safe by construction. Of any
other error only the type and the place are named.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from pycontw_assets.api.client import ServiceError
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.ledger.polls import Paused
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.pipeline.steps import UnknownPartition
from pycontw_assets.send_email.invitation.template import InvitationError
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import VaultError

SAFE_ERRORS = (
    ServiceError,
    UntrustedBook,
    Busy,
    Paused,
    LedgerError,
    WarehouseError,
    InvalidSettings,
    InvitationError,
    VaultError,
    UnknownPartition,
)

_PACKAGE = Path(__file__).parents[1]
_STORES = {WarehouseError: "the warehouse", VaultError: "the vault", LedgerError: "the ledger"}


def explain(error: BaseException) -> str:
    """Return a text that is safe to store and show."""
    if isinstance(error, SAFE_ERRORS):
        return str(error)
    return f"unexpected {type(error).__name__} in {_place(error)}; its text is withheld because it may name a person"


def cause_of(error: BaseException) -> str | None:
    """Name what is down, where the error knows it: then it is one problem, whichever steps met it."""
    if isinstance(error, ServiceError):
        return error.service
    return next((name for kind, name in _STORES.items() if isinstance(error, kind)), None)


def _place(error: BaseException) -> str:
    """Return the innermost line of this package. File and function names are safe, unlike the values they held."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno} ({frames[-1].name})" if frames else "?"
