"""Write down what a tick saw and how attempts went. Looking at the world leaves no other trace in the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError

from pycontw_assets.alerts.problems import by_cause
from pycontw_assets.api.log import log_step
from pycontw_assets.ledger.consistency.marks import demand_reading
from pycontw_assets.ledger.counting.kept import keep_counts
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.discord.invites import switch_discord
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.guest_lists import enter_space
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.polls import (
    Paused,
    forget_loads,
    news_since,
    paused_since,
    record_news_since,
    record_stale_events,
)
from pycontw_assets.ledger.reporting import problems
from pycontw_assets.ledger.reporting.problems import open_problems, record_findings
from pycontw_assets.ledger.restoration import begin, end_doubt, record_unmailed
from pycontw_assets.pipeline.checks import long_pause
from pycontw_assets.pipeline.consistency.accounts import record_kktix_token
from pycontw_assets.pipeline.observe import Tick, switched_off
from pycontw_assets.pipeline.reconcile import table_asset
from pycontw_assets.pipeline.redaction import cause_of, explain
from pycontw_assets.pipeline.steps import space_ids
from pycontw_assets.settings import Settings

_LATE = "late events"
_PAUSE = "pause"


def record_tick(tick: Tick, *, ledger: Ledger, settings: Settings) -> None:
    """Record new events (their keys are for good), a begun edition, another space, stale events, changed tables."""
    edition = tick.discovery.edition
    log_step(
        "tick_observed",
        step="poll",
        edition=edition,
        events=len(tick.discovery.partitions),
        runs=sum(bool(decision.access) + decision.load for decision in tick.decisions.values()),
        waiting=sum(decision.next_attempt_at is not None for decision in tick.decisions.values()),
        requests=tick.requests,
        problems=len(tick.problems),
    )
    if tick.begins_edition and edition:
        begin(ledger, edition)
        demand_reading(ledger, tick.rereads)
    if tick.trusts_again and edition:
        end_doubt(ledger, edition)
    if tick.kktix_token:
        record_kktix_token(tick.kktix_token, ledger=ledger)
    register_events(ledger, tick.discovery.partitions)
    if edition and not (settings.gather_is_off or settings.pycontw_dry_run):
        enter_space(ledger, edition, *space_ids(settings))
    switch_discord(ledger, is_on=not settings.discord_is_off)
    if edition:
        record_unmailed(ledger, edition, is_off=settings.mail_is_off)
        record_stale_events(ledger, edition, tick.stale)
    _end_problems_of(switched_off(settings), tick, ledger=ledger)
    if tick.changed_tables:
        keys = [key for key, fact in tick.facts.items() if table_asset(fact.partition.family) in tick.changed_tables]
        forget_loads(ledger, keys, states=tick.changed_tables)
    if dict(tick.news_since) != news_since(ledger):
        record_news_since(ledger, tick.news_since)
    keep_counts(ledger, tick.counted)


def _end_problems_of(assets: Collection[str], tick: Tick, *, ledger: Ledger) -> None:
    """End the problems of steps that are switched off: no attempt follows that could."""
    for problem in open_problems(ledger) if assets else ():
        if problem.subject in assets and problem.partition_key in tick.facts:
            record_findings(ledger, problem.partition_key, problem.subject, {})


def record_pause(ledger: Ledger) -> None:
    """Record a pause that has become a problem, or that there is none (any more)."""
    findings = long_pause(paused_since(ledger), ledger.clock())
    record_findings(ledger, "", _PAUSE, by_cause(_PAUSE, findings))


def record_late_events(tick: Tick, *, ledger: Ledger) -> None:
    """Make an alarm of the events that no poll has taken in for long."""
    record_findings(ledger, "", _LATE, {_LATE: "\n".join(tick.late)} if tick.late else {})


@contextmanager
def record_attempt(partition_key: str, subject: str, *, ledger: Ledger) -> Iterator[list[str]]:
    """Record how the block went: the findings put into the list, or the failure, which is raised again."""
    findings: list[str] = []
    try:
        yield findings
    except Paused:
        raise  # nothing was attempted
    except Exception as error:
        log_step("attempt_failed", step="poll", partition=partition_key or None, outcome="failed")
        record_failure(partition_key, subject, error, ledger=ledger)
        raise
    record_findings(ledger, partition_key, subject, by_cause(subject, findings))


@contextmanager
def best_effort(subject: str, *, ledger: Ledger) -> Iterator[list[str]]:
    """Do the same for work that must not fail a tick. A failure that lasts becomes an alarm."""
    with suppress(Exception), record_attempt("", subject, ledger=ledger) as findings:
        yield findings


def record_failure(partition_key: str, subject: str, error: BaseException, *, ledger: Ledger) -> None:
    """Record a failed attempt. A ledger that is itself the problem fails visibly all the same."""
    with suppress(SQLAlchemyError, LedgerError):
        cause = cause_of(error) or subject
        problems.record_failure(ledger, partition_key, subject, cause=cause, text=explain(error))
