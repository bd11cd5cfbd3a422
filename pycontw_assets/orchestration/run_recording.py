"""How ticks and runs are recorded: ticks observe, then write; a run's failure reaches Dagster with a safe text only.

A run is known to be at work by its lock, which lasts from its first step to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from dagster import DagsterInstance, Failure
from sqlalchemy.exc import SQLAlchemyError

from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.stopping import Stop
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.ledger.polls import refuse_while_paused
from pycontw_assets.ledger.reporting.problems import open_problems
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.run_history import fail_dead_runs, read_run_history
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.pipeline.polling import tick
from pycontw_assets.pipeline.reconcile import pause_after, pause_base
from pycontw_assets.pipeline.record import record_attempt
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.records import is_import_key
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault


class RunLock:
    """The lock of one run on its event. It outlives Dagster's word about the run, and not its process.

    It is renewed while the process lives, and dropped after the last step.
    """

    def __init__(self, run_id: str, *, ledger: Ledger, waits: WaitPolicy, gate: Callable[[], None]) -> None:
        self._run_id = run_id
        self._ledger = ledger
        self._waits = waits
        self._gate = gate
        self._held: set[tuple[LockName, str]] = set()
        self._until_the_end = ExitStack()

    def hold(self, name: LockName, partition_key: str = "") -> None:
        """Take the lock with the first step. No step begins after it was lost, after a signal to stop, or in a pause.

        Polls may have been paused while this run waited in a queue, or for another one.
        """
        if (name, partition_key) not in self._held:
            held = lock(
                self._ledger,
                name,
                partition_key,
                work=self._run_id,
                wait_seconds=self._waits.lock,
                sleep=self._waits.sleep,
            )
            self._until_the_end.enter_context(held)
            self._held.add((name, partition_key))
        self._gate()
        refuse_while_paused(self._ledger)

    def drop(self) -> None:
        self._until_the_end.close()


@contextmanager
def safe_errors() -> Iterator[None]:
    """Let nothing reach Dagster with its own text, cause or context."""
    try:
        yield
    except Failure:
        raise
    except Exception as error:  # noqa: BLE001  # the boundary: whatever it is, it is made safe
        raise as_failure(error) from None
    except BaseException as interrupt:
        raise interrupt from None


def as_failure(error: BaseException, **metadata: str) -> Failure:
    """Return what Dagster may keep of an error. No retry in the same run: clients retry, and the sensor asks again."""
    return Failure(description=explain(error), metadata=metadata, allow_retries=False)


@contextmanager
def recorded_run(partition_key: str, subject: str, *, ledger: Ledger, settings: Settings) -> Iterator[list[str]]:
    """Record findings put into the list, or the failure; a failed run also shows when the sensor asks again.

    While polls are paused the run fails before anything is read, and nothing is recorded: nothing was attempted.
    """
    with safe_errors():
        refuse_while_paused(ledger)
        try:
            with record_attempt(partition_key, subject, ledger=ledger) as findings:
                yield findings
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001  # the boundary: whatever it is, it is made safe
            outlook = _outlook(partition_key, subject, error, ledger=ledger, settings=settings)
            raise as_failure(error, **outlook) from None


def observe_and_record(
    instance: DagsterInstance,
    *,
    kktix: KktixClient,
    klaviyo: KlaviyoClient | None,
    vault: Vault,
    ledger: Ledger,
    alerts: Messenger,
    settings: Settings,
    warehouse: Warehouse,
    limit: TimeLimit | None = None,
    stop: Stop | None = None,
) -> Tick:
    """Observe the world, with the run history of the instance, and write down what was seen."""
    return tick.observe_and_record(
        lambda: read_run_history(instance, ledger),
        lambda run_ids: fail_dead_runs(instance, run_ids, ledger=ledger),
        kktix=kktix,
        klaviyo=klaviyo,
        vault=vault,
        ledger=ledger,
        alerts=alerts,
        settings=settings,
        warehouse=warehouse,
        limit=limit,
        stop=stop,
    )


def _outlook(
    partition_key: str, subject: str, error: BaseException, *, ledger: Ledger, settings: Settings
) -> dict[str, str]:
    """Say when the next attempt comes. Never too late: other assets of the event may have failed before it."""
    if is_import_key(partition_key):
        return {
            "error_kind": type(error).__name__,
            "next_attempt": "when somebody starts it: no poll looks at an import",
        }
    failures = 1
    with suppress(SQLAlchemyError, LedgerError):
        same = [p for p in open_problems(ledger) if (p.partition_key, p.subject) == (partition_key, subject)]
        failures = sum(problem.times for problem in same if problem.is_failure)
    pause = pause_after(failures, pause_base(settings.poll_interval_seconds))
    when = f"{ledger.clock() + pause:%Y-%m-%d %H:%M:%S} UTC"
    return {"error_kind": type(error).__name__, "next_attempt": f"by itself, with the first poll after {when}"}
