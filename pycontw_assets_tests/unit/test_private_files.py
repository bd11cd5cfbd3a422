"""Only their owner reads the files of a data folder, whoever made it, and other people's files are left alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.commands.doctor import _check_modes
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import Settings
from pycontw_assets_tests.pipeline.engines import frame, put


@pytest.fixture(autouse=True)
def usual_mask() -> Iterator[None]:
    """Begin with the mask of a usual login, and restore the one of the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): stat.S_IMODE(path.stat().st_mode) for path in (home, *home.rglob("*"))}


def composition(home: Path) -> Composition:
    settings = Settings(_env_file=None, pycontw_home=home, vault_key=Fernet.generate_key().decode())
    return Composition(lambda: settings)


def test_what_is_made_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    root = composition(tmp_path / "home")
    with root.ledger.engine.begin():
        assert (tmp_path / "home" / "ledger.sqlite-wal").exists()
        put(root.warehouse, frame(2))
        found = modes(tmp_path / "home")
    assert {"ledger.sqlite", "ledger.sqlite-wal", "warehouse.duckdb", "warehouse.duckdb.lock"} <= found.keys()
    assert {name: mode for name, mode in found.items() if mode & 0o077} == {}
    assert root.closed_files == 0


def test_an_older_data_folder_is_closed_and_that_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = composition(home)
    _ = first.ledger
    put(first.warehouse, frame(2))
    (home / "vault").mkdir()
    for name in ("vault/2031-corporate-1.orders", "ledger.sqlite.bak"):
        (home / name).write_bytes(b"")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    os.umask(0o022)
    [finding] = _check_modes(home)
    assert (finding.level, finding.fix) == ("warn", "the next poll closes them")
    second = composition(home)
    _ = second.ledger
    assert second.closed_files == len(modes(home))
    assert {mode for mode in modes(home).values() if mode & 0o077} == set()
    assert [finding.level for finding in _check_modes(home)] == ["ok"]


def test_files_of_others_in_the_folder_and_behind_links_are_left_alone(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "public").mkdir(parents=True)
    (home / "public" / "page.html").touch()
    elsewhere.touch()
    (home / "warehouse.duckdb.link").symlink_to(elsewhere)
    before = {**modes(home), "elsewhere": elsewhere.stat().st_mode}
    _ = composition(home).ledger
    after = {**modes(home), "elsewhere": elsewhere.stat().st_mode}
    assert {name: after[name] for name in before} == before
    assert after["ledger.sqlite"] == 0o600
