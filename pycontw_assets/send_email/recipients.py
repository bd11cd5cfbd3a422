"""The recipients of a campaign: Klaviyo's report says how many there are, the events of each profile say who.

Both may be late, so one proves the other. In doubt nobody is said to have got no mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pycontw_assets.api.at_once import ask_at_once
from pycontw_assets.api.client import Malformed, ServiceError
from pycontw_assets.ledger.batches import Batch, Invitation, invitations_in
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.ledger.reporting.recipients import SentBatch, note_measuring, record_recipients, sent_batches
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient, Timeframe
from pycontw_assets.send_email.klaviyo_records import UNMAILED_ENDS, ProfileEvent
from pycontw_assets.send_email.wait_policy import WaitPolicy

_UNDELIVERED = frozenset({"Bounced Email", "Dropped Email"})
_MARGIN = timedelta(days=1)  # between Klaviyo's clock and ours
_MONTH = timedelta(days=29)
_APART = timedelta(hours=1)  # two reports: Klaviyo allows 225 a day
_SETTLED = timedelta(hours=6)  # until a report is believed that no events prove
_OVERDUE = timedelta(days=1)
_REPORTED_FOR = timedelta(days=7)
_REPORTED_WITHIN = timedelta(hours=1)  # of the end. Assumed: the reference does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """The people of a batch, by address key, whose mail left.

    ``reported``: how many Klaviyo's report counts; ``None``: it does not show the campaign. ``unasked``: people who may
    have got the mail and have no profile to ask about.
    """

    received: frozenset[str] = frozenset()
    bounced: frozenset[str] = frozenset()
    reported: int | None = None
    unasked: int = 0


def is_unmailed_end(remote_status: str | None) -> bool:
    """Whether a campaign with this status certainly ended before its first mail."""
    return remote_status in UNMAILED_ENDS


def describe_end(remote_status: str | None) -> str:
    """Return what the end of a campaign that was not sent means for its people, in the words of every view."""
    if is_unmailed_end(remote_status):
        return "its people got no mail"
    return "some of its people may have got the mail"


def read_recipients(client: KlaviyoClient, batch: Batch, people: Sequence[Invitation], now: datetime) -> Recipients:
    """Ask Klaviyo who of the batch got its mail. Everybody is asked about, also people marked as invited."""
    metrics = client.metrics()
    timeframe: Timeframe = "last_30_days" if now - batch.created_at < _MONTH else "last_365_days"
    ids = [batch.campaign_id] if batch.campaign_id else []
    reported = client.count_recipients(ids, metric_id=any_metric(metrics), timeframe=timeframe)
    received, bounced = _ask_about(people, batch, metrics, client=client, now=now)
    return Recipients(
        received=received,
        bounced=bounced,
        reported=reported.get(batch.campaign_id or ""),
        unasked=sum(_may_be_mailed(person, batch) for person in people if not person.profile_id),
    )


def any_metric(metrics: Mapping[str, str]) -> str:
    """Return the id of any metric (id -> name): a report needs one, for conversions that nobody looks at."""
    if not metrics:
        raise Malformed("Klaviyo", "read metrics", "the answer names no metric")
    return min(metrics)


def _ask_about(
    people: Sequence[Invitation], batch: Batch, metrics: Mapping[str, str], *, client: KlaviyoClient, now: datetime
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the people of whom events say that they got the mail, and those whose mail came back."""
    since = min(batch.created_at, now) - _MARGIN
    undelivered = {metric_id for metric_id, name in metrics.items() if name in _UNDELIVERED}
    asked = {person.address_key: person.profile_id for person in people if person.profile_id}

    def metrics_about(profile_id: str) -> set[str | None]:
        """Return the metrics of the events that name the campaign."""
        return {event.metric_id for event in client.profile_events(profile_id, since) if is_about(event, batch)}

    about = ask_at_once(lambda key: metrics_about(asked[key]), asked)
    mailed = frozenset(key for key, seen in about.items() if seen)
    received = frozenset(key for key in mailed if about[key] - undelivered)
    return received, mailed - received


def read_recipients_twice(
    client: KlaviyoClient, waits: WaitPolicy, batch: Batch, people: Sequence[Invitation], *, now: datetime
) -> tuple[Recipients, Recipients]:
    """Return two readings a while apart. Mails that left at the last moment show in the second."""
    first = read_recipients(client, batch, people, now)
    waits.sleep(waits.draft_apart)
    return first, read_recipients(client, batch, people, now)


def doubt_about(
    batch: Batch, remote_status: str | None, readings: tuple[Recipients, Recipients], now: datetime
) -> str | None:
    """Return why the readings do not prove who got no mail; ``None``: they do. ``remote_status``: ``None`` if gone."""
    first, second = readings
    named = len(second.received | second.bounced)
    if first != second:
        return "what Klaviyo says of it still changes; run this again in ten minutes"
    if second.unasked:
        return f"{second.unasked} of its people have no profile that Klaviyo could be asked about"
    if second.reported is None and remote_status is None:
        return "Klaviyo does not know its campaign any more"
    if second.reported is None and now - (batch.ended_at or now) < _REPORTED_WITHIN:
        return "Klaviyo's report does not show its campaign yet; run this again in an hour"
    if named != (second.reported or 0):
        counted = "does not show it" if second.reported is None else f"counts {second.reported} recipients"
        return (
            f"Klaviyo's report {counted}, and the events of its people name {named}. One of them may be late; run "
            "this again in an hour"
        )
    return None


def _may_be_mailed(person: Invitation, batch: Batch) -> bool:
    """Whether the person was still in the batch when its campaign ended."""
    return person.state in ("claimed", "accepted") or person.reason == batch.remote_status


def is_about(event: ProfileEvent, batch: Batch) -> bool:
    """Whether an event names the campaign: by its id, by its message's id, or by its name, which has the batch key."""
    ids = {batch.campaign_id, batch.message_id}
    return any(text in ids or text.endswith(f"-{batch.batch_key}") for text in event.texts)


# -- campaigns that were sent -------------------------------------------------------------------------


def compare_recipients(*, klaviyo: KlaviyoClient, ledger: Ledger, most_asked: int = 200) -> Iterator[str]:
    """Compare sent campaigns with Klaviyo's report, at most once an hour, and yield every shortfall.

    ``most_asked``: people of one campaign that are asked about. To ask about more takes longer than a tick may.
    """
    now = ledger.clock()
    sent = sent_batches(ledger, now - _REPORTED_FOR)
    due = [item for item in sent if _is_unmeasured(item.batch, now)]
    asked = [item.batch.measured_at for item in sent if item.batch.measured_at]
    is_down = any(problem.cause == "Klaviyo" for problem in open_problems(ledger))
    if due and not is_down and not any(now - moment < _APART for moment in asked):
        note_measuring(ledger, [item.batch.batch_key for item in due])
        with suppress(ServiceError):  # the next hour asks again; what stays unknown is reported below
            _measure(due, klaviyo=klaviyo, ledger=ledger, most_asked=most_asked, now=now)
        sent = sent_batches(ledger, now - _REPORTED_FOR)
    yield from (_shortfall(item, most_asked) for item in sent if _is_short(item))
    late = [item for item in sent if _is_unmeasured(item.batch, now) and _age(item.batch, now) >= _OVERDUE]
    unknown = [item for item in late if item.batch.measured_at]
    if unknown:
        yield (
            f"{len(unknown)} sent campaigns could not be compared with Klaviyo's report within a day; look at "
            f"{unknown[-1].batch.campaign_name} there. Does the key have metrics:read and events:read?"
        )


def _measure(
    due: Sequence[SentBatch], *, klaviyo: KlaviyoClient, ledger: Ledger, most_asked: int, now: datetime
) -> None:
    metrics = klaviyo.metrics()
    ids = [item.batch.campaign_id or "" for item in due]
    # In a tick a 429 costs the comparison only: the calls that invite people go on.
    counts = klaviyo.count_recipients(ids, metric_id=any_metric(metrics), waits_out_429=False)
    for item in due:
        batch, count = item.batch, counts.get(item.batch.campaign_id or "")
        if count is None:
            continue
        if count >= item.people:
            record_recipients(ledger, batch.batch_key, count)
            continue
        if item.people > most_asked:
            if _age(batch, now) >= _SETTLED:
                record_recipients(ledger, batch.batch_key, count)
            continue
        people = [person for person in invitations_in(ledger, batch.batch_key) if person.state == "accepted"]
        received, bounced = _ask_about(people, batch, metrics, client=klaviyo, now=now)
        mailed = received | bounced
        if len(mailed) == count:  # otherwise one of the two is late
            left_out = {person.address_key for person in people} - mailed
            record_recipients(ledger, batch.batch_key, len(mailed), left_out)


def _is_unmeasured(batch: Batch, now: datetime) -> bool:
    return batch.recipients is None and _age(batch, now) >= _REPORTED_WITHIN


def _age(batch: Batch, now: datetime) -> timedelta:
    return now - (batch.ended_at or now)


def _is_short(item: SentBatch) -> bool:
    return item.batch.recipients is not None and item.batch.recipients < item.people


def _shortfall(item: SentBatch, most_asked: int) -> str:
    batch = item.batch
    who = "see there who was left out" if item.people > most_asked else "the others are listed as unreachable"
    return f"campaign {batch.campaign_name} reached {batch.recipients} of {item.people} people, says Klaviyo; {who}"
