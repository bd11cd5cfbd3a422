"""A wrong variable is named, no value is quoted, and production starts with nothing missing."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.server import DEFAULT_PORT
from pycontw_assets.settings import SANDBOX_PORT, InvalidSettings, Settings, load_settings

SECRET = "a-very-secret-value"
PRODUCTION = {
    "PYCONTW_ENV": "production",
    "KKTIX_API_URL": "https://kktix.example.com/api",
    "KKTIX_API_TOKEN": SECRET,
    "GATHER_API_URL": "https://gather.example.com",
    "GATHER_API_KEY": SECRET,
    "GATHER_SPACE_ID": "AbCdEfGh12345678\\Py Venue",
    "KLAVIYO_API_URL": "https://klaviyo.example.com",
    "KLAVIYO_API_KEY": SECRET,
    "KLAVIYO_FROM_EMAIL": "tickets@example.org",
    "KLAVIYO_FROM_LABEL": "PyCon TW",
    "KLAVIYO_REPLY_TO": "help@example.org",
    "INVITATION_VENUE_URL": "https://venue.example.com",
    "INVITATION_VIDEO_URL": "https://youtu.be/invented0000",
    "VAULT_KEY": SECRET,
}


def use(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    use(monkeypatch, **variables)
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_without_any_variable_everything_points_at_the_sandbox() -> None:
    settings = load_settings()
    assert settings.pycontw_env == "sandbox"
    for url in (settings.kktix_api_url, settings.gather_api_url, settings.klaviyo_api_url):
        assert url.startswith(f"http://127.0.0.1:{SANDBOX_PORT}/")


def test_the_defaults_are_those_of_the_sandbox() -> None:
    settings = load_settings()
    assert SANDBOX_PORT == DEFAULT_PORT
    assert settings.kktix_api_token.get_secret_value() == keys.KKTIX_TOKEN
    assert settings.gather_api_key.get_secret_value() == keys.GATHER_KEY
    assert settings.gather_space_id == keys.GATHER_SPACE_ID
    assert settings.klaviyo_api_key.get_secret_value() == keys.KLAVIYO_KEY


def test_production_starts_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, **PRODUCTION)
    assert load_settings().pycontw_env == "production"


@pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"PYCONTW_ENV"}))
@pytest.mark.parametrize("value", [None, ""])
def test_production_names_each_missing_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    variables = {**PRODUCTION, name: value or ""}
    text = refusal(monkeypatch, **variables)
    assert text.startswith(f"{name}: ")
    assert len(text.splitlines()) == 1


def test_production_without_anything_names_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = refusal(monkeypatch, PYCONTW_ENV="production")
    assert {line.split(":")[0] for line in text.splitlines()} == PRODUCTION.keys() - {"PYCONTW_ENV"}


def test_with_the_guest_list_switched_off_its_key_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {name: value for name, value in PRODUCTION.items() if name not in ("GATHER_API_KEY", "GATHER_SPACE_ID")}
    use(monkeypatch, **{**variables, "GATHER_API_URL": "off"})
    assert load_settings().gather_is_off


def test_with_guest_list_and_mail_off_production_needs_kktix_and_the_vault_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = {name: PRODUCTION[name] for name in ("PYCONTW_ENV", "KKTIX_API_URL", "KKTIX_API_TOKEN", "VAULT_KEY")}
    use(monkeypatch, **needed, GATHER_API_URL="off", KLAVIYO_API_URL="off")
    assert [text.split(":")[0] for text in load_settings().switched_off] == ["Gather", "mail"]


def test_bigquery_needs_its_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "BIGQUERY_PROJECT" in refusal(monkeypatch, **PRODUCTION, WAREHOUSE="bigquery")
    assert "BIGQUERY_PROJECT" in refusal(monkeypatch, WAREHOUSE="bigquery")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYCONTW_ENV", "staging"),
        ("KKTIX_API_URL", "kktix.example.com"),
        ("GATHER_API_URL", "OFF"),
        ("KLAVIYO_API_URL", "ftp://example.com"),
        ("EDITION", "31"),
        ("EDITION", "1999"),
        ("EDITION", "２０３１"),
        ("KKTIX_EVENTS", "{not json"),
        ("KKTIX_EVENTS", '["90001"]'),
        ("KKTIX_EVENTS", '{"90001": {"edition": "2031"}}'),
        ("KKTIX_EVENTS", '{"90001": {"edition": "２０３１", "family": "individual"}}'),
        ("KKTIX_EVENTS", '{"90001": {"edition": "2031", "family": "vip"}}'),
        ("KKTIX_EVENTS", '{"PyCon": {"edition": "2031", "family": "individual"}}'),
        ("KKTIX_EVENTS", '{"９０": null}'),
        ("KLAVIYO_LISTS", '{"a": ["b"]}'),
        ("INVITATION_SEND_AT", "tomorrow"),
        ("INVITATION_SEND_AT", "2031-09-02T09:00:00"),
        ("WAREHOUSE", "excel"),
        ("BIGQUERY_DATASET", "ods; drop"),
        ("BIGQUERY_DATASET", "Ods"),
        ("VAULT_URL", "s3://bucket"),
        ("POLL_INTERVAL_SECONDS", "0"),
        ("POLL_INTERVAL_SECONDS", "five"),
        ("REFRESH_SECONDS", "-1"),
        ("REVOKE_LIMIT", "many"),
        ("INVITE_LIMIT", "-5"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    text = refusal(monkeypatch, **{name: value})
    assert text.startswith(f"{name}: ")
    if value not in ("OFF", "0", "-1", "-5", "31"):
        assert value not in text


@pytest.mark.parametrize(
    "name", ["KKTIX_REQUESTS_PER_SECOND", "POLL_INTERVAL_SECONDS", "REFRESH_SECONDS", "RETENTION_DAYS"]
)
def test_a_number_that_no_clock_could_follow_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert refusal(monkeypatch, **{name: str(10**9)}).startswith(f"{name}: ")


def test_no_secret_is_shown_by_printing_or_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = dict.fromkeys(
        ("KKTIX_API_TOKEN", "GATHER_API_KEY", "KLAVIYO_API_KEY", "VAULT_KEY", "PSEUDONYM_KEY"), SECRET
    )
    urls = dict.fromkeys(("LEDGER_URL", "ALERT_URLS", "HEARTBEAT_URL"), f"scheme://user:{SECRET}@example.org")
    use(monkeypatch, **secrets, **urls)
    settings = load_settings()
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert SECRET not in refusal(monkeypatch, REVOKE_LIMIT="many")


def test_a_time_to_send_at_is_kept_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, INVITATION_SEND_AT="2031-09-01T09:00:00+08:00")
    assert load_settings().invitation_send_at == datetime(2031, 9, 1, 1, tzinfo=timezone.utc)


def test_a_slash_at_the_end_of_a_base_url_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, KLAVIYO_API_URL="http://localhost/prefix/")
    assert load_settings().klaviyo_api_url == "http://localhost/prefix"


def test_events_are_mapped_or_ignored_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, KKTIX_EVENTS=json.dumps({"1": {"edition": "2031", "family": "reserved"}, "2": None}))
    mapped = load_settings().kktix_events
    assert (mapped["1"].family, mapped["2"]) == ("reserved", None)  # type: ignore[union-attr]


def test_an_env_file_counts_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EDITION=2030\nREVOKE_LIMIT=7\nSOMETHING_ELSE=1\n")
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, EDITION="2031")
    settings = load_settings()
    assert (settings.edition, settings.revoke_limit) == ("2031", 7)


def test_a_secret_that_would_be_read_as_another_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """python-dotenv 1.2.4 replaces ``${…}`` within single quotes, too, and by nothing if no variable has the name."""
    (tmp_path / ".env").write_text(f"GATHER_API_KEY='{SECRET}${{x}}'\nPYCONTW_HOME=${{HOME}}/kept\n")
    monkeypatch.chdir(tmp_path)
    message = refusal(monkeypatch)
    assert message.startswith("GATHER_API_KEY: ")
    assert SECRET not in message
    use(monkeypatch, GATHER_API_KEY=f"{SECRET}${{x}}", HOME=str(tmp_path))
    assert load_settings().gather_api_key.get_secret_value() == f"{SECRET}${{x}}"
    assert load_settings().pycontw_home == tmp_path / "kept"


def test_every_variable_has_a_description() -> None:
    fields: dict[str, Any] = dict(Settings.model_fields)
    assert [name for name, field in fields.items() if not field.description] == []


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_settings().edition = "2030"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["what?", "q?mode=memory", "a%20b", "100%25"])
def test_a_folder_that_would_be_taken_for_a_url_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Dagster and DuckDB open other files than those that are meant there, some of them in another folder."""
    assert "choose another folder" in refusal(monkeypatch, PYCONTW_HOME=str(tmp_path / name))
    assert refusal(monkeypatch, PYCONTW_HOME=str(tmp_path), DAGSTER_HOME=str(tmp_path / name)).startswith(
        "DAGSTER_HOME"
    )


@pytest.mark.parametrize("name", ["50% off", "中文 資料", "a#b;c&d", "%s"])
def test_any_other_path_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    use(monkeypatch, PYCONTW_HOME=str(tmp_path / name))
    assert load_settings().home == (tmp_path / name).resolve()
