"""A ledger belongs to one organisation at KKTIX and one account at Klaviyo. A changed key must prove whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pycontw_assets.api.client import Unavailable
from pycontw_assets.ledger.consistency.accounts import recorded_accounts
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.ledger.database.tables import meta
from pycontw_assets.ledger.events import register_events
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.pipeline.consistency.accounts import (
    kktix_token,
    record_kktix_token,
    refuse_other_klaviyo_account,
)
from pycontw_assets.settings import Settings
from pycontw_assets_tests.unit.conftest import OTHER_PARTITION, PARTITION
from pycontw_assets_tests.unit.test_place import VAULT_KEY
from pycontw_assets_tests.unit.test_settings import PRODUCTION


class Klaviyo:
    """A Klaviyo that says which account a key belongs to, and counts how often it was asked."""

    def __init__(self, account: str = "AcC001") -> None:
        self.account = account
        self.asked = 0
        self.is_down = False

    def account_id(self) -> str:
        self.asked += 1
        if self.is_down:
            raise Unavailable("Klaviyo", "read account", "answered 503")
        return self.account


def settings(**variables: Any) -> Settings:
    given = {name.lower(): value for name, value in PRODUCTION.items()}
    return Settings(_env_file=None, **{**given, "pycontw_env": "production", "vault_key": VAULT_KEY, **variables})


def look(ledger: Ledger, *listed: int, **variables: Any) -> str | None:
    """Do what a tick does with the listing."""
    token = kktix_token(listed, ledger=ledger, settings=settings(**variables))
    if token:
        record_kktix_token(token, ledger=ledger)
    return token


def use(klaviyo: Klaviyo, ledger: Ledger, **variables: Any) -> None:
    refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings(**variables))  # type: ignore[arg-type]


# -- KKTIX --------------------------------------------------------------------------------------------


def test_a_token_is_recorded_once_and_never_in_clear(ledger: Ledger) -> None:
    assert look(ledger, 90001, kktix_api_token="secret-of-kktix")
    assert look(ledger, kktix_api_token="secret-of-kktix") is None
    with ledger.engine.begin() as db:
        assert "secret-of-kktix" not in str(db.execute(sa.select(meta)).all())


def test_a_rotated_token_of_the_same_organisation_is_taken_over(ledger: Ledger) -> None:
    look(ledger, 90001)
    register_events(ledger, [PARTITION, OTHER_PARTITION])
    assert look(ledger, PARTITION.event_id, 95000, kktix_api_token="another")
    assert look(ledger, 95000, kktix_api_token="another") is None, "known by now, whatever it lists later"


def test_a_token_of_another_organisation_is_refused_with_the_way_out(ledger: Ledger) -> None:
    look(ledger, 90001)
    register_events(ledger, [PARTITION])
    before = recorded_accounts(ledger)
    for listed in ((), (95000,)):
        with pytest.raises(LedgerError, match=r"another organisation.*Nothing was changed.*poll --allow account"):
            look(ledger, *listed, kktix_api_token="another")
    assert recorded_accounts(ledger) == before
    assert look(ledger) is None, "the old token goes on"


def test_an_older_ledger_takes_the_token_that_it_finds(ledger: Ledger) -> None:
    register_events(ledger, [PARTITION])
    assert look(ledger, 95000)


# -- Klaviyo ------------------------------------------------------------------------------------------


def test_klaviyo_is_asked_once_for_each_key(ledger: Ledger) -> None:
    klaviyo = Klaviyo()
    for _ in range(5):
        use(klaviyo, ledger)
    assert klaviyo.asked == 1
    for _ in range(5):
        use(klaviyo, ledger, klaviyo_api_key="rotated")
    assert klaviyo.asked == 2


def test_another_account_is_refused_every_time_with_the_way_out(ledger: Ledger) -> None:
    use(Klaviyo(), ledger)
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"of the account AcC002, and .*AcC001.*poll --allow account"):
            use(Klaviyo("AcC002"), ledger, klaviyo_api_key="another")
    use(Klaviyo(), ledger)


def test_an_account_that_is_not_known_is_not_taken_for_the_same(ledger: Ledger) -> None:
    klaviyo = Klaviyo()
    use(klaviyo, ledger)
    klaviyo.is_down = True
    with pytest.raises(Unavailable):
        use(klaviyo, ledger, klaviyo_api_key="another")


def test_a_sandbox_asks_nobody(ledger: Ledger) -> None:
    klaviyo, sandbox = Klaviyo(), Settings(_env_file=None)
    refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=sandbox)  # type: ignore[arg-type]
    assert kktix_token([], ledger=ledger, settings=sandbox) is None
    assert not klaviyo.asked
    assert not recorded_accounts(ledger)


# -- a person's word ----------------------------------------------------------------------------------


def test_the_override_lets_other_accounts_be_recorded(tmp_path: Path) -> None:
    def root(*, accepts: bool = False) -> Composition:
        return Composition(lambda: settings(pycontw_home=tmp_path, edition="2031"), accepts_account=accepts)

    ledger = root().ledger
    register_events(ledger, [PARTITION])
    look(ledger, PARTITION.event_id)
    use(Klaviyo(), ledger)
    assert recorded_accounts(root().ledger) == recorded_accounts(ledger) != {}
    ledger = root(accepts=True).ledger
    assert look(ledger, 95000, kktix_api_token="another")
    use(Klaviyo("AcC002"), ledger, klaviyo_api_key="another")
    with pytest.raises(LedgerError, match="AcC001"):
        use(Klaviyo(), ledger)
