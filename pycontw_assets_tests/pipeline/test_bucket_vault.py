"""The whole pipeline with its vault in a bucket leaves nothing personal on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontw_assets.sandbox.world import World
from pycontw_assets.vault.vault import VaultError
from pycontw_assets_tests import gcs
from pycontw_assets_tests.pipeline.conftest import Install


@pytest.mark.long
def test_sale_and_refund_with_the_vault_in_a_bucket(
    install: Install, world: World, event: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gcs.emulator() as url:
        monkeypatch.setenv(gcs.HOST_VARIABLE, url)
        pipeline = install(vault_url="gs://orders/pycontw", refresh_seconds=0)
        [refunded], _ = world.sell(event), world.sell(event)
        with pytest.raises(VaultError, match="VAULT_URL: there is no bucket orders"):
            pipeline.poll()
        assert pipeline.mailed() == []
        gcs.make_bucket(url, "orders")
        pipeline.until_quiet()
        world.refund(refunded)
        pipeline.later_poll()
        pipeline.later_poll()
        assert pipeline.verdict() == []
        assert len(pipeline.mailed()) == 2
        assert not list(Path(pipeline.home).rglob("*.orders"))
