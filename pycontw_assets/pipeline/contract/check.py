"""Walk all services, and return the report with a verdict for each statement. The order of a check is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.pipeline.contract.endpoints import GATHER, KKTIX, KLAVIYO, SERVICES
from pycontw_assets.pipeline.contract.exchanges import Exchange, Recorder
from pycontw_assets.pipeline.contract.judge import ASKED, judge_all
from pycontw_assets.pipeline.contract.report import describe
from pycontw_assets.pipeline.contract.statements import STATEMENTS
from pycontw_assets.pipeline.contract.walk import MOST_SECONDS, walk_gather, walk_kktix
from pycontw_assets.pipeline.contract.walk_klaviyo import KlaviyoWalk
from pycontw_assets.pipeline.steps import discover_events
from pycontw_assets.records import Event
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import InvalidSettings, Settings

OFF = "switched off"
_NO_SUCCESS = "no answer that succeeded"


def walk_all(
    recorder: Recorder,
    *,
    kktix: KktixClient,
    gather: GatherClient | None,
    klaviyo: KlaviyoClient | None,
    choose: Callable[[Sequence[Event]], Iterable[int]],
    now: datetime,
    limit: TimeLimit | None = None,
) -> None:
    """Ask all services that are switched on, within the limit. What does not answer is recorded as such."""
    with limit or TimeLimit(MOST_SECONDS):
        walk_kktix(kktix, recorder, choose)
        if gather is not None:
            walk_gather(gather, recorder)
        if klaviyo is not None:
            KlaviyoWalk(klaviyo, recorder, now).run()


def report_of(exchanges: Sequence[Exchange], *, switched_off: Iterable[str] = ()) -> dict[str, Any]:
    """Return the whole report of a walk, verdicts included."""
    successes = {exchange.endpoint.partition(" ")[0] for exchange in exchanges if exchange.is_success}
    off = set(switched_off)
    asked = {service: OFF if service in off else ASKED if service in successes else _NO_SUCCESS for service in SERVICES}
    report = describe(exchanges, asked)
    verdicts = judge_all(report, STATEMENTS)
    counts = Counter(row["verdict"] for row in verdicts)
    return {**report, "verdict counts": dict(sorted(counts.items())), "verdicts": verdicts}


def unanswered(report: dict[str, Any]) -> list[str]:
    """Return the services that are switched on and gave no answer that succeeded."""
    return [service for service, state in report["services"].items() if state == _NO_SUCCESS]


def switched_off(settings: Settings) -> list[str]:
    """Return the services that this installation does not use."""
    is_off = {GATHER: settings.gather_is_off, KLAVIYO: settings.mail_is_off, KKTIX: False}
    return [service for service, off in is_off.items() if off]


def events_to_read(settings: Settings) -> Callable[[Sequence[Event]], list[int]]:
    """Return the choice of events: those of the conference, as a poll would find them. Others are nobody's business."""

    def choose(listed: Sequence[Event]) -> list[int]:
        try:
            return [partition.event_id for partition in discover_events(listed, {}, settings).partitions]
        except InvalidSettings:
            return []

    return choose
