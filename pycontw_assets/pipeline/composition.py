"""Settings in, clients out: the one place where real clients are built, each replaceable by name.

Nothing connects, logs in or reads the environment before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycontw_assets.alerts.messenger import Messenger
from pycontw_assets.api.rate_limits import Windows
from pycontw_assets.api.stopping import OF_THIS_PROCESS, Stop
from pycontw_assets.deidentify.policy import use_policy_file
from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.consistency.accounts import forget_accounts
from pycontw_assets.ledger.consistency.place import Place, record_place
from pycontw_assets.ledger.ledger import Clock, Ledger, utc_now
from pycontw_assets.ledger.locks import check_locks
from pycontw_assets.ledger.rate_slots import SharedRateLimiter
from pycontw_assets.ledger.remote_ids import record_remote_id, remembered_id
from pycontw_assets.pipeline.consistency.place import checked_place
from pycontw_assets.pipeline.discord.invites import personal_links
from pycontw_assets.pipeline.dry_run import DryRunVault
from pycontw_assets.pipeline.rebuild import renew_ledger
from pycontw_assets.pipeline.steps import invitation, refuse_shared_link
from pycontw_assets.pseudonyms import NORMALISATION_VERSION, Pseudonymizer
from pycontw_assets.send_email.invitation.personal import PersonalLinks
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import InvalidSettings, Settings, load_settings
from pycontw_assets.vault.bucket_store import BucketStore
from pycontw_assets.vault.folder_store import FolderStore
from pycontw_assets.vault.object_store import ObjectStore
from pycontw_assets.vault.private_files import make_private
from pycontw_assets.vault.vault import OrdersStore, Vault

if TYPE_CHECKING:
    from google.cloud import bigquery

    from pycontw_assets.authorize.discord.discord_client import DiscordClient
    from pycontw_assets.authorize.discord.roles import RoleRules
    from pycontw_assets.authorize.gather_client import GatherClient
    from pycontw_assets.extract.kktix_client import KktixClient
    from pycontw_assets.load.warehouse import Warehouse
    from pycontw_assets.send_email.klaviyo_client import KlaviyoClient


class Composition:
    """Build every client and store of the pipeline, each on its first use, from ``Settings``.

    ``replacements`` replace any of them by attribute name: ``Composition(kktix=fake, clock=frozen)``. ``kktix_client``
    is the class to build instead of a plain ``KktixClient``. ``accepts_account``: the override for a ledger of services
    at another address, or of other accounts there. Functions take the parts, never this object.
    """

    def __init__(
        self,
        settings: Callable[[], Settings] = load_settings,
        *,
        clock: Clock = utc_now,
        kktix_client: type[KktixClient] | None = None,
        accepts_account: bool = False,
        **replacements: Any,
    ) -> None:
        self._load_settings = settings
        self._accepts_account = accepts_account
        self._kktix_client = kktix_client
        self.clock = clock
        for name, replacement in replacements.items():
            if not isinstance(getattr(type(self), name, None), cached_property):
                raise TypeError(f"there is no part called {name}")
            self.__dict__[name] = replacement

    @cached_property
    def settings(self) -> Settings:
        settings = self._load_settings()
        use_policy_file(settings.policy_file.expanduser() if settings.policy_file else None)
        return settings

    @cached_property
    def waits(self) -> WaitPolicy:
        return WaitPolicy(sleep=self.stop.sleep)

    @cached_property
    def wave_size(self) -> WaveSize:
        """How many newcomers of a rush are served at a time."""
        return WaveSize()

    @cached_property
    def client_options(self) -> dict[str, Any]:
        """Options of every client, such as the clock it waits by."""
        return {}

    @cached_property
    def stop(self) -> Stop:
        """Whether this process was asked to stop."""
        return OF_THIS_PROCESS

    @cached_property
    def gate(self) -> Callable[[], None]:
        """Return the function that every client calls before a request. It raises when none may leave any more."""

        def check() -> None:
            self.stop.check()
            check_locks()

        return check

    @property
    def _options(self) -> dict[str, Any]:
        return {"gate": self.gate, "sleep": self.stop.sleep, **self.client_options}

    @cached_property
    def pseudonymizer(self) -> Pseudonymizer:
        key = self.settings.pseudonym_key
        return Pseudonymizer(key.get_secret_value() if key else None)

    @cached_property
    def kktix(self) -> KktixClient:
        from pycontw_assets.extract.kktix_client import KktixClient, rate_limits

        per_second = self.settings.kktix_requests_per_second
        # Ten bundles a second: a rush of attendees must not cost a transaction each.
        windows = rate_limits(per_second)
        # The rate is our own choice. A call that is late breaks no published window, so nothing is taken off the rate.
        limiter = self._limiter("KKTIX", windows, bundle=max(1, per_second // 10), adapts=True, lateness=0.0)
        token = self.settings.kktix_api_token.get_secret_value()
        client = self._kktix_client or KktixClient
        return client(self.settings.kktix_api_url, token, limiter=limiter, **self._options)

    @cached_property
    def gather(self) -> GatherClient | None:
        """``None``: the guest-list step is switched off on purpose."""
        from pycontw_assets.authorize.gather_client import RATE_LIMITS, GatherClient

        if self.settings.gather_is_off:
            return None
        key = self.settings.gather_api_key.get_secret_value()
        limiter = self._limiter("Gather", RATE_LIMITS)
        spaces = self.settings.gather_space_id
        return GatherClient(self.settings.gather_api_url, key, spaces, limiter=limiter, **self._options)

    @cached_property
    def discord(self) -> DiscordClient | None:
        """``None``: Discord is no venue."""
        from pycontw_assets.authorize.discord.discord_client import RATE_LIMITS, DiscordClient

        settings = self.settings
        if settings.discord_is_off:
            return None
        token, limiter = settings.discord_bot_token.get_secret_value(), self._limiter("Discord", RATE_LIMITS)
        guild_id, channel_id = settings.discord_guild_id, settings.discord_channel_id
        return DiscordClient(settings.discord_api_url, token, guild_id, channel_id, limiter=limiter, **self._options)

    @cached_property
    def discord_roles(self) -> RoleRules | None:
        """Which role a ticket gives; ``None``: Discord is no venue."""
        from pycontw_assets.authorize.discord.roles import read_roles

        return None if self.settings.discord_is_off else read_roles(self.settings.discord_roles)

    @cached_property
    def klaviyo(self) -> KlaviyoClient | None:
        """``None``: all mail is switched off on purpose."""
        from pycontw_assets.send_email.klaviyo_client import RATE_LIMITS, KlaviyoClient

        if self.settings.mail_is_off:
            return None
        limiter = self._limiter("Klaviyo", RATE_LIMITS)
        key = self.settings.klaviyo_api_key.get_secret_value()
        return KlaviyoClient(self.settings.klaviyo_api_url, key, limiter=limiter, **self._options)

    @cached_property
    def personal_links(self) -> PersonalLinks:
        """Finds the links that are one person's own."""
        return personal_links(discord=self.discord, ledger=self.ledger, pseudonymizer=self.pseudonymizer)

    @property
    def mail_service(self) -> KlaviyoClient:
        """Klaviyo, for what cannot be done without it; ``InvalidSettings`` where mail is switched off."""
        if self.klaviyo is None:
            raise InvalidSettings("KLAVIYO_API_URL: is `off`, and this cannot be done without Klaviyo; set it")
        return self.klaviyo

    def _limiter(self, service: str, windows: Windows, **options: Any) -> SharedRateLimiter:
        """Shared through the ledger this process works with. Asking for a waits must not make one (``plan``)."""

        def ledger() -> Ledger | None:
            return self.__dict__.get("ledger")

        def clock() -> float:
            return self.clock().timestamp()

        return SharedRateLimiter(ledger, service, windows, clock=clock, **options)

    @cached_property
    def vault_store(self) -> ObjectStore:
        url = self.settings.vault_url
        if url and url.startswith("gs://"):
            return BucketStore(url)
        return FolderStore(Path(url.removeprefix("file://")).expanduser() if url else self.settings.home / "vault")

    @cached_property
    def vault(self) -> Vault:
        if self.settings.vault_key is None and not self.settings.sandbox_key_file.exists():
            self.check_place()  # no key is made in the folder of real people
        return Vault(self.vault_store, _vault_keys(self.settings))

    def check_place(self) -> Place:
        """Return the place of the settings; ``LedgerError`` if the ledger belongs to another. Nothing is made."""
        reading = Ledger.reading(self.settings.ledger_location, clock=self.clock)
        place = checked_place(reading, self.settings, accepts_account=self._accepts_account)
        reading.engine.dispose()
        return place

    @cached_property
    def ledger(self) -> Ledger:
        if file := self.settings.ledger_file:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Before it is opened for writing: that alone brings an older ledger up to date, which shuts its owner out.
        place = self.check_place()
        _ = self.closed_files
        ledger = Ledger(self.settings.ledger_location, clock=self.clock)
        ledger.check_identity(self.pseudonymizer.fingerprint)
        record_place(ledger, place)
        if self._accepts_account:
            forget_accounts(ledger)
        if ledger.normalisation < NORMALISATION_VERSION:
            renew_ledger(ledger=ledger, vault=self.vault, pseudonymizer=self.pseudonymizer)
        for name, list_id in self.settings.klaviyo_lists.items():
            if remembered_id(ledger, "list", name) != list_id:
                record_remote_id(ledger, "list", name, list_id)
        return ledger

    @cached_property
    def closed_files(self) -> int:
        """How many files of the data folder others could read until now. From now on nothing is made that they can."""
        return make_private(self.settings.home)

    @cached_property
    def vault_to_read(self) -> OrdersStore:
        """The vault for commands that change nothing: in a new sandbox home, opening it would make its key."""
        settings = self.settings
        has_key = settings.vault_key is not None or settings.sandbox_key_file.exists()
        return self.vault if has_key else DryRunVault(None)

    @cached_property
    def ledger_to_read(self) -> Ledger:
        """The ledger for commands that change nothing: it cannot be written, and opening it makes no file."""
        reading = Ledger.reading(self.settings.ledger_location, clock=self.clock)
        reading.check_identity(self.pseudonymizer.fingerprint)
        checked_place(reading, self.settings)
        return reading

    @cached_property
    def alerts(self) -> Messenger:
        urls = self.settings.alert_urls
        return Messenger(urls.get_secret_value() if urls else None, gate=self.stop.check)

    @cached_property
    def warehouse(self) -> Warehouse:
        settings = self.settings
        prefix, views = settings.table_prefix, settings.views_dataset
        if settings.warehouse == "bigquery":
            from pycontw_assets.load.bigquery_warehouse import BigQueryWarehouse

            return BigQueryWarehouse(
                lambda: _bigquery_client(settings), settings.bigquery_dataset, prefix=prefix, views_dataset=views
            )
        from pycontw_assets.load.duckdb_warehouse import DuckDBWarehouse

        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _ = self.closed_files
        return DuckDBWarehouse(settings.duckdb_file, settings.bigquery_dataset, prefix=prefix, views_dataset=views)

    def check(self) -> None:
        """Build everything that can be wrong before anything runs; ``InvalidSettings`` or ``LedgerError`` if it is."""
        self.check_settings()
        _ = self.ledger, self.vault, self.warehouse  # a ledger of another place is refused before anything is made

    def check_settings(self) -> None:
        """Build what the settings alone can break; ``InvalidSettings`` if they do. No store is opened or made."""
        from pycontw_assets.send_email.invitation.template import InvitationError, check_video_url

        try:
            gather, *_ = self.gather, self.discord, self.discord_roles, self.klaviyo, self.kktix
            self.alerts.check()
            if self.settings.mail_is_off:
                return
            if gather is not None:
                refuse_shared_link(self.settings)
            _ = invitation("2031", self.settings)
            if self.settings.pycontw_env == "production" and self.settings.video_url:
                check_video_url(self.settings.video_url)
        except (ValueError, InvitationError) as error:
            raise InvalidSettings(str(error)) from None


def _bigquery_client(settings: Settings) -> bigquery.Client:
    """Logs in the usual Google ways; made when the first table is written, for its libraries take seconds to load."""
    from dagster_gcp import BigQueryResource

    resource = BigQueryResource(project=settings.bigquery_project, location=settings.bigquery_location)
    with resource.get_client() as client:
        return client


def _vault_keys(settings: Settings) -> list[str]:
    if settings.vault_key is not None:
        return [key.strip() for key in settings.vault_key.get_secret_value().split(",") if key.strip()]
    return [_sandbox_key(settings.sandbox_key_file)]


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


def settings_at_load() -> Settings:
    """Return the settings that the definitions look at while they load; a wrong environment must not stop them."""
    try:
        return Composition().settings
    except InvalidSettings:
        return Settings.model_construct()
