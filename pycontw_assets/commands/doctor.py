"""``doctor``: check every setting and reach every service, reading only. One line per finding, with the fix.

All checks run, whatever the others find. A check that would have to write is not tried, and the finding says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests

from pycontw_assets.alerts.messenger import Messenger, Text
from pycontw_assets.api.client import Misconfigured, ServiceError
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.rights import guild_problems
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED, Commands
from pycontw_assets.commands.instance import compose, describe_place
from pycontw_assets.commands.way_check import check_way
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.ledger.database.migrations import SCHEMA_VERSION
from pycontw_assets.ledger.events import is_purged, known_events
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.ledger.ledger import Clock, Ledger
from pycontw_assets.ledger.polls import RESUME, last_poll, paused_since
from pycontw_assets.load.ownership import refusal
from pycontw_assets.load.readers.old_reading import VIEW_NAMES
from pycontw_assets.load.schema import attendee_tables
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.pipeline.checks import Finding, Level
from pycontw_assets.pipeline.hints.report import hook_finding
from pycontw_assets.pipeline.maintenance import MOVE_UP, REVISION_ENDS, expiring
from pycontw_assets.pipeline.redaction import explain
from pycontw_assets.pipeline.retention import expired_events
from pycontw_assets.pipeline.steps import discover_events, invitation
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.invitation.template import check_video_url
from pycontw_assets.send_email.klaviyo_client import REVISION, KlaviyoClient
from pycontw_assets.settings import InvalidSettings, Settings
from pycontw_assets.vault.private_files import open_to_others
from pycontw_assets.vault.vault import OrdersStore, Vault

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}
_SKEW_TOLERATED = timedelta(seconds=60)
_ROOM_WANTED, _ROOM_NEEDED = 2_000_000_000, 200_000_000  # bytes
_NOBODY = "nobody@example.org"
_TEST = Text("pycontw-assets: test message", "This is how an alarm arrives. Nothing is wrong.")


def add_to(commands: Commands) -> None:
    """Register the command."""
    doctor = commands.add_parser(
        "doctor",
        help="check every setting and reach every service",
        description="Check every setting and reach every service, reading only. Print one line for each, with the fix. "
        "With --test-alert it sends one message to each alarm channel, with --test-event it records one event in "
        "Klaviyo that starts no flow, and nothing else.",
        epilog="Exit 0: nothing is broken. 1: something is broken. 2: the configuration is wrong.",
    )
    doctor.add_argument("--test-alert", action="store_true", help="also send a test message to every alarm channel")
    doctor.add_argument(
        "--test-event", action="store_true", help="also record the event that a flow for INVITE_VIA=event is made on"
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    doctor.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    findings: list[Finding] = []
    try:
        root = compose()
        examination = Examination(
            settings=root.settings,
            clock=root.clock,
            kktix=lambda: root.kktix,
            gather=lambda: root.gather,
            discord=lambda: root.discord,
            discord_roles=lambda: root.discord_roles,
            klaviyo=lambda: root.mail_service,
            ledger=lambda: root.ledger_to_read,
            vault=lambda: root.vault_to_read,
            warehouse=lambda: root.warehouse,
            alerts=lambda: root.alerts,
            tests_alerts=parsed.test_alert,
            records_event=parsed.test_event,
        )
        for finding in examination.findings():
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


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Every check over the systems of an installation. Each system is built by the check that needs it first.

    A system that cannot be built is a finding of that check, so it hides no other one.
    """

    settings: Settings
    clock: Clock
    kktix: Callable[[], KktixClient]
    gather: Callable[[], GatherClient | None]
    discord: Callable[[], DiscordClient | None] = lambda: None
    discord_roles: Callable[[], RoleRules | None] = lambda: None
    klaviyo: Callable[[], KlaviyoClient]
    ledger: Callable[[], Ledger]
    vault: Callable[[], OrdersStore]
    warehouse: Callable[[], Warehouse]
    alerts: Callable[[], Messenger]
    tests_alerts: bool = False
    records_event: bool = False

    def findings(self) -> Iterator[Finding]:
        """Run every check. A check that breaks is a finding itself."""
        for name, check in self._checks().items():
            try:
                yield from check()
            except Exception as error:  # noqa: BLE001  # the boundary: one broken check must not hide the others
                yield Finding("FAIL", name, explain(error), _fix_of(error))

    def _check_discord(self) -> Iterator[Finding]:
        discord, rules = self.discord(), self.discord_roles()
        if discord is None or rules is None:
            return
        findings = [Finding("FAIL", "Discord", what, fix) for what, fix in guild_problems(discord, rules.role_ids)]
        yield from findings or [Finding("ok", "Discord", "the bot sees the guild and has the rights that it needs")]

    def _checks_of_mail(self) -> dict[str, Callable[[], Iterator[Finding]]]:
        settings = self.settings
        return {
            "Klaviyo": lambda: _check_klaviyo(self.klaviyo(), is_production=settings.pycontw_env == "production"),
            "invitations": lambda: check_way(EventsClient(self.klaviyo()), settings, records_event=self.records_event),
            "Klaviyo revision": lambda: check_revision(self.clock()),
        }

    def _checks(self) -> dict[str, Callable[[], Iterator[Finding]]]:
        settings = self.settings
        return {
            "settings": lambda: _check_keys(settings),
            "alarms": lambda: _check_alarms(self.alerts(), settings),
            "alarm channels": lambda: _check_channels(self.alerts(), is_test=self.tests_alerts),
            "mail": lambda: _check_mail(settings),
            "KKTIX": lambda: _check_kktix(self.kktix(), self.ledger(), settings),
            "clock": lambda: _check_clock(settings.kktix_api_url),
            "Gather": lambda: _check_gather(self.gather),
            **({} if settings.discord_is_off else {"Discord": self._check_discord}),
            **({} if settings.mail_is_off else self._checks_of_mail()),
            "ledger": lambda: _check_ledger(self.ledger()),
            "pause": lambda: _check_pause(self.ledger()),
            "webhook": lambda: iter([hook_finding(self.ledger(), settings)]),
            "vault": lambda: _check_vault(self.vault(), self.ledger(), settings.retention_days),
            "imports": lambda: _check_imports(self.vault(), self.ledger()),
            "warehouse": lambda: _check_warehouse(self.warehouse, settings),
            "data folder": lambda: _check_modes(settings.home),
            "disk": lambda: _check_disk(settings.home),
            "Dagster": lambda: _check_dagster(settings),
        }


def _fix_of(error: Exception) -> str:
    if isinstance(error, Misconfigured):
        return f"check the URL and the key of {error.service}"
    if isinstance(error, ServiceError):
        return f"try again; if it lasts, ask {error.service}. Polls go on when it answers"
    return ""


# -- settings ---------------------------------------------------------------------------------------


def _check_keys(settings: Settings) -> Iterator[Finding]:
    is_production = settings.pycontw_env == "production"
    yield Finding("ok", "environment", describe_place(settings))
    if settings.pseudonym_key is None:
        level: Level = "warn" if is_production else "ok"
        fix = "set PSEUDONYM_KEY before the first poll; the ledger refuses another key later"
        yield Finding(level, "PSEUDONYM_KEY", "not set: plain SHA-256, from which phone numbers can be guessed", fix)
    else:
        yield Finding("ok", "PSEUDONYM_KEY", "set")
    made = "not set: made once in the sandbox"
    yield Finding("ok", "VAULT_KEY", "set" if settings.vault_key else made)


def _check_alarms(alerts: Messenger, settings: Settings) -> Iterator[Finding]:
    for channel in alerts.channels:
        if not channel.is_understood:
            fix = "correct it; a Discord one is discord://<webhook id>/<token>"
            yield Finding("FAIL", "ALERT_URLS", f"{channel.name} is no address that Apprise understands", fix)
    level: Level = "warn" if settings.pycontw_env == "production" else "ok"
    for name, value, without in (
        ("ALERT_URLS", settings.alert_urls, "nobody is alerted"),
        ("HEARTBEAT_URL", settings.heartbeat_url, "nobody notices when polling stops altogether"),
    ):
        yield Finding("ok", name, "set") if value else Finding(level, name, f"not set: {without}", f"set {name}")
    if settings.pycontw_dry_run:
        yield Finding(
            "warn", "PYCONTW_DRY_RUN", "set: nobody is let in or mailed", "unset it when you have seen enough"
        )


def _check_channels(alerts: Messenger, *, is_test: bool) -> Iterator[Finding]:
    """Name every channel, and send it a test message when asked to. Its address is a secret and is not shown."""
    understood = [channel for channel in alerts.channels if channel.is_understood]
    took = alerts.send(dict.fromkeys(understood, _TEST)) if is_test else set()
    for channel in understood:
        if channel in took:
            yield Finding("ok", channel.name, "took a test message; is it there?")
        elif is_test:
            fix = "look at its address in ALERT_URLS, and whether the channel still exists"
            yield Finding("FAIL", channel.name, "did not take a test message", fix)
        else:
            yield Finding("ok", channel.name, "understood. Whether it takes messages is tried with --test-alert")
        if channel.targets > 1:
            fix = "give each an address of its own: one that fails has the others hear its messages again"
            yield Finding("warn", channel.name, f"one address for {channel.targets} receivers", fix)


def _check_mail(settings: Settings) -> Iterator[Finding]:
    if settings.mail_is_off:
        yield Finding("ok", "mail", "switched off: nobody is mailed, and no list is kept")
        return
    mail = invitation("2031", settings)
    if settings.pycontw_env == "production" and settings.video_url:
        check_video_url(settings.video_url)
    yield Finding("ok", "mail", f"the invitation can be rendered ({mail.version})")


# -- services --------------------------------------------------------------------------------------


def _check_kktix(kktix: KktixClient, ledger: Ledger, settings: Settings) -> Iterator[Finding]:
    known, listing = known_events(ledger), kktix.list_events()
    try:
        discovery = discover_events(listing.events, known, settings)
    except InvalidSettings as error:
        yield Finding("FAIL", *_split(str(error)))
        return
    for conflict in discovery.conflicts.values():
        yield Finding("FAIL", "KKTIX_EVENTS", conflict)
    if not discovery.partitions:
        fix = "wait for the events to be listed, or set EDITION or KKTIX_EVENTS"
        yield Finding("warn", "KKTIX", f"{len(listing.events)} events listed, none of the conference", fix)
    else:
        yield Finding("ok", "KKTIX", f"edition {discovery.edition}: {len(discovery.partitions)} events")
    for event in discovery.unmatched:
        if event.fix:
            yield Finding("warn", "KKTIX", f"event {event.event_id}: {event.reason}", event.fix)
    for warning in listing.warnings:
        yield Finding("warn", "KKTIX", warning)
    for partition in discovery.partitions:
        if not kktix.read_book_ids(partition.event_id):
            fix = "make an attendance book in KKTIX"
            yield Finding("FAIL", "KKTIX", f"{partition.key} has no attendance book", fix)


def _check_clock(kktix_url: str) -> Iterator[Finding]:
    parts = urlsplit(kktix_url)
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


def _check_gather(build: Callable[[], GatherClient | None]) -> Iterator[Finding]:
    try:
        gather = build()
    except ValueError as error:
        yield Finding("FAIL", "GATHER_SPACE_ID", str(error))
        return
    if gather is None:
        yield Finding("ok", "Gather", "switched off: everybody with a ticket counts as let in")
        return
    for number, (space, client) in enumerate(gather.each().items(), start=1):
        name = "Gather" if len(gather.spaces) == 1 else f"Gather, space {number}"
        try:
            guests = len(client.read().entries)
        except ServiceError as error:
            yield Finding("FAIL", name, error.reason, _fix_of(error))
            continue
        room = "" if space.capacity is None else f" of {space.capacity}"
        if guests:
            yield Finding("ok", name, f"{guests}{room} guests. Whether the key may write is not tried")
        else:
            yield Finding("warn", name, "the guest list is empty", "fine before the first sale; otherwise look there")


def _check_klaviyo(client: KlaviyoClient, *, is_production: bool) -> Iterator[Finding]:
    if client.is_test_account() and is_production:
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
    yield _check_metrics(client)


def _check_metrics(client: KlaviyoClient) -> Finding:
    """Look whether a campaign that ends half-way could be repaired. Mails go out without it."""
    try:
        client.metrics()
    except ServiceError as error:
        is_scope = isinstance(error, Misconfigured)
        fix = "give the key the scopes metrics:read and events:read" if is_scope else _fix_of(error)
        return Finding("warn", "Klaviyo metrics", error.reason, fix)
    return Finding("ok", "Klaviyo metrics", "may be read. Whether events may be read is not tried")


def check_revision(now: datetime) -> Iterator[Finding]:
    """Say until when Klaviyo supports the revision of its interface that the client speaks."""
    what = f"revision {REVISION} is supported until about {REVISION_ENDS:%Y-%m-%d}"
    if not list(expiring(now)):
        yield Finding("ok", "Klaviyo revision", what)
    else:
        level: Level = "warn" if now < REVISION_ENDS else "FAIL"
        yield Finding(level, "Klaviyo revision", what, MOVE_UP)


# -- stores -----------------------------------------------------------------------------------------


def _check_ledger(ledger: Ledger) -> Iterator[Finding]:
    events = known_events(ledger)
    written = f"schema {SCHEMA_VERSION}, its pseudonym key is the one set, {len(events)} events known"
    yield Finding("ok", "ledger", written if events else "nothing in it yet: the first poll begins it")


def _check_pause(ledger: Ledger) -> Iterator[Finding]:
    if since := paused_since(ledger):
        yield Finding("warn", "pause", f"polls are paused since {since:%Y-%m-%d %H:%M} UTC", RESUME)
    else:
        yield Finding("ok", "pause", "polls are not paused")


def _check_vault(vault: OrdersStore, ledger: Ledger, retention_days: int) -> Iterator[Finding]:
    polled = [partition.key for partition in known_events(ledger).values() if last_poll(ledger, partition.key)]
    snapshots = {key: vault.read(key) for key in polled}
    overdue = [partition.key for partition in expired_events(ledger, retention_days)]
    if overdue:
        what = f"the orders of {', '.join(overdue)} are older than RETENTION_DAYS"
        yield Finding("warn", "vault", what, "polls remove them within a day, unless KKTIX still lists the event")
    lost = [key for key, snapshot in snapshots.items() if snapshot is None]
    if lost:
        fix = "restore the folder or bucket of VAULT_URL; otherwise the next poll reads everybody again"
        yield Finding("FAIL", "vault", f"the orders of {', '.join(lost)} are gone", fix)
    else:
        yield Finding("ok", "vault", f"the orders of {len(snapshots)} events can be read")
    if isinstance(vault, Vault) and (kept := vault.leftovers()):
        level: Level = "warn" if kept.todo and kept.is_known else "ok"
        yield Finding(level, "erased orders", kept.line.removeprefix("vault: "), kept.todo)


def _check_imports(vault: OrdersStore, ledger: Ledger) -> Iterator[Finding]:
    imports = known_imports(ledger)
    lost = [key for key in imports if not is_purged(ledger, key) and vault.read(key) is None]
    if lost:
        what = f"the orders of {', '.join(lost)} are gone from the vault; their table rows stay"
        yield Finding("warn", "imports", what, "import their exports again, if they are to be loaded or erased here")
    else:
        yield Finding("ok", "imports", f"{len(imports)} exports of former editions are imported")


def _check_warehouse(build: Callable[[], Warehouse], settings: Settings) -> Iterator[Finding]:
    if settings.warehouse == "duckdb" and not settings.duckdb_file.exists():
        yield Finding("ok", "warehouse", "duckdb, no file yet: the first poll makes it")
        return
    tables, warehouse = attendee_tables(load_policy().columns), build()
    foreign = [table for table in tables.values() if warehouse.owner_of(table) == "foreign"]
    for table in foreign:
        yield Finding("FAIL", "warehouse", *refusal(warehouse.full_name(table)).split(". ", 1))
    for table in tables.values():
        if table not in foreign:
            warehouse.partition_rows(table, "none")
    yield Finding("ok", "warehouse", f"{settings.warehouse} answers about {len(tables)} tables")
    if settings.views_dataset:
        yield from _check_views(warehouse, settings.views_dataset)


def _check_views(warehouse: Warehouse, dataset: str) -> Iterator[Finding]:
    foreign = [name for name in VIEW_NAMES if warehouse.view_owner(name) == "foreign"]
    for name in foreign:
        yield Finding("FAIL", "views", *refusal(f"{dataset}.{name}", kind="view").split(". ", 1))
    if not foreign:
        yield Finding("ok", "views", f"the names of {len(VIEW_NAMES)} views in {dataset} are ours or free")


def _check_modes(home: Path) -> Iterator[Finding]:
    if found := open_to_others(home):
        what = f"others on this machine can read {len(found)} files of {home}, such as {found[0].name}"
        yield Finding("warn", "data folder", what, "the next poll closes them")
    else:
        yield Finding("ok", "data folder", f"only its owner can read {home}")


def _check_disk(home: Path) -> Iterator[Finding]:
    folder = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    what = f"{free / 1e9:.1f} GB free under {home}"
    if free > _ROOM_WANTED:
        yield Finding("ok", "disk", what)
    else:
        yield Finding("warn" if free > _ROOM_NEEDED else "FAIL", "disk", what, "make room, or move PYCONTW_HOME")


# -- Dagster ----------------------------------------------------------------------------------------


def _check_dagster(settings: Settings) -> Iterator[Finding]:
    from pycontw_assets.orchestration.instance import read_machinery

    yield from read_machinery(settings.dagster_folder, settings.poll_interval_seconds)


# -- the printing ----------------------------------------------------------------------------------


def describe_finding(finding: Finding) -> str:
    """Return a finding as one line."""
    fix = f" — {finding.fix}" if finding.fix and finding.level != "ok" else ""
    return f"{paint(f'{finding.level:<4}', _COLOURS[finding.level])} {finding.name}: {finding.what}{fix}"
