"""Every attempt leaves word of how it went, and who is to be told is told: one place for failures and alarms."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from dagster import DagsterInstance, Failure
from sqlalchemy.exc import SQLAlchemyError

from pycontw_assets.alerts.problems import alerts_of, by_cause, message, sent_with
from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.engine import LedgerError
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.problems import open_problems, record_failure, record_findings, record_sent, sent_alerts
from pycontw_assets.load.warehouse import WarehouseError
from pycontw_assets.pipeline.checks import unmatched
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.observe import Tick, observe
from pycontw_assets.pipeline.reconcile import pause_after, pause_base
from pycontw_assets.pipeline.redaction import as_failure, explain, guarded
from pycontw_assets.vault.vault import VaultError

_POLL = "poll"


@contextmanager
def record_failures(services: Services, partition_key: str, subject: str) -> Iterator[list[str]]:
    """Findings put into the list are recorded; what is raised is recorded and reaches Dagster with a safe text only.

    The failed run also shows what kind of error it was and when the sensor asks again.
    """
    findings: list[str] = []
    with guarded():
        try:
            yield findings
        except Exception as error:
            _record_failure(services, partition_key, subject, error)
            if isinstance(error, Failure):
                raise
            raise as_failure(error, **_outlook(services, partition_key, subject, error)) from None
        record_findings(services.ledger, partition_key, subject, by_cause(subject, findings))


@contextmanager
def best_effort(services: Services, subject: str) -> Iterator[list[str]]:
    """Do the same for work that must not fail a tick. A failure that lasts becomes an alarm."""
    with suppress(Failure), record_failures(services, "", subject) as findings:
        yield findings


def observe_and_record(services: Services, instance: DagsterInstance) -> Tick:
    """``observe``, with word of how it went; when it fails, people are told at once, since no poll follows."""
    try:
        tick = observe(services, instance)
    except Exception as error:
        _record_failure(services, "", _POLL, error)
        with suppress(SQLAlchemyError, LedgerError):
            send_alerts(services, [partition.key for partition in known_events(services.ledger).values()])
        raise
    findings = [*tick.problems, *tick.warnings, *unmatched(tick.discovery)]
    record_findings(services.ledger, "", _POLL, by_cause(_POLL, findings))
    return tick


def send_alerts(services: Services, known_keys: Collection[str]) -> None:
    """Send what is new about the open problems; what could not be sent is news again next time."""
    ledger, now = services.ledger, services.clock()
    news = message(alerts_of(open_problems(ledger), known_keys), sent_alerts(ledger), now)
    if news and services.messenger.send(f"pycontw-assets: {news.title}", news.body):
        record_sent(ledger, sent_with(news, now), news.over)


def _record_failure(services: Services, partition_key: str, subject: str, error: BaseException) -> None:
    """A ledger that is itself the trouble cannot take it down; the run fails visibly all the same."""
    with suppress(SQLAlchemyError, LedgerError):
        cause = _cause(error) or subject
        record_failure(services.ledger, partition_key, subject, cause=cause, text=explain(error))


def _outlook(services: Services, partition_key: str, subject: str, error: BaseException) -> dict[str, str]:
    """For whoever looks at the failed run. Never too late: other assets of the event may have failed before it."""
    failures = 1
    with suppress(SQLAlchemyError, LedgerError):
        problems = [
            p for p in open_problems(services.ledger) if (p.partition_key, p.subject) == (partition_key, subject)
        ]
        failures = sum(problem.times for problem in problems if problem.is_failure)
    pause = pause_after(failures, pause_base(services.settings.poll_interval_seconds))
    when = f"{services.clock() + pause:%Y-%m-%d %H:%M:%S} UTC"
    return {"error_kind": type(error).__name__, "next_attempt": f"by itself, with the first poll after {when}"}


def _cause(error: BaseException) -> str | None:
    """What is down, when the error knows: then it is one trouble, whichever assets met it."""
    if isinstance(error, ServiceError):
        return error.service
    stores = {WarehouseError: "the warehouse", VaultError: "the vault", LedgerError: "the ledger"}
    return next((name for kind, name in stores.items() if isinstance(error, kind)), None)
