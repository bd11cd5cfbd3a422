"""Every setting looked at and every service reached, reading only. One finding per matter, each with the fix.

All checks run, whatever the others find; what cannot be told without writing is said, not tried.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import requests
from dagster import AssetKey, DagsterInstance

from pycontw_assets.api.client import Misconfigured, ServiceError
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.events import discover
from pycontw_assets.ledger.database.migrations import SCHEMA_VERSION
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.dry_run import dry_run_copy
from pycontw_assets.pipeline.expiry import MOVE_UP, REVISION_ENDS, expiring
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.pipeline.retention import expired
from pycontw_assets.send_email.invitation.template import check_video_url
from pycontw_assets.send_email.klaviyo_client import REVISION

Level = Literal["ok", "warn", "FAIL"]

_SKEW_TOLERATED = timedelta(seconds=60)
_ROOM_WANTED, _ROOM_NEEDED = 2_000_000_000, 200_000_000  # bytes
_LATE_POLLS, _DEAD_POLLS = 3, 12
_NOBODY = "nobody@example.org"
_SENSOR, _DAEMONS = "kktix_orders_sensor", ("SENSOR", "QUEUED_RUN_COORDINATOR")
_DAEMON_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    name: str
    what: str
    fix: str = ""


Check = Callable[[Services], Iterator[Finding]]


def examine(services: Services) -> Iterator[Finding]:
    """Every check, one after the other; a check that breaks is a finding itself."""
    for name, check in CHECKS.items():
        try:
            yield from check(services)
        except Exception as error:  # noqa: BLE001  # the boundary: one broken check must not hide the others
            yield Finding("FAIL", name, explain(error), _fix_of(error))


def _fix_of(error: Exception) -> str:
    if isinstance(error, Misconfigured):
        return f"check the URL and the key of {error.service}"
    if isinstance(error, ServiceError):
        return f"try again; if it lasts, ask {error.service}. Polls go on by themselves when it answers"
    return ""


# -- settings ---------------------------------------------------------------------------------------


def _secrets(services: Services) -> Iterator[Finding]:
    settings = services.settings
    is_production = settings.pycontw_env == "production"
    yield Finding("ok", "environment", settings.pycontw_env)
    if settings.pseudonym_key is None:
        level: Level = "warn" if is_production else "ok"
        fix = "set PSEUDONYM_KEY before the first poll; later the ledger refuses another key"
        yield Finding(level, "PSEUDONYM_KEY", "not set: plain SHA-256, phone numbers can be enumerated", fix)
    else:
        yield Finding("ok", "PSEUDONYM_KEY", "set")
    made = "not set: made once in the sandbox's home"
    yield Finding("ok", "VAULT_KEY", "set" if settings.vault_key else made)


def _telling(services: Services) -> Iterator[Finding]:
    try:
        services.messenger.check()
    except ValueError as error:
        yield Finding("FAIL", "ALERT_URLS", str(error))
    level: Level = "warn" if services.settings.pycontw_env == "production" else "ok"
    for name, value, without in (
        ("ALERT_URLS", services.settings.alert_urls, "nobody is told of failures"),
        ("HEARTBEAT_URL", services.settings.heartbeat_url, "nobody notices when polling stops altogether"),
    ):
        yield Finding("ok", name, "set") if value else Finding(level, name, f"not set: {without}", f"set {name}")
    if services.settings.pycontw_dry_run:
        yield Finding(
            "warn", "PYCONTW_DRY_RUN", "set: nobody is let in or mailed", "unset it when you have seen enough"
        )


def _mail(services: Services) -> Iterator[Finding]:
    mail = services.mail("2031")
    if services.settings.pycontw_env == "production":
        check_video_url(services.settings.invitation_video_url)
    yield Finding("ok", "mail", f"the invitation can be rendered ({mail.version})")


# -- services ---------------------------------------------------------------------------------------


def _kktix(services: Services) -> Iterator[Finding]:
    with dry_run_copy(services) as copy:
        known = known_events(copy.ledger)
    listing = services.kktix.list_events()
    found = discover(listing.events, known=known, mapped=services.mapped_events(), edition=services.settings.edition)
    if not found.partitions:
        fix = "wait for the events to be listed, or set EDITION or KKTIX_EVENTS"
        yield Finding("warn", "KKTIX", f"{len(listing.events)} events listed, none of ours", fix)
    else:
        yield Finding("ok", "KKTIX", f"edition {found.edition}: {len(found.partitions)} events")
    for event in found.unmatched:
        if event.is_undecided:
            yield Finding("warn", "KKTIX", f"event {event.event_id}: {event.reason}", "map it in KKTIX_EVENTS")
    for warning in listing.warnings:
        yield Finding("warn", "KKTIX", warning)
    for partition in found.partitions:
        if not services.kktix.read_book_ids(partition.event_id):
            fix = "make an attendance book in KKTIX"
            yield Finding("FAIL", "KKTIX", f"{partition.key} has no attendance book", fix)


def _clock(services: Services) -> Iterator[Finding]:
    parts = urlsplit(services.settings.kktix_api_url)
    answer = requests.head(f"{parts.scheme}://{parts.netloc}/", timeout=(5, 15), allow_redirects=False)
    date = answer.headers.get("Date")
    if date is None:
        yield Finding("warn", "clock", "KKTIX sent no date to compare with")
        return
    skew = abs(datetime.now(timezone.utc) - parsedate_to_datetime(date))
    if skew > _SKEW_TOLERATED:
        yield Finding(
            "FAIL", "clock", f"{skew.total_seconds():.0f} s away from KKTIX's", "switch on time synchronisation"
        )
    else:
        yield Finding("ok", "clock", f"within {_SKEW_TOLERATED.total_seconds():.0f} s of KKTIX's")


def _gather(services: Services) -> Iterator[Finding]:
    try:
        _ = services.gather
    except ValueError as error:
        yield Finding("FAIL", "GATHER_SPACE_ID", str(error))
        return
    if services.gather is None:
        yield Finding("ok", "Gather", "switched off: everybody with a ticket counts as let in")
        return
    guests = services.gather.read()
    if guests.entries:
        yield Finding("ok", "Gather", f"{len(guests.entries)} guests. Whether the key may write is not tried")
    else:
        yield Finding("warn", "Gather", "the guest list is empty", "fine before the first sale; otherwise look there")


def _klaviyo(services: Services) -> Iterator[Finding]:
    client = services.klaviyo
    if client.is_test_account() and services.settings.pycontw_env == "production":
        yield Finding("warn", "Klaviyo", "the key is one of a test account", "make one in the real account")
    else:
        yield Finding("ok", "Klaviyo", "the account answers")
    reads: dict[str, Callable[[], object]] = {
        "lists": lambda: client.find_lists("pycontw-doctor"),
        "profiles": lambda: client.find_profiles([_NOBODY]),
        "templates": lambda: client.find_templates("pycontw-doctor"),
        "campaigns": lambda: client.find_campaigns("pycontw-doctor"),
    }
    for scope, read in reads.items():
        try:
            read()
        except Misconfigured as error:
            fix = f"give the key the scopes {scope}:read and {scope}:write"
            yield Finding("FAIL", f"Klaviyo {scope}", error.reason, fix)
        except ServiceError as error:
            yield Finding("FAIL", f"Klaviyo {scope}", error.reason, _fix_of(error))
        else:
            yield Finding("ok", f"Klaviyo {scope}", "may be read. Whether they may be written is not tried")


def _revision(services: Services) -> Iterator[Finding]:
    what = f"revision {REVISION} is supported until about {REVISION_ENDS:%Y-%m-%d}"
    if not list(expiring(services.clock())):
        yield Finding("ok", "Klaviyo revision", what)
    else:
        level: Level = "warn" if services.clock() < REVISION_ENDS else "FAIL"
        yield Finding(level, "Klaviyo revision", what, MOVE_UP)


# -- stores -----------------------------------------------------------------------------------------


def _ledger(services: Services) -> Iterator[Finding]:
    with dry_run_copy(services) as copy:
        events = known_events(copy.ledger)
    written = f"schema {SCHEMA_VERSION}, its pseudonym key is the one set, {len(events)} events known"
    yield Finding("ok", "ledger", written if events else "nothing in it yet: the first poll begins it")


def _vault(services: Services) -> Iterator[Finding]:
    with dry_run_copy(services) as copy:
        polled = [p.key for p in known_events(copy.ledger).values() if last_poll(copy.ledger, p.key)]
        snapshots = {key: copy.vault.read(key) for key in polled}
        overdue = [partition.key for partition in expired(copy)]
    if overdue:
        what = f"the orders of {', '.join(overdue)} are older than RETENTION_DAYS"
        yield Finding("warn", "vault", what, "the next poll removes them, unless KKTIX still lists the event")
    lost = [key for key, snapshot in snapshots.items() if snapshot is None]
    if lost:
        fix = "restore the folder or bucket of VAULT_URL; otherwise the next poll reads everybody anew"
        yield Finding("FAIL", "vault", f"the orders of {', '.join(lost)} are gone", fix)
    else:
        yield Finding("ok", "vault", f"the orders of {len(snapshots)} events can be read")


def _warehouse(services: Services) -> Iterator[Finding]:
    settings = services.settings
    if settings.warehouse == "duckdb" and not settings.duckdb_file.exists():
        yield Finding("ok", "warehouse", "duckdb, no file yet: the first poll makes it")
        return
    tables = attendee_tables(load_policy().columns)
    for table in tables.values():
        services.warehouse.partition_rows(table, "none")
    yield Finding("ok", "warehouse", f"{settings.warehouse} answers about {len(tables)} tables")


def _disk(services: Services) -> Iterator[Finding]:
    folder = next(path for path in (services.settings.home, *services.settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    what = f"{free / 1e9:.1f} GB free under {services.settings.home}"
    if free > _ROOM_WANTED:
        yield Finding("ok", "disk", what)
    else:
        yield Finding("warn" if free > _ROOM_NEEDED else "FAIL", "disk", what, "make room, or move PYCONTW_HOME")


# -- Dagster ----------------------------------------------------------------------------------------


def _dagster(services: Services) -> Iterator[Finding]:
    folder = services.settings.dagster_folder
    if not (folder / "dagster.yaml").exists():
        yield Finding("warn", "Dagster", "no instance yet", "the first `pycontw-assets poll` or `dev` makes it")
        return
    with DagsterInstance.from_config(str(folder)) as instance:
        yield from instance_findings(services, instance)


def instance_findings(services: Services, instance: DagsterInstance) -> Iterator[Finding]:
    states = instance.all_instigator_state() if instance.schedule_storage else ()
    if any(state.instigator_name == _SENSOR and state.status.value == "STOPPED" for state in states):
        fix = "switch kktix_orders_sensor on in the UI, unless you poll from cron"
        yield Finding("warn", "sensor", "kktix_orders_sensor is switched off", fix)
    else:
        yield Finding("ok", "sensor", "kktix_orders_sensor is not switched off")
    yield _last_tick(services, instance)
    yield _daemon(instance)


def _last_tick(services: Services, instance: DagsterInstance) -> Finding:
    """Sensor and ``poll`` leave the same mark on the shop."""
    seen = instance.get_latest_materialization_event(AssetKey("kktix"))
    if seen is None:
        return Finding("warn", "last tick", "never", "run `pycontw-assets poll`, or start the daemon")
    age = datetime.now(timezone.utc).timestamp() - seen.timestamp
    interval = services.settings.poll_interval_seconds
    what = f"{age / 60:.0f} min ago, every {interval / 60:.0f} min wanted"
    if age <= _LATE_POLLS * interval:
        return Finding("ok", "last tick", what)
    fix = "is KKTIX up? Does the daemon (or cron) run? Its log says why it does not tick"
    return Finding("warn" if age <= _DEAD_POLLS * interval else "FAIL", "last tick", what, fix)


def _daemon(instance: DagsterInstance) -> Finding:
    beats = instance.get_daemon_heartbeats()
    if not beats:
        return Finding("ok", "daemon", "never ran here: polls come from cron")
    oldest = min((beats[name].timestamp if name in beats else 0.0) for name in _DAEMONS)
    if datetime.now(timezone.utc).timestamp() - oldest > _DAEMON_PATIENCE.total_seconds():
        return Finding("warn", "daemon", "has not been heard for minutes", "start dagster-daemon, unless cron polls")
    return Finding("ok", "daemon", "alive")


CHECKS: dict[str, Check] = {
    "settings": _secrets,
    "alarms": _telling,
    "mail": _mail,
    "KKTIX": _kktix,
    "clock": _clock,
    "Gather": _gather,
    "Klaviyo": _klaviyo,
    "Klaviyo revision": _revision,
    "ledger": _ledger,
    "vault": _vault,
    "warehouse": _warehouse,
    "disk": _disk,
    "Dagster": _dagster,
}
