"""Every environment variable, once: name, type, default, meaning. The only reader of the environment.

Secrets are ``SecretStr``; an error names the variable and the fix and never quotes a value.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pycontw_assets.records import Family

SANDBOX_PORT = 8031
_SANDBOX_URL = f"http://127.0.0.1:{SANDBOX_PORT}"


class InvalidSettings(Exception):
    """One line per variable that is missing or wrong, each with the fix."""


# Spelled out: \d would also take the digits of other scripts, which no partition key may hold.
Edition = Annotated[str, Field(pattern=r"^20[0-9]{2}$")]
EventId = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class EventMapping(BaseModel):
    """What a person says an event is, whatever its name suggests."""

    edition: Edition
    family: Family


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("needs a zone, for example 2031-09-01T09:00:00+08:00")
    return moment.astimezone(timezone.utc)


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with https:// (or http://)")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def _http_url_or_off(url: str) -> str:
    return url if url == "off" else _http_url(url)


def _folder_or_bucket(url: str) -> str:
    if "://" in url and not url.startswith(("gs://", "file://")):
        raise ValueError("must be a folder or start with gs://")
    return url


class Settings(BaseSettings):
    """The variables of the README's table. Defaults point at the sandbox on its usual port."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    pycontw_env: Literal["sandbox", "production"] = Field(
        "sandbox",
        description="`sandbox` or `production`; production refuses to start with a missing variable, naming it",
    )
    pycontw_home: Path = Field(
        Path("~/.pycontw_assets"),
        description="data folder: vault, DuckDB, ledger, and the Dagster instance when `DAGSTER_HOME` is unset",
    )
    dagster_home: Path | None = Field(
        None, description="Dagster's own variable: folder of its instance; unset: under `PYCONTW_HOME`"
    )

    pycontw_dry_run: bool = Field(
        False,
        description="`1`: polls read and fill the tables, but let nobody in and mail nobody; the UI shows what they "
        "would have done",
    )

    kktix_api_url: HttpUrl = Field(
        f"{_SANDBOX_URL}/kktix/api/v2/hosting_events", description="URL of the KKTIX events endpoint"
    )
    kktix_api_token: SecretStr = Field(SecretStr("sandbox-kktix-token"), description="KKTIX bearer token")
    kktix_requests_per_second: int = Field(
        150, ge=1, description="most attendees read from KKTIX in a second, by all processes of one ledger together"
    )
    edition: Edition | None = Field(
        None,
        description="the live edition, four digits; unset: the newest edition among the listed events",
    )
    kktix_events: dict[EventId, EventMapping | None] = Field(
        default_factory=dict,
        description='JSON: `{"<event id>": {"edition": "2031", "family": "individual"}}`, or `null` to ignore an '
        "event; overrides what the name suggests",
    )

    gather_api_url: Annotated[str, AfterValidator(_http_url_or_off)] = Field(
        f"{_SANDBOX_URL}/gather",
        description="base URL of Gather, before `/api/…`; `off` switches the guest list off",
    )
    gather_api_key: SecretStr = Field(SecretStr("sandbox-gather-key"), description="Gather API key")
    gather_space_id: str = Field(
        "SandboxSpace0001\\Py Venue", description="space id: `<id>\\<space name>`, one backslash"
    )

    klaviyo_api_url: HttpUrl = Field(f"{_SANDBOX_URL}/klaviyo", description="base URL of Klaviyo, before `/api/…`")
    klaviyo_api_key: SecretStr = Field(SecretStr("sandbox-klaviyo-key"), description="Klaviyo private key")
    klaviyo_from_email: str = Field("tickets@example.org", description="sender address")
    klaviyo_from_label: str = Field("PyCon TW sandbox", description="sender name")
    klaviyo_reply_to: str = Field("help@example.org", description="where answers go")
    klaviyo_lists: dict[str, str] = Field(
        default_factory=dict,
        description="JSON `{list name: id}` of Klaviyo lists made by hand; others are found or made by name",
    )
    invitation_venue_url: HttpUrl = Field(
        "https://app.gather.town/app/SandboxSpace0001/Py%20Venue", description="venue link in the mail"
    )
    invitation_video_url: HttpUrl = Field(
        "https://www.youtube.com/watch?v=sandbox0000", description="video link in the mail (unlisted YouTube)"
    )
    invitation_send_at: Annotated[datetime, AfterValidator(_aware)] | None = Field(
        None,
        description="empty: send at once; ISO time with zone: schedule campaigns for then, at once after it",
    )

    warehouse: Literal["duckdb", "bigquery"] = Field("duckdb", description="`duckdb` or `bigquery`")
    bigquery_project: str | None = Field(
        None,
        description="Google project; credentials the usual Google way, `BIGQUERY_EMULATOR_HOST` honoured",
    )
    bigquery_dataset: str = Field("ods", pattern=r"^[a-z][a-z0-9_]{0,127}$", description="dataset, in small letters")
    bigquery_location: str | None = Field(None, description="location of the dataset")

    vault_url: Annotated[str, AfterValidator(_folder_or_bucket)] | None = Field(
        None, description="folder or `gs://bucket/folder` of the vault; unset: under the home"
    )
    vault_key: SecretStr | None = Field(
        None,
        description="comma-separated Fernet keys, the first encrypts, all decrypt; generated once in sandbox",
    )
    ledger_url: SecretStr | None = Field(None, description="SQLAlchemy URL of the ledger; unset: SQLite under the home")
    pseudonym_key: SecretStr | None = Field(
        None, description="secret for keyed hashing (recommended); unset: plain SHA-256"
    )

    poll_interval_seconds: int = Field(300, ge=1, description="seconds between two ticks of the sensor")
    refresh_seconds: int = Field(
        3600,
        ge=0,
        description="shortest time between two re-reads of a known, paid attendee; 0: every poll re-reads everyone",
    )
    revoke_limit: int | None = Field(
        None,
        ge=0,
        description="most revocations one poll may do without a person's consent (`poll --allow revoke`); "
        "unset: the larger of 5 and 10 % of those granted",
    )
    invite_limit: int = Field(
        2000,
        ge=0,
        description="most invitations one poll may start without a person's consent (`poll --allow invite`)",
    )
    retention_days: int = Field(
        180,
        ge=1,
        description="days after an event was last listed until its orders leave the vault; its tables stay",
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="Apprise URLs (Discord: `discord://<webhook id>/<token>`), separated by blanks: "
        "who is told of troubles",
    )
    heartbeat_url: SecretStr | None = Field(None, description="fetched after every good poll")

    @property
    def home(self) -> Path:
        return self.pycontw_home.expanduser().resolve()

    @property
    def dagster_folder(self) -> Path:
        return self.dagster_home.expanduser() if self.dagster_home else self.home / "dagster"

    @property
    def duckdb_file(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def ledger_file(self) -> Path | None:
        """The file of the embedded ledger; ``None``: it is elsewhere."""
        return None if self.ledger_url else self.home / "ledger.sqlite"

    @property
    def ledger_location(self) -> str:
        """A SQLAlchemy URL, which may hold a password."""
        return self.ledger_url.get_secret_value() if self.ledger_url else f"sqlite:///{self.ledger_file}"

    @property
    def gather_is_off(self) -> bool:
        return self.gather_api_url == "off"

    def missing_in_production(self) -> list[str]:
        """Names of the variables that production needs and nobody set."""
        needed = [
            "kktix_api_url", "kktix_api_token", "gather_api_url", "klaviyo_api_url", "klaviyo_api_key",
            "klaviyo_from_email", "klaviyo_from_label", "klaviyo_reply_to",
            "invitation_venue_url", "invitation_video_url", "vault_key",
        ]  # fmt: skip
        if not self.gather_is_off:
            needed += ["gather_api_key", "gather_space_id"]
        if self.warehouse == "bigquery":
            needed.append("bigquery_project")
        return [name.upper() for name in needed if name not in self.model_fields_set]


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment (and ``.env``); ``InvalidSettings`` names every variable to mend."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explain(problem) for problem in error.errors())) from None
    except SettingsError as error:
        raise InvalidSettings(f"{_field_of(error)}: is not valid JSON; see the README's table for its form") from None
    if settings.pycontw_env == "production" and (missing := settings.missing_in_production()):
        raise InvalidSettings(
            "\n".join(f"{name}: is not set, and PYCONTW_ENV=production needs it; set it" for name in missing)
        )
    if settings.warehouse == "bigquery" and settings.bigquery_project is None:
        raise InvalidSettings("BIGQUERY_PROJECT: is not set, and WAREHOUSE=bigquery needs it; set it")
    return settings


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]).upper()
    description = Settings.model_fields[name.lower()].description if name.lower() in Settings.model_fields else ""
    return f"{name}: {problem['msg']}. It is: {description}"


def _field_of(error: SettingsError) -> str:
    named = [name for name in Settings.model_fields if f'"{name}"' in str(error)]
    return named[0].upper() if named else "a JSON variable (KKTIX_EVENTS or KLAVIYO_LISTS)"
