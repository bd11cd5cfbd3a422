"""The drill says so when an older vault changed something outside, or nobody heard of it."""

from __future__ import annotations

import pytest

from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets.play.drill.backup import WAY_OUT, VaultBackup, broken_promises
from pycontw_assets.play.drill.play import INTERVAL
from pycontw_assets.play.drill.sale import BackUp, ReadAgain, Refund, RestoreBackup, Sell, Transfer
from pycontw_assets.play.drill.script import FEWEST_ORDERS, write_script
from pycontw_assets.play.scratch_installation import scratch_installation

ALARM = ("raw orders fail", f"the orders are older than the ledger: `pycontw-assets {WAY_OUT}`")


def promises(*messages: tuple[str, str], writes: int = 0, was_reported: bool = True) -> list[str]:
    with scratch_installation() as installation, AlarmChannel() as channel:
        channel.messages += messages
        backup = VaultBackup(installation, writes=writes, was_reported=was_reported)
        return list(broken_promises(backup, channel))


def test_an_older_vault_that_was_reported_and_did_nothing_breaks_nothing() -> None:
    assert promises(ALARM) == []


@pytest.mark.parametrize(
    ("messages", "writes", "was_reported", "finding"),
    [
        ((ALARM,), 3, True, "3 calls changed something outside"),
        ((ALARM,), 0, False, "no poll reported"),
        ((), 0, True, "no alarm named the way out"),
        ((("raw orders fail", "look at the vault"),), 0, True, "no alarm named the way out"),
    ],
)
def test_each_broken_promise_is_named(
    messages: tuple[tuple[str, str], ...], writes: int, was_reported: bool, finding: str
) -> None:
    [text] = promises(*messages, writes=writes, was_reported=was_reported)
    assert text.startswith(finding)


def test_the_older_vault_is_put_back_between_two_polls_and_read_again_by_the_next() -> None:
    with scratch_installation() as installation:
        backup, vault = VaultBackup(installation), installation.home / "vault"
        vault.mkdir()
        (vault / "orders").write_text("of before")
        backup.due.append(backup.make)
        assert backup.before_poll() == ()
        (vault / "orders").write_text("of now")
        (vault / "another").write_text("of now")
        backup.due.append(backup.restore)
        assert (vault / "orders").read_text() == "of now", "a poll may be at work"
        assert backup.before_poll() == ()
        assert {path.name: path.read_text() for path in vault.iterdir()} == {"orders": "of before"}
        backup.after_poll(was_good=False)
        backup.due.append(backup.read_again)
        assert backup.before_poll() == ("re-read",)
        assert backup.before_poll() == ()
    assert backup.was_reported
    assert backup.restored_at
    assert backup.ended_at
    assert backup.restored_at <= backup.ended_at


@pytest.mark.parametrize("seed", range(5))
def test_every_day_has_refunds_after_the_backup_and_a_buyer_while_the_older_vault_is_there(seed: int) -> None:
    script = write_script(FEWEST_ORDERS, seed)
    [made], [restored], [ended] = (
        [step.at for step in script if isinstance(step, kind)] for kind in (BackUp, RestoreBackup, ReadAgain)
    )
    assert sum(made < step.at < restored for step in script if isinstance(step, Refund | Transfer)) >= 3
    assert any(restored < step.at < ended for step in script if isinstance(step, Sell) and step.paid)
    assert ended - restored > 3 * INTERVAL, "an alarm needs two failures, and a person reads it"
