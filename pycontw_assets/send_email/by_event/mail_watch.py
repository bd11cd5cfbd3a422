"""Look which mails of the flow left: an event that was accepted is no mail yet.

Klaviyo is asked about all people at once, by metric and time, at most once an hour. Nobody is mailed again by this: a
mail that is not seen is reported, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.by_event.mails import HandedOver, last_look_at_mails, record_mails, unseen_mails
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.ledger.reporting.recipients import note_measuring
from pycontw_assets.send_email.by_event.events_client import EventsClient, RecordedEvent
from pycontw_assets.send_email.by_event.flow_state import flow_state

UNSEEN_AFTER = timedelta(hours=6)
"""How long a mail may take before it counts as not seen. Assumed: a flow without a delay needs minutes."""

_APART = timedelta(hours=1)
_FIRST_LOOK_AFTER = timedelta(minutes=5)
_WATCHED_FOR = timedelta(days=14)
_MARGIN = timedelta(minutes=10)  # between Klaviyo's clock and ours


def watch_mails(*, events: EventsClient, ledger: Ledger) -> Iterator[str]:
    """Record the mails that left since the last look, and yield what a person must know of the others."""
    now = ledger.clock()
    waiting = unseen_mails(ledger, now - _WATCHED_FOR)
    if not waiting:
        return
    if _is_due(waiting, ledger, now):
        note_measuring(ledger, sorted({item.batch_key for item in waiting}))
        with suppress(ServiceError):  # the next hour asks again; what stays unseen is reported below
            _look(waiting, events=events, ledger=ledger)
        waiting = unseen_mails(ledger, now - _WATCHED_FOR)
    late = [item for item in waiting if now - item.handed_at >= UNSEEN_AFTER]
    if late:
        yield (
            f"{len(late)} invitations were handed over as events, and no mail of the flow was seen for them within "
            f"{UNSEEN_AFTER.total_seconds() / 3600:.0f} hours; look at the flow in Klaviyo: is it live, and whom does "
            "it skip?"
        )


def _is_due(waiting: Sequence[HandedOver], ledger: Ledger, now: datetime) -> bool:
    looked_at = last_look_at_mails(ledger)
    if looked_at is not None and now - looked_at < _APART:
        return False
    is_down = any(problem.cause == "Klaviyo" for problem in open_problems(ledger))
    return not is_down and now - waiting[0].handed_at >= _FIRST_LOOK_AFTER


def _look(waiting: Sequence[HandedOver], *, events: EventsClient, ledger: Ledger) -> None:
    flow = flow_state(events.metrics())
    since = waiting[0].handed_at - _MARGIN
    seen = _mails_of(waiting, _recorded(events, flow.ids_of("Received Email"), since), flow.flow_ids)
    bounced = _mails_of(waiting, _recorded(events, flow.ids_of("Bounced Email"), since), flow.flow_ids)
    record_mails(ledger, {key: at for key, at in seen.items() if key not in bounced}, bounced.keys())


def _recorded(events: EventsClient, metric_ids: Iterable[str], since: datetime) -> Iterator[RecordedEvent]:
    for metric_id in metric_ids:
        yield from events.events_of(metric_id, since=since)


def _mails_of(
    waiting: Sequence[HandedOver], recorded: Iterable[RecordedEvent], flow_ids: frozenset[str]
) -> Mapping[str, datetime]:
    """Return address key -> time of the people's events that name a flow of ours. Pure.

    The names of the properties of such events are not documented, so any value that is the flow's id counts.
    """
    of_profile: dict[str, list[HandedOver]] = {}
    for item in waiting:
        if item.profile_id:
            of_profile.setdefault(item.profile_id, []).append(item)
    mails: dict[str, datetime] = {}
    for record in recorded:
        if record.event.texts & flow_ids:
            for item in of_profile.get(record.profile_id, ()):
                if record.at >= item.handed_at - _MARGIN:
                    mails[item.address_key] = record.at
    return mails
