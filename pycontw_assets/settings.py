"""Every environment variable, once: name, type, default, meaning. Nothing else reads the environment.

Secrets are ``SecretStr``. An error names the variable and the fix, and never quotes a value.
"""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pycontw_assets.records import Family

SANDBOX_PORT = 8031
_SANDBOX_URL = f"http://127.0.0.1:{SANDBOX_PORT}"
_ENV_FILE = "PYCONTW_ENV_FILE"
_SHORTEST_SECRET = 16
OFF = "off"
"""Switches a step off, in place of its URL."""


class InvalidSettings(Exception):
    """Variables are missing or wrong. The text has one line for each, with the fix."""


# Not \d: that takes the digits of other scripts, too, which no partition key may hold.
Edition = Annotated[str, Field(pattern=r"^20[0-9]{2}$")]
Snowflake = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
EventId = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class EventMapping(BaseModel):
    """Edition and family of an event, whatever its name says."""

    edition: Edition
    family: Family


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("needs a zone, for example 2031-09-01T09:00:00+08:00")
    return moment.astimezone(timezone.utc)


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with https:// (or http://)")
    if not _host_of(url):
        raise ValueError("names no host")
    return url.rstrip("/")


def _host_of(url: str) -> str:
    """Return the host of a URL; empty: it has none. The error of the library would quote the URL."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _without_credentials(url: str) -> str:
    if "@" in urlsplit(url).netloc or any(sign.isspace() for sign in url):
        raise ValueError("must hold no user, no password and no blank: many people see it")
    return url


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def _http_url_or_off(url: str) -> str:
    return url if url == OFF else _http_url(url)


HttpUrlOrOff = Annotated[str, AfterValidator(_http_url_or_off)]


VENUES = ("gather", "discord")


def _known_venues(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(VENUES) or len(set(names)) < len(names):
        raise ValueError("must be one or both of `gather` and `discord`, separated by a comma")
    return ",".join(names)


def _long_secrets(value: SecretStr) -> SecretStr:
    """Accept secrets that can be sent as a header and cannot be guessed."""
    parts = hook_secrets(value)
    if not parts or not all(part.isascii() and part.isprintable() and len(part) >= _SHORTEST_SECRET for part in parts):
        raise ValueError(f"needs at least {_SHORTEST_SECRET} plain characters; `openssl rand -hex 32` makes a good one")
    return value


def hook_secrets(value: SecretStr | None) -> list[str]:
    """Return the secrets of ``KKTIX_HOOK_SECRET``; none: no webhook is used."""
    return [part.strip() for part in value.get_secret_value().split(",") if part.strip()] if value else []


def _folder_or_bucket(url: str) -> str:
    if "://" in url and not url.startswith(("gs://", "file://")):
        raise ValueError("must be a folder or start with gs://")
    return url


class Settings(BaseSettings):
    """The variables of docs/settings.md. Defaults point at the sandbox on its usual port."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    pycontw_env: Literal["sandbox", "production"] = Field(
        "sandbox",
        description="`sandbox` or `production`; production refuses to start without a required variable, and names it",
    )
    pycontw_home: Path | None = Field(
        None,
        description="data folder: vault, DuckDB, ledger, and the Dagster instance when `DAGSTER_HOME` is not set, in a "
        "path without `?` and without `%` before two digits; "
        "unset: `~/.pycontw_assets` in production, `~/.pycontw_assets_sandbox` in the sandbox",
    )
    dagster_home: Path | None = Field(
        None, description="Dagster's own variable: folder of its instance; unset: under `PYCONTW_HOME`"
    )

    dagster_sensor_grpc_timeout_seconds: int = Field(
        60,
        ge=1,
        description="Dagster's own variable, which the daemon needs, too: seconds until it gives up a tick; a tick "
        "stops reading before that",
    )

    pycontw_dry_run: bool = Field(
        False,
        description="`1`: polls read and fill the tables, but let nobody in and mail nobody; the UI shows what they "
        "would have done",
    )

    kktix_api_url: HttpUrl = Field(
        f"{_SANDBOX_URL}/kktix/api/v2/hosting_events", description="URL of KKTIX's events endpoint"
    )
    kktix_api_token: SecretStr = Field(SecretStr("sandbox-kktix-token"), description="bearer token of KKTIX")
    kktix_requests_per_second: int = Field(
        20,
        ge=1,
        le=1000,
        description="most attendees read from KKTIX in a second, by all processes that share a ledger; halved when "
        "KKTIX objects or slows down, and raised again within half an hour",
    )
    kktix_hook_secret: Annotated[SecretStr, AfterValidator(_long_secrets)] | None = Field(
        None,
        description="secret of KKTIX's webhook, at least 16 characters, which `pycontw-assets hooks` asks for; two, "
        "separated by a comma, while it is changed; unset: no webhook, and polls see every order",
    )
    edition: Edition | None = Field(
        None,
        description="the live edition, four digits; production needs it to begin, and only this variable begins "
        "another one; unset: the newest that the ledger has events of",
    )
    opening_days: dict[Edition, date] = Field(
        default_factory=dict,
        description='JSON `{"2031": "2031-09-05", "2030": "2030-09-06"}`: the first day of the conference, also of '
        "former editions, so that sales are compared by days before it; unset: they are compared by days since the "
        "first sale, and no range is expected",
    )
    kktix_events: dict[EventId, EventMapping | None] = Field(
        default_factory=dict,
        description='JSON `{"<event id>": {"edition": "2031", "family": "individual"}}`, or `null` to ignore an '
        "event; it wins over the event's name; unset: the names decide",
    )

    gather_api_url: HttpUrlOrOff = Field(
        f"{_SANDBOX_URL}/gather",
        description="base URL of Gather, before `/api/…`; `off` switches the guest list off",
    )
    gather_api_key: SecretStr = Field(
        SecretStr("sandbox-gather-key"), description="key of an admin or builder of the space"
    )
    gather_space_id: str = Field(
        "SandboxSpace0001\\Py Venue",
        description="`<id>\\<space name>`, with one backslash; with another space the next poll lets everybody in "
        "there, while the old space's list and the sent mails stay as they are; several spaces, separated by commas, "
        "have the most guests each behind a colon, `<id>\\<space name>:500,<id>\\<space name>`, and are filled in this "
        "order",
    )

    venues: Annotated[str, AfterValidator(_known_venues)] = Field(
        "gather",
        description="`gather`, `discord` or `discord,gather`: where holders are let in; with Discord, nobody is mailed "
        "before they have a link of their own, and mail must be on",
    )
    discord_api_url: HttpUrl = Field(
        f"{_SANDBOX_URL}/discord",
        description="base URL of Discord's API with its version, `https://discord.com/api/v10`",
    )
    discord_bot_token: SecretStr = Field(SecretStr("sandbox-discord-token"), description="token of the guild's bot")
    discord_guild_id: Snowflake = Field("803100000000000001", description="id of the guild (server) in Discord")
    discord_channel_id: Snowflake = Field(
        "803100000000000002", description="id of the channel that the invites lead to"
    )
    discord_roles: Path | None = Field(
        None,
        description="YAML file that says which role a ticket gives, see docs/discord.md; Discord needs it; unset: none",
    )

    klaviyo_api_url: HttpUrlOrOff = Field(
        f"{_SANDBOX_URL}/klaviyo",
        description="base URL of Klaviyo, before `/api/…`; `off` switches all mail off: no list, no invitation",
    )
    klaviyo_api_key: SecretStr = Field(SecretStr("sandbox-klaviyo-key"), description="private key of Klaviyo")
    klaviyo_from_email: str = Field(
        "tickets@example.org", description="sender address, on the account's verified domain"
    )
    klaviyo_from_label: str = Field("PyCon TW sandbox", description="sender name")
    klaviyo_reply_to: str = Field("help@example.org", description="address for answers")
    klaviyo_lists: dict[str, str] = Field(
        default_factory=dict,
        description='JSON `{"<list name>": "<id>"}` of Klaviyo lists made by hand; unset: lists are found or made by '
        "name",
    )
    klaviyo_delete_profiles: bool = Field(
        False,
        description="`1`: `erase` also asks Klaviyo to delete the person's profile, for good; the key then needs the "
        "scope `data-privacy:write`",
    )
    invitation_venue_url: HttpUrl = Field(
        "https://app.gather.town/app/SandboxSpace0001/Py%20Venue",
        description="venue link in the mail; "
        "with several spaces, `{space}` stands for id and name of the reader's space",
    )
    invitation_video_url: HttpUrlOrOff = Field(
        "https://www.youtube.com/watch?v=sandbox0000",
        description="video link in the mail: an unlisted YouTube video; `off` leaves the sentence about it out",
    )
    invitation_send_at: Annotated[datetime, AfterValidator(_aware)] | None = Field(
        None,
        description="ISO time with zone: campaigns are scheduled for then, events are held back until then, and both "
        "leave at once after it; campaigns that Klaviyo already has keep their time, so move those in Klaviyo; unset: "
        "invitations leave at once",
    )
    invite_via: Literal["campaign", "event"] = Field(
        "campaign",
        description="`campaign` or `event`: one campaign for the newcomers of a poll, or one event for each, which "
        "starts a flow that somebody makes in Klaviyo beforehand; it may be changed at any time",
    )
    invite_flow_is_transactional: bool = Field(
        False,
        description="`1`: Klaviyo has approved the flow's mail as a transactional one, so that it also reaches people "
        "who left the newsletter",
    )

    warehouse: Literal["duckdb", "bigquery"] = Field("duckdb", description="`duckdb` or `bigquery`")
    bigquery_project: str | None = Field(
        None,
        description="Google project; credentials come the usual Google ways, and `BIGQUERY_EMULATOR_HOST` is honoured",
    )
    bigquery_dataset: str = Field(
        "ods",
        pattern=r"^[a-z][a-z0-9_]{0,127}$",
        description="dataset of BigQuery, in small letters, and schema of DuckDB; made when it does not exist",
    )
    bigquery_location: str | None = Field(
        None,
        description="location of the dataset, for example `asia-east1`; it cannot be changed later; unset: Google's "
        "choice",
    )

    table_prefix: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]{0,59})?$",
        description="what the names of our tables begin with, in small letters, where older tables have the names "
        "themselves; with another one, new tables are made and the old ones stay; unset: nothing",
    )
    views_dataset: str | None = Field(
        None,
        pattern=r"^[a-z][a-z0-9_]{0,127}$",
        description="dataset of BigQuery, or schema of DuckDB, for views with the column names of the older tables; "
        "made when it does not exist; unset: no views",
    )

    vault_url: Annotated[str, AfterValidator(_folder_or_bucket)] | None = Field(
        None, description="folder of the vault, or `gs://bucket/folder`; unset: under `PYCONTW_HOME`"
    )
    vault_key: SecretStr | None = Field(
        None,
        description="Fernet keys, comma-separated: the first encrypts, all decrypt; without its key the vault is lost; "
        "unset: made once in the sandbox",
    )
    ledger_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the ledger; unset: SQLite under `PYCONTW_HOME`"
    )
    pseudonym_key: SecretStr | None = Field(
        None,
        description="key for hashing; recommended, because phone numbers can be guessed from plain hashes; set it "
        "before the first poll, because the ledger refuses another one later; unset: plain SHA-256",
    )

    poll_interval_seconds: int = Field(300, ge=1, le=86_400, description="seconds between two ticks of the sensor")
    refresh_seconds: int = Field(
        3600,
        ge=0,
        le=30 * 86_400,
        description="shortest time between two reads of a known, paid attendee; 0: every poll reads everybody again",
    )
    revoke_limit: int | None = Field(
        None,
        ge=0,
        description="most revocations of one poll without `poll --allow revoke`; unset: the larger of 5 and 10 % of "
        "the people let in",
    )
    invite_limit: int = Field(
        2000,
        ge=0,
        description="most invitations that one poll may start without `poll --allow invite`",
    )
    retention_days: int = Field(
        180,
        ge=1,
        le=36_500,
        description="days after an event was last listed, or an export was imported, until the orders leave the vault; "
        "the table rows stay",
    )
    policy_file: Path | None = Field(
        None,
        description="file with this installation's own rules for questions and answers of the form, which add to those "
        "of the package; `policy suggest` prints its entries, and a change needs a restart; unset: none",
    )
    answers_kept_percent: int = Field(
        90,
        ge=0,
        le=100,
        description="share of the answers to a question that should be kept whole; below it the check "
        "`answers_are_kept` of a table warns",
    )
    pace_alarm_percent: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="alarm when seven days sold less than this share of the low end of their range (`100`: below the "
        "range); unset: no alarm",
    )
    dashboard_url: Annotated[HttpUrl, AfterValidator(_without_credentials)] | None = Field(
        None, description="link at the end of the daily message, for example to a dashboard; unset: none"
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="where alarms and the day's sales go: Apprise URLs (Discord: `discord://<webhook id>/<token>`), "
        "separated by blanks; unset: nobody is alerted",
    )
    heartbeat_url: SecretStr | None = Field(
        None, description="fetched after every good poll, for a dead man's switch; unset: none"
    )

    @property
    def tick_seconds(self) -> float:
        """The time that a tick of the sensor has for reading. The rest is for what follows from it."""
        return 0.6 * self.dagster_sensor_grpc_timeout_seconds

    @property
    def home(self) -> Path:
        # Invented people never share a folder with real ones by default.
        default = Path("~/.pycontw_assets" if self.pycontw_env == "production" else "~/.pycontw_assets_sandbox")
        return (self.pycontw_home or default).expanduser().resolve()

    @property
    def dagster_folder(self) -> Path:
        return self.dagster_home.expanduser() if self.dagster_home else self.home / "dagster"

    @property
    def duckdb_file(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def sandbox_key_file(self) -> Path:
        """The key of a sandbox's vault without ``VAULT_KEY``, made once."""
        return self.home / "vault.key"

    @property
    def ledger_file(self) -> Path | None:
        """The file of the embedded ledger; ``None`` with ``LEDGER_URL``."""
        return None if self.ledger_url else self.home / "ledger.sqlite"

    @property
    def ledger_location(self) -> str | Path:
        """The file of the embedded ledger, or the SQLAlchemy URL of another one, which may hold a password."""
        return self.ledger_url.get_secret_value() if self.ledger_url else self.home / "ledger.sqlite"

    def unusable_folders(self) -> list[str]:
        """Return a text per folder in which Dagster or DuckDB would open other files than those that were meant."""
        folders = {"PYCONTW_HOME": self.home, "DAGSTER_HOME": self.dagster_folder if self.dagster_home else None}
        return [
            f"{name}: its path holds a ? or a % with two digits, which Dagster and DuckDB take for a part of a URL; "
            "choose another folder"
            for name, folder in folders.items()
            if folder and re.search(r"\?|%[0-9A-Fa-f]{2}", str(folder))
        ]

    @property
    def gather_is_off(self) -> bool:
        return self.gather_api_url == OFF or "gather" not in self.venues.split(",")

    @property
    def discord_is_off(self) -> bool:
        return "discord" not in self.venues.split(",")

    @property
    def mail_is_off(self) -> bool:
        return self.klaviyo_api_url == OFF

    @property
    def switched_off(self) -> list[str]:
        """Return a text for each step that is switched off."""
        texts = {
            "Gather: everybody with a ticket counts as let in": self.gather_is_off,
            "mail: nobody is invited, and no list is kept": self.mail_is_off,
            "the video: the mail has no link to it": self.video_url is None and not self.mail_is_off,
        }
        return [text for text, is_off in texts.items() if is_off]

    @property
    def video_url(self) -> str | None:
        """The video link of the mail; ``None``: the mail has none."""
        return None if self.invitation_video_url == OFF else self.invitation_video_url

    def missing_in_production(self) -> list[str]:
        """Return the names of the variables that production needs and that are not set.

        A step that is switched off needs nothing but its switch.
        """
        needed = ["kktix_api_url", "kktix_api_token", "klaviyo_api_url", "vault_key"]
        if "gather" in self.venues.split(","):
            needed.append("gather_api_url")
        if not self.discord_is_off:
            needed += [
                "discord_api_url",
                "discord_bot_token",
                "discord_guild_id",
                "discord_channel_id",
                "discord_roles",
            ]
        if not self.gather_is_off:
            needed += ["gather_api_key", "gather_space_id"]
        if not self.mail_is_off:
            needed += ["klaviyo_api_key", "klaviyo_from_email", "klaviyo_from_label", "klaviyo_reply_to"]
            needed += ["invitation_venue_url", "invitation_video_url"]
        if self.warehouse == "bigquery":
            needed.append("bigquery_project")
        return [name.upper() for name in needed if name not in self.model_fields_set]

    def misplaced_services(self) -> list[str]:
        """Return a line for each service that this environment may not talk to, and the way out."""
        urls = {
            "KKTIX_API_URL": self.kktix_api_url,
            "KLAVIYO_API_URL": self.klaviyo_api_url,
            "GATHER_API_URL": OFF if self.gather_is_off else self.gather_api_url,
            "DISCORD_API_URL": OFF if self.discord_is_off else self.discord_api_url,
        }
        elsewhere = {name: url for name, url in urls.items() if url != OFF and not _is_on_this_machine(url)}
        if self.pycontw_env == "sandbox":
            return [
                f"{name}: is not on this machine, and the sandbox talks to nothing else; set PYCONTW_ENV=production "
                "for real services"
                for name in elsewhere
            ]
        return [
            f"{name}: starts with http://, so its key and personal data would travel in clear; use https://"
            for name, url in elsewhere.items()
            if url.startswith("http://")
        ]


def _is_on_this_machine(url: str) -> bool:
    host = _host_of(url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def name_env_file(file: Path) -> None:
    """Make this process and its children read ``file`` instead of the ``.env`` of the working directory."""
    os.environ[_ENV_FILE] = str(file.expanduser().absolute())


def env_file() -> Path | None:
    """Return the file that is read next to the environment; ``None``: there is no ``.env``, and none was named."""
    if named := os.environ.get(_ENV_FILE):
        return Path(named).absolute()
    file = Path(".env").absolute()
    return file if file.exists() and not file.is_dir() else None  # some call their virtual environment .env


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and ``env_file``. Raise ``InvalidSettings`` with all that is wrong."""
    settings = _read(overrides)
    wrong = [*settings.misplaced_services(), *settings.unusable_folders()]
    if settings.mail_is_off and not settings.discord_is_off:
        wrong.append(
            "VENUES: has discord, and KLAVIYO_API_URL is `off`: nobody would get the links; change one of them"
        )
    if settings.pycontw_env == "production":
        wrong += [
            f"{name}: is not set, and PYCONTW_ENV=production needs it; set it"
            for name in settings.missing_in_production()
        ]
    if wrong:
        raise InvalidSettings("\n".join(wrong))
    if settings.warehouse == "bigquery" and settings.bigquery_project is None:
        raise InvalidSettings("BIGQUERY_PROJECT: is not set, and WAREHOUSE=bigquery needs it; set it")
    return settings


def _read(overrides: dict[str, Any]) -> Settings:
    file = env_file()
    # The library takes a file that is not there for an empty one.
    if file and (file.is_dir() or not file.exists()):
        raise InvalidSettings(f"{file}: is no file; --env-file and {_ENV_FILE} name the file with the settings")
    try:
        if file:
            _refuse_expanded_secrets(file)
        return Settings(_env_file=file, **overrides)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explain(problem) for problem in error.errors())) from None
    except SettingsError as error:
        raise InvalidSettings(f"{_field_of(error)}: is not valid JSON; see docs/settings.md for its form") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{file}: cannot be read ({type(error).__name__})") from None


def _refuse_expanded_secrets(file: Path) -> None:
    """Raise ``InvalidSettings`` where a secret of the file would be read as another one.

    python-dotenv replaces ``${…}`` in every value, within single quotes too, and by nothing where no variable has that
    name.
    """
    written, read = dotenv_values(file, interpolate=False), dotenv_values(file)
    for name, value in written.items():
        field = Settings.model_fields.get(name.lower())
        if field and "SecretStr" in str(field.annotation) and value != read[name] and name.upper() not in os.environ:
            raise InvalidSettings(
                f"{name.upper()}: its value in {file} has a ${{…}}, which is replaced when the file is read; set this "
                "variable in the environment instead, or make a key without it"
            )


def set_for_library(variable: str, value: str) -> None:
    """Set a variable that only a library reads, for this process, unless somebody has set it."""
    os.environ.setdefault(variable, value)


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]).upper()
    description = Settings.model_fields[name.lower()].description if name.lower() in Settings.model_fields else ""
    return f"{name}: {problem['msg']}. It is: {description}"


def _field_of(error: SettingsError) -> str:
    names = [name for name in Settings.model_fields if f'"{name}"' in str(error)]
    return names[0].upper() if names else "a JSON variable (KKTIX_EVENTS, KLAVIYO_LISTS or OPENING_DAYS)"
