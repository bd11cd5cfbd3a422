"""A ledger belongs to one environment and its services. In another place it is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.commands.cli import main
from pycontw_assets.ledger.consistency.place import Place, check_place, record_place
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import meta
from pycontw_assets.ledger.events import known_events, register_events
from pycontw_assets.ledger.guest_lists import enter_space
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.restoration import mark_invited
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import Settings
from pycontw_assets_tests.unit.conftest import PARTITION, PSEUDONYMIZER, keys
from pycontw_assets_tests.unit.test_settings import PRODUCTION

SANDBOX = Place("sandbox")
REAL = Place("production", {"KKTIX_API_URL": "kktix.example/events", "KLAVIYO_API_URL": "klaviyo.example"})
ELSEWHERE = Place("production", {**REAL.services, "KKTIX_API_URL": "kktix.example/other"})
VAULT_KEY = "t6Zxsl1WcIYYQXXmvxJ5dZHXpOJZRzHmnIeGS3GW6Vk="


# -- the decision -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "now", "words"),
    [
        (REAL, SANDBOX, "belongs to PYCONTW_ENV=production, and PYCONTW_ENV is sandbox"),
        (SANDBOX, REAL, "belongs to PYCONTW_ENV=sandbox, and PYCONTW_ENV is production"),
        (REAL, ELSEWHERE, "another service: KKTIX_API_URL was kktix.example/events, and is kktix.example/other now"),
    ],
)
def test_a_ledger_of_another_place_is_refused_with_the_way_out(
    ledger: Ledger, stored: Place, now: Place, words: str
) -> None:
    record_place(ledger, stored)
    check_place(ledger, stored)
    with pytest.raises(LedgerError, match=rf"{words}.*nothing was changed.*Set the old one again"):
        check_place(ledger, now)
    check_place(ledger, stored)


def test_a_service_may_move_by_a_persons_word_and_an_environment_never(ledger: Ledger) -> None:
    record_place(ledger, REAL)
    check_place(ledger, ELSEWHERE, accepts_services=True)
    record_place(ledger, ELSEWHERE)
    check_place(ledger, ELSEWHERE)
    with pytest.raises(LedgerError, match="KKTIX_API_URL"):
        check_place(ledger, REAL)
    with pytest.raises(LedgerError, match="PYCONTW_ENV"):
        check_place(ledger, SANDBOX, accepts_services=True)


def test_a_sandbox_may_move_to_another_port(ledger: Ledger) -> None:
    record_place(ledger, SANDBOX)
    check_place(ledger, Place("sandbox", {"KKTIX_API_URL": "127.0.0.1:1"}))


# -- ledgers that name no environment -----------------------------------------------------------------


@pytest.mark.parametrize("place", [SANDBOX, REAL])
def test_a_new_ledger_belongs_to_whoever_opens_it_first(ledger: Ledger, place: Place) -> None:
    check_place(ledger, place)


@pytest.mark.parametrize("use", ["event", "people"])
def test_an_older_ledger_in_use_is_never_taken_by_a_sandbox_that_does_not_know_it(ledger: Ledger, use: str) -> None:
    if use == "event":
        register_events(ledger, [PARTITION])
    else:
        mark_invited(ledger, "2031", keys("anna@example.org"))
    with pytest.raises(LedgerError, match="before ledgers named their environment"):
        check_place(ledger, SANDBOX)
    check_place(ledger, REAL)
    check_place(ledger, Place("sandbox", looks_used_here=True))


# -- a whole installation -----------------------------------------------------------------------------


def compose(home: Path, environment: str = "production", **variables: Any) -> Composition:
    given = {name.lower(): value for name, value in PRODUCTION.items()} if environment == "production" else {}
    given |= {"pycontw_env": environment, "pycontw_home": home} | variables
    if environment == "production":
        given |= {"vault_key": VAULT_KEY, "edition": "2031"} | variables
    return Composition(lambda: Settings(_env_file=None, **given))


def content(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def as_an_older_version_left_it(ledger: Ledger) -> None:
    """Forget the environment, and use the ledger."""
    register_events(ledger, [PARTITION])
    with ledger.engine.begin() as db:
        db.execute(sa.delete(meta).where(meta.c.name.in_(("environment", "KKTIX_API_URL", "KLAVIYO_API_URL"))))
    ledger.engine.dispose()


@pytest.mark.parametrize("part", ["ledger", "vault", "ledger_to_read"])
@pytest.mark.parametrize("is_older", [False, True], ids=["ledger of today", "ledger of an older version"])
def test_a_sandbox_over_real_data_writes_nothing_at_all(tmp_path: Path, is_older: bool, part: str) -> None:
    real = compose(tmp_path).ledger
    real.check_identity(PSEUDONYMIZER.fingerprint)
    if is_older:
        enter_space(real, "2031", "ABCdef123\\Real")
        as_an_older_version_left_it(real)
    real.engine.dispose()
    before = content(tmp_path)
    with pytest.raises(LedgerError, match="nothing was changed"):
        getattr(compose(tmp_path, "sandbox"), part)
    assert content(tmp_path) == before
    assert known_events(compose(tmp_path).ledger) == ({PARTITION.event_id: PARTITION} if is_older else {})


def test_a_sandbox_of_an_older_version_goes_on_and_is_refused_to_production(tmp_path: Path) -> None:
    sandbox = compose(tmp_path, "sandbox")
    _ = sandbox.vault
    enter_space(sandbox.ledger, "2031", sandbox.settings.gather_space_id)
    as_an_older_version_left_it(sandbox.ledger)
    assert known_events(compose(tmp_path, "sandbox").ledger)
    with pytest.raises(LedgerError, match="PYCONTW_ENV=sandbox"):
        _ = compose(tmp_path).ledger


def test_real_data_of_an_older_version_belongs_to_production_from_its_first_poll_on(tmp_path: Path) -> None:
    as_an_older_version_left_it(compose(tmp_path).ledger)
    assert known_events(compose(tmp_path).ledger)
    with pytest.raises(LedgerError, match="PYCONTW_ENV=production"):
        _ = compose(tmp_path, "sandbox").ledger


def test_users_and_keys_in_a_url_are_not_stored(tmp_path: Path) -> None:
    ledger = compose(tmp_path, kktix_api_url="https://user:secret@EXAMPLE.org/events?token=secret").ledger
    with ledger.engine.begin() as db:
        stored = {row.name: row.value for row in db.execute(sa.select(meta))}
    assert stored["KKTIX_API_URL"] == "example.org/events"
    _ = compose(tmp_path, kktix_api_url="https://other@example.org/events").ledger


def test_every_command_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    compose(tmp_path).ledger.engine.dispose()
    monkeypatch.setenv("PYCONTW_HOME", str(tmp_path))
    for command in (
        ["poll"],
        ["plan"],
        ["dev"],
        ["status"],
        ["rebuild-ledger"],
        ["rename-event", "1", "2031-reserved-1"],
    ):
        assert main(command) == 2, command
        assert "belongs to PYCONTW_ENV=production" in capsys.readouterr().err
