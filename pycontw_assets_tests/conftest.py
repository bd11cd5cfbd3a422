"""Every test starts with an empty environment and its own home. pyproject.toml allows only loopback sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from pycontw_assets.api import log
from pycontw_assets_tests.postgres import postgres as postgres

# Variables of the interpreter, the terminal and the test tools. All others could be somebody's real settings.
_KEPT = ("PATH", "LANG", "TMPDIR", "TERM", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("PYTEST_", "PYTHON", "LC_", "COV_", "COVERAGE_", "PLAYWRIGHT_")


# Tests that cost or need too much for a developer's default.
_ONLY_WHEN_ASKED = ("browser", "bigquery", "long")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--warehouse",
        choices=["duckdb", "bigquery"],
        default="duckdb",
        help="where the pipelines of pipeline/ keep their tables; bigquery: in an emulator",
    )
    parser.addoption(
        "--production",
        action="store_true",
        help="BigQuery, a vault in Cloud Storage and a ledger in PostgreSQL at once, for the pipelines of pipeline/",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs only in CI (``CI=true``) or on request (``-m browser``). Browser tests run first."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    asked = config.option.markexpr
    unasked = [name for name in _ONLY_WHEN_ASKED if name not in asked and not os.environ.get("CI")]
    if config.getoption("production") or config.getoption("warehouse") != "duckdb":
        unasked.append("embedded")
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def empty_environment() -> Iterator[None]:
    """Remove the variables of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    with mock.patch.dict(os.environ, {**kept, "TZ": "UTC"}, clear=True):
        yield


@pytest.fixture(scope="session", autouse=True)
def strict_log_fields() -> Iterator[None]:
    """Fail a test that writes a log line with an unknown field."""
    with mock.patch.object(log, "is_strict", True):
        yield


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide ``.env`` and the home folder too, and undo a test's own settings after it."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.chdir(home)
    with mock.patch.dict(os.environ, {"HOME": str(home)}):
        yield
