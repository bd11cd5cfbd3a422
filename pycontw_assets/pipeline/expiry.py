"""What stops working on a day that is known before. No key of KKTIX, Gather or Klaviyo tells its end; a refusal does.

Klaviyo supports a revision of its interface for about two years from its date.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from pycontw_assets.send_email.klaviyo_client import REVISION

_SUPPORTED_FOR = timedelta(days=730)
_MOVE_UP_BEFORE = timedelta(days=180)

REVISION_ENDS = datetime.fromisoformat(REVISION).replace(tzinfo=timezone.utc) + _SUPPORTED_FOR
MOVE_UP = "a developer has to move the client to a newer revision"


def expiring(now: datetime) -> Iterator[str]:
    left = REVISION_ENDS - now
    if left <= timedelta(0):
        yield f"Klaviyo revision {REVISION} has not been supported since about {REVISION_ENDS:%Y-%m-%d}: {MOVE_UP}"
    elif left <= _MOVE_UP_BEFORE:
        yield f"Klaviyo revision {REVISION} is supported until about {REVISION_ENDS:%Y-%m-%d} only: {MOVE_UP}"
