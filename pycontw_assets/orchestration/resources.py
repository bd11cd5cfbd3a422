"""The Dagster resources: one for each system, built by the composition root on first use. The UI shows no secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dagster import InitResourceContext, ResourceDefinition, mem_io_manager

from pycontw_assets.extract.orders import BookReading
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.orchestration.run_recording import RunLock
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.dry_run import AccessDryRuns
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings

_SYSTEMS = {
    "kktix": "The ticket shop: lists events, attendance books and attendees.",
    "gather": "The virtual venue: reads and writes its guest list. Nothing where GATHER_API_URL is `off`.",
    "discord": "The guild in Discord: lists, makes and deletes invites. Nothing where VENUES is without `discord`.",
    "discord_roles": "Which role of the guild a ticket gives.",
    "personal_links": "Finds the links that are one person's own, for the mail.",
    "klaviyo": "The mail service: profiles, lists, templates and campaigns. Nothing where KLAVIYO_API_URL is `off`.",
    "vault": "The encrypted store of raw orders: the only place where personal data rests.",
    "ledger": "The memory: access and invitations by pseudonym, with intents and outcomes.",
    "warehouse": "The de-identified tables.",
    "alerts": "Who hears of problems and of the day's sales: Discord, Slack, mail.",
    "pseudonymizer": "Turns addresses and phones into pseudonyms.",
    "settings": "Every setting, as read from the environment.",
    "stop": "Whether this process was asked to stop: after a signal, no call to the outside begins.",
    "wave_size": "How many newcomers of a rush are served at a time.",
    "waits": "How long a run waits for the services and for other runs.",
}


def resources_of(
    root: Composition, settings: Settings, books: Mapping[int, BookReading] | None = None
) -> dict[str, ResourceDefinition]:
    """Return one resource per system. ``settings`` say where each points; nothing is opened before a run needs it.

    ``books``: attendance books by event id that this process read a moment ago; runs do not read them again.
    """
    where = _where(settings)
    resources = {
        name: _resource(root, name, f"{text} {where.get(name, '')}".strip()) for name, text in _SYSTEMS.items()
    }
    text = "Attendance books that the poll of this process has read already, by event id."
    resources["books"] = ResourceDefinition(lambda _: dict(books or {}), description=text)
    resources["dry_runs"] = ResourceDefinition(
        lambda _: AccessDryRuns(**{name: getattr(root, name) for name in AccessDryRuns.__dataclass_fields__}),
        description="Finds out what the access chain would do, without doing it.",
    )
    # No asset hands a value to another one. Dagster's default, a folder, loads a library for all kinds of file systems.
    resources["io_manager"] = mem_io_manager
    return {**resources, "run_lock": _run_lock(lambda: root.ledger, lambda: root.waits, lambda: root.gate())}


def _run_lock(
    ledger: Callable[[], Ledger], waits: Callable[[], WaitPolicy], gate: Callable[[], None]
) -> ResourceDefinition:
    """Build the lock of each run. A run that ends drops it, whatever it ended with."""

    @contextmanager
    def build(context: InitResourceContext) -> Iterator[RunLock]:
        held = RunLock(str(context.run_id), ledger=ledger(), waits=waits(), gate=gate)
        try:
            yield held
        finally:
            held.drop()

    text = "The run's lock on its event: one run per event is at work, whatever Dagster knows of its process."
    return ResourceDefinition(build, description=text)


def _resource(root: Composition, name: str, description: str) -> ResourceDefinition:
    def build(_context: Any) -> Any:
        return getattr(root, name)

    return ResourceDefinition(build, description=description)


def _where(settings: Settings) -> Mapping[str, str]:
    """Say where each system is, without keys, users and passwords."""
    warehouse = f"BigQuery, project {settings.bigquery_project}" if settings.warehouse == "bigquery" else "DuckDB"
    return {
        "kktix": f"At {_public(settings.kktix_api_url)}.",
        "gather": "Switched off." if settings.gather_is_off else f"At {_public(settings.gather_api_url)}.",
        "discord": "Switched off." if settings.discord_is_off else f"At {_public(settings.discord_api_url)}.",
        "klaviyo": "Switched off." if settings.mail_is_off else f"At {_public(settings.klaviyo_api_url)}.",
        "vault": "In a bucket." if (settings.vault_url or "").startswith("gs://") else "In a folder.",
        "ledger": "On a server." if settings.ledger_url else "In the data folder.",
        "warehouse": f"{warehouse}, dataset {settings.bigquery_dataset}.",
        "alerts": "Set." if settings.alert_urls else "Nobody hears of problems: ALERT_URLS is not set.",
        "pseudonymizer": "Keyed." if settings.pseudonym_key else "Plain SHA-256: PSEUDONYM_KEY is not set.",
    }


def _public(url: str) -> str:
    """Leave out user, password and query of an address."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
