"""The Resources page shows every system, where it is, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import Settings

SYSTEMS = {"kktix", "gather", "klaviyo", "vault", "ledger", "warehouse", "alerts"}
SECRET = "do-not-show-this"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        pycontw_home=tmp_path,
        kktix_api_url=f"https://user:{SECRET}@kktix.example.org/api/v2/hosting_events?key={SECRET}",
        kktix_api_token=SECRET,
        gather_api_url=f"https://{SECRET}@gather.example.org",
        gather_api_key=SECRET,
        klaviyo_api_key=SECRET,
        ledger_url=f"postgresql://pycontw:{SECRET}@database.example.org/ledger",
        pseudonym_key=SECRET,
        alert_urls=f"discord://1234/{SECRET}",
    )


def shown(settings: Settings) -> dict[str, str]:
    """Resource -> the text of the page."""
    resources = build_definitions(Composition(lambda: settings)).get_repository_def().get_top_level_resources()
    return {name: str(resource.description) for name, resource in resources.items()}


def test_every_system_is_a_resource(settings: Settings) -> None:
    texts = shown(settings)
    assert texts.keys() >= SYSTEMS
    assert all(texts[name] for name in texts)


def test_a_resource_says_where_its_system_is(settings: Settings) -> None:
    texts = shown(settings)
    assert "https://kktix.example.org/api/v2/hosting_events" in texts["kktix"]
    assert "https://gather.example.org" in texts["gather"]
    assert "On a server." in texts["ledger"]


def test_no_resource_shows_a_secret(settings: Settings) -> None:
    values = [v.get_secret_value() for v in dict(settings).values() if isinstance(v, SecretStr)]
    assert [SECRET in value for value in values].count(True) >= 6
    assert not [name for name, text in shown(settings).items() if SECRET in text]


def test_a_step_that_is_off_says_so(settings: Settings) -> None:
    assert "Switched off." in shown(settings.model_copy(update={"gather_api_url": "off"}))["gather"]
