"""Count the people of an event who wait for something. The counts are kept until one of their rows changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pycontw_assets.authorize.guest_list import is_due
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.counting.kept import Counted, counted
from pycontw_assets.ledger.database.tables import LET_IN, GrantState
from pycontw_assets.ledger.grants import grants_without_ticket, holders_to_let_in
from pycontw_assets.ledger.guest_lists import has_space_changed
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import count_list_changes
from pycontw_assets.ledger.reporting.unreachable import refused_addresses
from pycontw_assets.pipeline.steps import invitations_to_resume, reach_of, space_ids
from pycontw_assets.records import EventPartition
from pycontw_assets.settings import Settings

_FORM = 1  # raise it with what is counted: an answer of an older version is none of today's
_PASSED = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class OpenWork:
    """People of one event who wait.

    ``entering`` are to be let in, ``leaving`` are to go, ``joining`` are to be put on the list of ticket holders or
    taken off it, ``refused`` cannot be mailed, ``newcomers`` and ``resumable`` wait for their invitation.
    ``retries`` are to be let in once that moment (seconds) has passed. ``counted``: what may be kept of it.
    """

    entering: int
    retries: Sequence[float]
    leaving: int
    joining: int
    refused: int
    newcomers: int
    resumable: int
    counted: Counted

    def entering_at(self, now: datetime) -> int:
        """Count whom the guest list waits for at this moment."""
        return self.entering + sum(datetime.fromtimestamp(retry, timezone.utc) <= now for retry in self.retries)


def open_work(partition: EventPartition, *, ledger: Ledger, settings: Settings) -> OpenWork:
    """Return the work that is open for an event. Nothing is written."""
    is_off = settings.gather_is_off
    # In another space everybody who was let in has to be let in again: the next tick records that.
    moves = not (is_off or settings.pycontw_dry_run) and has_space_changed(ledger, *space_ids(settings))
    done: tuple[GrantState, ...] = LET_IN if is_off else () if moves else ("granted",)

    def ask() -> str:
        return json.dumps(_count(partition, done, ledger=ledger, settings=settings))

    ways = (reach_of(settings), f"guest list off: {is_off}", f"mail off: {settings.mail_is_off}")
    answer = counted(ledger, f"open work {_FORM} of {partition.key}: let in {done}, {ways}", ask)
    return OpenWork(**json.loads(answer.answer), counted=answer)


def _count(
    partition: EventPartition, done: tuple[GrantState, ...], *, ledger: Ledger, settings: Settings
) -> dict[str, Any]:
    """Return the counts of ``OpenWork``, by name."""
    key, edition, is_off = partition.key, partition.edition, settings.gather_is_off
    outside = holders_to_let_in(ledger, key, edition, done).values()
    # Among those who are not done, "granted" are only those who are on another guest list.
    entering = sum(is_due(grant, _PASSED) or (grant is not None and grant.state == "granted") for grant in outside)
    leaving = [
        grant
        for grant in grants_without_ticket(ledger, edition).values()
        if grant.partition_key == key and (not is_off or grant.state == "assumed")
    ]
    return dict(  # noqa: C408 - as the fields are spelled
        entering=entering,
        retries=[
            grant.retry_at.timestamp()
            for grant in outside
            if grant is not None and grant.retry_at is not None and grant.state == "intended"
        ],
        leaving=len(leaving),
        joining=count_list_changes(ledger, key),
        refused=0 if settings.mail_is_off else len(refused_addresses(ledger, edition, key)),
        newcomers=len(find_newcomers(ledger, key, edition)),
        resumable=len(invitations_to_resume(ledger, partition, settings)),
    )
