"""``doctor``: check every setting and reach every service, reading only. One line per finding, with the fix.

All checks run, whatever the others find. A check that would have to write is not tried, and the finding says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from pycontw_assets.api.client import Misconfigured, ServiceError
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import unchecked_services
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.events import discover
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import SCHEMA_VERSION
from pycontw_assets.ledger.polls import last_poll
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.pipeline.checks import Finding, Level
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.pipeline.dry_run import dry_run_copy
from pycontw_assets.pipeline.expiry import MOVE_UP, REVISION_ENDS, expiring
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.pipeline.retention import expired
from pycontw_assets.send_email.klaviyo_client import REVISION
from pycontw_assets.send_email.template import check_video_url
from pycontw_assets.settings import InvalidSettings, Settings

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}
_SKEW_TOLERATED = timedelta(seconds=60)
_ROOM_WANTED, _ROOM_NEEDED = 2_000_000_000, 200_000_000  # bytes
_NOBODY = "nobody@example.org"


def add_to(commands: Commands) -> None:
    """Register the command."""
    doctor = commands.add_parser(
        "doctor",
        help="check every setting and reach every service",
        description="Check every setting and reach every service, reading only. Print one line for each, with the fix.",
        epilog="Exit 0: nothing is broken. 1: something is broken. 2: the configuration is wrong.",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    doctor.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    findings: list[Finding] = []
    try:
        for finding in examine(unchecked_services()):
            findings.append(finding)
            if not parsed.json:
                print(describe_finding(finding), flush=True)
        failed = {finding.name for finding in findings if finding.level == "FAIL"}
        is_misconfigured = any(name.lower() in Settings.model_fields for name in failed)
        code = MISCONFIGURED if is_misconfigured else FAILED if failed else FINE
    except InvalidSettings as error:
        findings += [Finding("FAIL", *_split(line)) for line in str(error).splitlines()]
        code = MISCONFIGURED
        if not parsed.json:
            print("\n".join(map(describe_finding, findings)))
    if parsed.json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    return code


def _split(line: str) -> tuple[str, str]:
    name, _, text = line.partition(": ")
    return name, text


# -- the question ----------------------------------------------------------------------------------


Check = Callable[[Services], Iterator[Finding]]


def examine(services: Services) -> Iterator[Finding]:
    """Run every check. A check that breaks is a finding itself."""
    for name, check in CHECKS.items():
        try:
            yield from check(services)
        except Exception as error:  # noqa: BLE001  # the boundary: one broken check must not hide the others
            yield Finding("FAIL", name, explain(error), _fix_of(error))


def _fix_of(error: Exception) -> str:
    if isinstance(error, Misconfigured):
        return f"check the URL and the key of {error.service}"
    if isinstance(error, ServiceError):
        return f"try again; if it lasts, ask {error.service}. Polls go on when it answers"
    return ""


# -- settings ---------------------------------------------------------------------------------------


def _keys(services: Services) -> Iterator[Finding]:
    settings = services.settings
    is_production = settings.pycontw_env == "production"
    yield Finding("ok", "environment", settings.pycontw_env)
    if settings.pseudonym_key is None:
        level: Level = "warn" if is_production else "ok"
        fix = "set PSEUDONYM_KEY before the first poll; the ledger refuses another key later"
        yield Finding(level, "PSEUDONYM_KEY", "not set: plain SHA-256, from which phone numbers can be guessed", fix)
    else:
        yield Finding("ok", "PSEUDONYM_KEY", "set")
    made = "not set: made once in the sandbox"
    yield Finding("ok", "VAULT_KEY", "set" if settings.vault_key else made)


def _alarms(services: Services) -> Iterator[Finding]:
    try:
        services.messenger.check()
    except ValueError as error:
        yield Finding("FAIL", "ALERT_URLS", str(error))
    level: Level = "warn" if services.settings.pycontw_env == "production" else "ok"
    for name, value, without in (
        ("ALERT_URLS", services.settings.alert_urls, "nobody is alerted"),
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


# -- what is asked outside ---------------------------------------------------------------------------------------


def _kktix(services: Services) -> Iterator[Finding]:
    with dry_run_copy(services) as copy:
        known = known_events(copy.ledger)
    listing = services.kktix.list_events()
    found = discover(listing.events, known, services.mapped_events(), services.settings.edition)
    if not found.partitions:
        fix = "wait for the events to be listed, or set EDITION or KKTIX_EVENTS"
        yield Finding("warn", "KKTIX", f"{len(listing.events)} events listed, none of this project", fix)
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
        fix = "restore the folder or bucket of VAULT_URL; otherwise the next poll reads everybody again"
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
    from dagster import DagsterInstance

    from pycontw_assets.orchestration.instance import instance_findings

    with DagsterInstance.from_config(str(folder)) as instance:
        yield from instance_findings(instance, services.settings.poll_interval_seconds)


CHECKS: dict[str, Check] = {
    "settings": _keys,
    "alarms": _alarms,
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


# -- the printing ----------------------------------------------------------------------------------


def describe_finding(finding: Finding) -> str:
    """Return a finding as one line."""
    fix = f" — {finding.fix}" if finding.fix and finding.level != "ok" else ""
    return f"{paint(f'{finding.level:<4}', _COLOURS[finding.level])} {finding.name}: {finding.what}{fix}"
