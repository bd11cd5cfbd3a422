"""What may leave a run: an exception that Dagster stores must not carry anything about a person.

Dagster keeps exception texts, causes and contexts in its event log. Our own errors are safe by construction;
of any other only the type and the place are told.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import Failure

from pycontw_assets.api.client import ServiceError
from pycontw_assets.extract.snapshot import UntrustedBook
from pycontw_assets.ledger.engine import LedgerError
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.pipeline.composition import UnknownPartition
from pycontw_assets.send_email.template import InvitationError
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import VaultError

SAFE_ERRORS = (
    ServiceError,
    UntrustedBook,
    Busy,
    LedgerError,
    WarehouseError,
    InvalidSettings,
    InvitationError,
    VaultError,
    UnknownPartition,
)

_PACKAGE = Path(__file__).parents[1]


def explain(error: BaseException) -> str:
    """A text that is safe to store and show."""
    if isinstance(error, SAFE_ERRORS):
        return str(error)
    return f"unexpected {type(error).__name__} in {_place(error)}; its text is withheld because it may name a person"


def _place(error: BaseException) -> str:
    """Where to look: the innermost line of ours. Names of files and functions are ours too, unlike what they held."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno} ({ours[-1].name})" if ours else "?"


@contextmanager
def guarded() -> Iterator[None]:
    """Nothing raised inside reaches Dagster with its own text, cause or context."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001  # the boundary: whatever it is, it is made safe
        raise as_failure(error) from None


def as_failure(error: BaseException, **told: str) -> Failure:
    """What Dagster may keep of an error. No retry in the same run: clients had theirs, and the sensor asks again."""
    return Failure(description=explain(error), metadata=told, allow_retries=False)
