"""Every test starts with an empty environment and a home of its own. Sockets beyond loopback are shut by pyproject."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

# What the interpreter, the terminal and the test tools need; everything else could be somebody's real setting.
_KEPT = ("PATH", "LANG", "TMPDIR", "TERM", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("PYTEST_", "PYTHON", "LC_", "COV_", "COVERAGE_", "PLAYWRIGHT_")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The browser tests run in CI (``CI=true``) or when asked for; then first, since they mostly wait."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)
    if not os.environ.get("CI") and "browser" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = items[len(left_out) :]


@pytest.fixture(scope="session", autouse=True)
def empty_environment() -> Iterator[None]:
    """No variable of the person who runs the tests reaches them."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    with mock.patch.dict(os.environ, {**kept, "TZ": "UTC"}, clear=True):
        yield


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No ``.env`` and no home folder either; and what a test sets does not survive it."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.chdir(home)
    with mock.patch.dict(os.environ, {"HOME": str(home)}):
        yield
