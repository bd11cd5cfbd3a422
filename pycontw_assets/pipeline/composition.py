"""Settings in, clients out: the one place where real clients are built, each replaceable by name.

Nothing connects, logs in or reads the environment before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.rate_limits import Windows
from pycontw_assets.ledger.events import known_events
from pycontw_assets.ledger.ledger import Clock, Ledger, utc_now
from pycontw_assets.ledger.locks import LockName, lock
from pycontw_assets.ledger.rate_slots import SharedRateLimiter
from pycontw_assets.ledger.remote_ids import record_remote_id
from pycontw_assets.orchestration.links import Links
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email.campaign import Sender
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings, load_settings
from pycontw_assets.vault.bucket_store import BucketStore
from pycontw_assets.vault.vault import FolderStore, ObjectStore, Vault

if TYPE_CHECKING:
    from google.cloud import bigquery

    from pycontw_assets.authorize.gather_client import GatherClient
    from pycontw_assets.extract.kktix_client import KktixClient
    from pycontw_assets.extract.orders import BookReading
    from pycontw_assets.load.warehouse import Warehouse
    from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
    from pycontw_assets.send_email.template import InvitationTemplate


class UnknownPartition(LookupError):
    """Nobody registered an event with this partition key."""


class Services:
    """Every client and store of the pipeline, built on first use from ``Settings``.

    ``overrides`` replaces any of them by attribute name: ``Services(kktix=fake, clock=frozen)``. ``kktix_client`` is
    what to build instead of a plain ``KktixClient``.
    """

    def __init__(
        self,
        settings: Callable[[], Settings] = load_settings,
        *,
        clock: Clock = utc_now,
        kktix_client: type[KktixClient] | None = None,
        **overrides: Any,
    ) -> None:
        self._load_settings = settings
        self._kktix_client = kktix_client
        self.clock = clock
        # Books that the tick of this very process read a moment ago; each is used once instead of reading it again.
        self.fresh_books: dict[int, BookReading] = {}
        for name, replacement in overrides.items():
            if not isinstance(getattr(type(self), name, None), cached_property):
                raise TypeError(f"there is no service called {name}")
            self.__dict__[name] = replacement

    @cached_property
    def settings(self) -> Settings:
        return self._load_settings()

    @cached_property
    def waits(self) -> WaitPolicy:
        return WaitPolicy()

    @cached_property
    def client_options(self) -> dict[str, Any]:
        """Options of every client, such as the clock it waits by."""
        return {}

    @cached_property
    def pseudonymizer(self) -> Pseudonymizer:
        key = self.settings.pseudonym_key
        return Pseudonymizer(key.get_secret_value() if key else None)

    @cached_property
    def kktix(self) -> KktixClient:
        from pycontw_assets.extract.kktix_client import KktixClient, rate_limits

        per_second = self.settings.kktix_requests_per_second
        # Ten bundles a second: a rush of attendees must not cost a transaction each.
        limiter = self._limiter("KKTIX", rate_limits(per_second), bundle=max(1, per_second // 10))
        token = self.settings.kktix_api_token.get_secret_value()
        client = self._kktix_client or KktixClient
        return client(self.settings.kktix_api_url, token, limiter=limiter, **self.client_options)

    @cached_property
    def gather(self) -> GatherClient | None:
        """``None``: the guest-list step is switched off on purpose."""
        from pycontw_assets.authorize.gather_client import RATE_LIMITS, GatherClient

        if self.settings.gather_is_off:
            return None
        key = self.settings.gather_api_key.get_secret_value()
        limiter = self._limiter("Gather", RATE_LIMITS)
        space_id = self.settings.gather_space_id
        return GatherClient(self.settings.gather_api_url, key, space_id, limiter=limiter, **self.client_options)

    @cached_property
    def klaviyo(self) -> KlaviyoClient:
        from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient

        limiter = self._limiter("Klaviyo", RATE_LIMITS)
        key = self.settings.klaviyo_api_key.get_secret_value()
        return KlaviyoClient(self.settings.klaviyo_api_url, key, limiter=limiter, **self.client_options)

    def request_counter(self, *services: str) -> Callable[[], int]:
        """Counts what this process asks ``kktix``, ``gather`` or ``klaviyo`` from now on: tries, not calls."""

        def sent() -> int:
            built = (self.__dict__.get(service) for service in services)  # counting must not build them
            return sum(client.api.requests_sent for client in built if client)

        before = sent()
        return lambda: sent() - before

    def _limiter(self, service: str, windows: Windows, bundle: int = 1) -> SharedRateLimiter:
        """Shared through the ledger this process works with. Asking for a waits must not make one (``plan``)."""

        def ledger() -> Ledger | None:
            return self.__dict__.get("ledger")

        return SharedRateLimiter(ledger, service, windows, bundle=bundle, clock=lambda: self.clock().timestamp())

    @cached_property
    def sender(self) -> Sender:
        settings = self.settings
        return Sender(settings.klaviyo_from_email, settings.klaviyo_from_label, settings.klaviyo_reply_to)

    @cached_property
    def vault_store(self) -> ObjectStore:
        url = self.settings.vault_url
        if url and url.startswith("gs://"):
            return BucketStore(url)
        return FolderStore(Path(url.removeprefix("file://")).expanduser() if url else self.settings.home / "vault")

    @cached_property
    def vault(self) -> Vault:
        return Vault(self.vault_store, _vault_keys(self.settings))

    @cached_property
    def ledger(self) -> Ledger:
        if file := self.settings.ledger_file:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ledger = Ledger(self.settings.ledger_location, clock=self.clock)
        ledger.check_identity(self.pseudonymizer.fingerprint)
        for name, list_id in self.settings.klaviyo_lists.items():
            record_remote_id(ledger, "list", name, list_id)
        return ledger

    @cached_property
    def messenger(self) -> Messenger:
        urls = self.settings.alert_urls
        return Messenger(urls.get_secret_value() if urls else None)

    @cached_property
    def warehouse(self) -> Warehouse:
        if self.settings.warehouse == "bigquery":
            from pycontw_assets.load.bigquery_warehouse import BigQueryWarehouse

            return BigQueryWarehouse(lambda: _bigquery_client(self.settings), self.settings.bigquery_dataset)
        from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse

        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return DuckDBWarehouse(self.settings.duckdb_file, self.settings.bigquery_dataset)

    def mail(self, edition: str) -> InvitationTemplate:
        from pycontw_assets.send_email.template import render_invitation

        return render_invitation(edition, self.settings.invitation_venue_url, self.settings.invitation_video_url)

    @cached_property
    def links(self) -> Links:
        return links_of(self.settings)

    @cached_property
    def table_rules(self) -> str:
        """Names the rules by which orders become rows."""
        from pycontw_assets.deidentify.policy import load_policy

        return f"{load_policy().version} {self.pseudonymizer.fingerprint}"

    def check(self) -> None:
        """Build everything that can be wrong before anything runs; ``InvalidSettings`` or ``LedgerError`` if it is."""
        from pycontw_assets.send_email.template import InvitationError, check_video_url

        try:
            _ = self.gather, self.klaviyo, self.kktix, self.mail("2031")
            self.messenger.check()
            if self.settings.pycontw_env == "production":
                check_video_url(self.settings.invitation_video_url)
        except (ValueError, InvitationError) as error:
            raise InvalidSettings(str(error)) from None
        _ = self.vault, self.warehouse, self.ledger

    def partition(self, key: str) -> EventPartition:
        """The event a partition key stands for; unknown keys are refused before they reach a file or a query."""
        for partition in known_events(self.ledger).values():
            if partition.key == key:
                return partition
        raise UnknownPartition("no event has this partition key; the sensor or `poll` registers events by themselves")

    def mapped_events(self) -> dict[int, EventPartition | None]:
        """What a person said of events by id; ``None``: to be ignored."""
        return {
            int(event_id): EventPartition(int(event_id), mapping.edition, mapping.family) if mapping else None
            for event_id, mapping in self.settings.kktix_events.items()
        }

    def exclusive(self, name: LockName, partition_key: str = "") -> AbstractContextManager[None]:
        return lock(self.ledger, name, partition_key, sleep=self.waits.sleep)


def _bigquery_client(settings: Settings) -> bigquery.Client:
    """Logs in the usual Google ways; made when the first table is written, for its libraries take seconds to load."""
    from dagster_gcp import BigQueryResource

    resource = BigQueryResource(project=settings.bigquery_project, location=settings.bigquery_location)
    with resource.get_client() as client:
        return client


def _vault_keys(settings: Settings) -> list[str]:
    if settings.vault_key is not None:
        return [key.strip() for key in settings.vault_key.get_secret_value().split(",") if key.strip()]
    return [_sandbox_key(settings.home / "vault.key")]


def _sandbox_key(path: Path) -> str:
    """A key made once, beside the data: enough for invented people, refused in production."""
    from cryptography.fernet import Fernet

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(Fernet.generate_key().decode())
    except FileExistsError:
        pass
    return path.read_text().strip()


def links_of(settings: Settings) -> Links:
    project = settings.bigquery_project if settings.warehouse == "bigquery" else None
    return Links(
        is_sandbox=settings.pycontw_env == "sandbox",
        kktix_url=settings.kktix_api_url,
        duckdb_file=settings.duckdb_file,
        dataset=settings.bigquery_dataset,
        bigquery_project=project,
    )


def settings_at_load() -> Settings:
    """What the definitions look at while they load; a wrong environment must not keep them from it."""
    try:
        return load_settings()
    except InvalidSettings:
        return Settings.model_construct()
