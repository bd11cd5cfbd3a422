"""Commands say where they look. An empty sandbox, or a folder that no poll ever used, never passes for an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.instance import describe_place
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.ledger import Ledger, has_ledger
from pycontw_assets.records import EventPartition
from pycontw_assets.settings import InvalidSettings, Settings, load_settings
from pycontw_assets_tests.unit.test_settings import PRODUCTION

ANNA = "anna@example.org"
ABOUT_PEOPLE = [
    *(["status"], ["status", "--json"], ["trace", ANNA], ["refresh", ANNA], ["erase", ANNA, "--yes"]),
    *(["release", "abc"], ["rename-event", "90001", "2031-individual-90001"], ["pause"], ["resume"]),
]
VAULT_KEY = "t6Zxsl1WcIYYQXXmvxJ5dZHXpOJZRzHmnIeGS3GW6Vk="


def write_env(folder: Path, home: Path) -> Path:
    """Write a ``.env`` of production whose services are never reached."""
    folder.mkdir(exist_ok=True)
    variables = {**PRODUCTION, "VAULT_KEY": VAULT_KEY, "PYCONTW_HOME": str(home)}
    file = folder / ".env"
    file.write_text("".join(f"{name}='{value}'\n" for name, value in variables.items()))
    return file


def use_home(home: Path) -> None:
    home.mkdir()
    ledger = Ledger(f"sqlite:///{home}/ledger.sqlite")
    register_events(ledger, [EventPartition(90001, "2031", "individual")])


@pytest.mark.parametrize("command", ABOUT_PEOPLE, ids=" ".join)
def test_a_sandbox_that_was_never_used_says_so_and_makes_nothing(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == f"looking in: sandbox, data folder {Path.home()}/.pycontw_assets_sandbox (no .env in {Path.cwd()})"
    assert second.startswith("this sandbox was never used, so it knows nobody")
    assert list(Path.home().iterdir()) == []


def test_nobody_is_marked_as_invited_in_a_sandbox_that_was_never_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "people"
    file.write_text(f"{ANNA}\n")
    assert main(["mark-invited", str(file), "--edition", "2031"]) == 1
    assert "never used" in capsys.readouterr().err
    assert list(Path.home().iterdir()) == []


def test_a_folder_of_production_that_no_poll_used_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_env(tmp_path / "app", tmp_path / "wrong home")
    assert main(["--env-file", str(file), "trace", ANNA]) == 1
    assert "no poll ever ran with this data folder" in capsys.readouterr().err
    assert not (tmp_path / "wrong home").exists()


@pytest.mark.parametrize(
    "words", [["--env-file", "FILE", "status"], ["--env-file=FILE", "status"], ["status", "--env-file", "FILE"]]
)
def test_a_named_file_pins_production_from_every_folder(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, home = write_env(tmp_path / "app", tmp_path / "home"), tmp_path / "home"
    use_home(home)
    assert main([word.replace("FILE", str(file)) for word in words]) == 0
    out, err = capsys.readouterr()
    assert err == f"looking in: production, data folder {home} (settings from {file})\n"
    assert out.startswith("edition 2031: 1 events")


def test_the_env_file_of_the_folder_is_named_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_home(tmp_path / "home")
    monkeypatch.chdir(write_env(tmp_path / "app", tmp_path / "home").parent)
    assert main(["status"]) == 0
    assert f"production, data folder {tmp_path}/home (settings from {tmp_path}/app/.env)" in capsys.readouterr().err


def test_children_read_the_named_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings").write_text("EDITION=2033\n")
    monkeypatch.chdir(tmp_path)
    assert main(["--env-file", "settings", "status"]) == 1
    monkeypatch.chdir(Path.home())
    assert load_settings().edition == "2033"


@pytest.mark.parametrize("kind", ["missing", "folder", "not text"])
def test_a_named_file_that_cannot_be_read_is_no_empty_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings"
    if kind == "folder":
        file.mkdir()
    elif kind == "not text":
        file.write_bytes(b"EDITION=\xff\xfe\n")
    assert main(["--env-file", str(file), "status"]) == 2
    assert str(file) in capsys.readouterr().err


def test_a_folder_called_env_is_no_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_settings().edition is None


def test_a_password_of_the_ledger_is_not_in_the_line() -> None:
    settings = Settings(_env_file=None, ledger_url="postgresql://ledger:secret-word@example.org/ledger")
    place = describe_place(settings)
    assert "ledger of LEDGER_URL" in place
    assert "secret-word" not in place


def test_an_empty_database_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").touch()
    assert not has_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


# -- invented and real people are kept apart -----------------------------------------------------------


def test_sandbox_and_production_have_homes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = load_settings().home
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    production = load_settings().home
    assert production == Path.home() / ".pycontw_assets"
    assert sandbox == Path.home() / ".pycontw_assets_sandbox"


def test_dev_refuses_the_settings_of_production(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_env(tmp_path / "app", tmp_path / "home")
    assert main(["dev", "--env-file", str(file)]) == 2
    assert "PYCONTW_ENV: is production, and dev plays with invented buyers" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://a.klaviyo.com",
        "http://127.0.0.1@klaviyo.example.com",
        "https://localhost.example.com",
        "http://10.0.0.7:8031",
        "http://[2001:db8::1]",
    ],
)
@pytest.mark.parametrize("name", ["KKTIX_API_URL", "GATHER_API_URL", "KLAVIYO_API_URL"])
def test_the_sandbox_refuses_services_of_other_machines(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"{name}: is not on this machine")
    assert "PYCONTW_ENV=production" in line
    assert "example.com" not in line


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.8.9.1/prefix", "http://localhost:1", "http://[::1]:1"]
)
def test_the_sandbox_takes_any_service_of_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLAVIYO_API_URL", url)
    assert load_settings().klaviyo_api_url == url


def test_production_sends_no_key_over_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GATHER_API_URL", "http://gather.example.com")
    monkeypatch.setenv("KKTIX_API_URL", "http://127.0.0.1:8031/kktix")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    [line] = str(refused.value).splitlines()
    assert line.startswith("GATHER_API_URL: starts with http://")


@pytest.mark.parametrize("url", ["http://", "https:///path", "http://[::1", "http://exa\u2100mple.org"])
def test_a_url_without_a_host_is_refused_and_not_quoted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KKTIX_API_URL", url)
    with pytest.raises(InvalidSettings, match="KKTIX_API_URL: Value error, names no host") as refused:
        load_settings()
    assert "mple" not in str(refused.value)
