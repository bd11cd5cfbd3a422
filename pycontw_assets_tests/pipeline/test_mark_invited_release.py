"""People marked as invited are not mailed; people of a cancelled campaign are mailed after their release."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED
from pycontw_assets.commands.release import describe_release
from pycontw_assets.commands.trace import trace
from pycontw_assets.ledger.batches import update_invitations
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.pipeline.rebuild import find_live_edition, mark_people_invited, rebuild_ledger, release_batch
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline, TestClock, describe

pytestmark = pytest.mark.slow

ANNA, BEN, CARA = "anna@example.org", "ben@example.com", "cara@example.net"


def batch_keys(pipeline: Pipeline) -> list[str]:
    return [campaign.name.rpartition("-")[2] for campaign in pipeline.world.klaviyo.campaigns.values()]


def marked(pipeline: Pipeline, *lines: str) -> tuple[int, int, list[int]]:
    report = pipeline.call(mark_people_invited, pipeline.call(find_live_edition), lines)
    assert report.edition == EDITION
    return report.marked, report.known, report.invalid_lines


# -- mark-invited ------------------------------------------------------------------------------------------


def test_people_marked_before_the_first_poll_are_let_in_and_never_mailed(
    pipeline: Pipeline, world: World, event: int
) -> None:
    for address in (ANNA, BEN):
        world.sell(event, address=address)
    assert marked(pipeline, f" {ANNA.upper()} ", "", ANNA) == (1, 0, [])
    pipeline.until_quiet()
    assert pipeline.guests() == pipeline.ticket_holders(event) == {ANNA, BEN}
    assert pipeline.mailed() == [BEN]


def test_people_marked_after_they_were_let_in_are_not_mailed(install: Install, world: World, event: int) -> None:
    pipeline = install(invite_limit=0)
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert marked(pipeline, ANNA) == (1, 0, [])
    pipeline.restart(invite_limit=10)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA}
    assert pipeline.mailed() == []


def test_a_mark_counts_for_one_ticket_only(pipeline: Pipeline, world: World, event: int) -> None:
    [first] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    marked(pipeline, ANNA)
    pipeline.until_quiet()
    world.refund(first)
    pipeline.until_quiet()
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.mailed() == [BEN, ANNA]


def test_people_marked_without_access_are_not_mailed_for_the_next_ticket(
    pipeline: Pipeline, world: World, event: int
) -> None:
    [first] = world.sell(event, address=ANNA)
    world.sell(event, address=BEN)
    pipeline.poll()
    world.refund(first)
    pipeline.until_quiet()
    assert marked(pipeline, ANNA) == (1, 0, [])
    world.sell(event, address=ANNA)
    pipeline.until_quiet()
    assert pipeline.guests() == {ANNA, BEN}
    assert sorted(pipeline.mailed()) == [ANNA, BEN]


def test_marking_again_or_people_of_a_batch_changes_nothing(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    assert marked(pipeline, ANNA, BEN) == (1, 1, [])
    assert marked(pipeline, ANNA, BEN) == (0, 2, [])


def test_a_lost_ledger_may_be_rebuilt_after_people_were_marked(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    world.sell(event, address=BEN)
    marked(pipeline, BEN)
    with pytest.raises(LedgerError):
        pipeline.later_poll()
    pipeline.call(rebuild_ledger)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.guests() == {ANNA, BEN}


# -- release ----------------------------------------------------------------------------------------


def cancelled(pipeline: Pipeline, event: int) -> str:
    """Return the key of a batch whose campaign ended without a mail because the quota was used up."""
    pipeline.world.sell(event, address=ANNA)
    pipeline.world.klaviyo.switches.mail_quota = 0
    report = pipeline.poll()
    assert "pycontw-assets release" in describe(report)
    pipeline.world.klaviyo.switches.mail_quota = None
    pipeline.until_quiet()
    assert pipeline.mailed() == [], "nobody is mailed on the machine's own decision"
    [key] = batch_keys(pipeline)
    return key


def test_people_of_a_cancelled_campaign_are_invited_after_release(pipeline: Pipeline, world: World, event: int) -> None:
    key = cancelled(pipeline, event)
    assert pipeline.call(release_batch, key).freed == 1
    assert pipeline.call(release_batch, key).freed == 0
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]
    assert pipeline.verdict() == []


def test_marked_people_of_a_cancelled_campaign_are_not_mailed_after_release(
    pipeline: Pipeline, world: World, event: int
) -> None:
    """Some of them got the mail after all, or a personal mail."""
    world.sell(event, address=BEN)
    key = cancelled(pipeline, event)
    assert marked(pipeline, BEN) == (1, 0, [])
    assert marked(pipeline, BEN) == (0, 1, [])
    assert pipeline.call(release_batch, key).freed == 1
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]


def test_a_cancelled_campaign_whose_people_are_all_marked_raises_no_alarm(
    pipeline: Pipeline, world: World, event: int
) -> None:
    cancelled(pipeline, event)
    assert marked(pipeline, ANNA) == (1, 0, [])
    assert "release" not in describe(pipeline.later_poll())


def test_refunded_buyers_are_released_and_not_invited(pipeline: Pipeline, world: World, event: int) -> None:
    world.sell(event, address=BEN)
    pipeline.poll()
    world.klaviyo.switches.mail_quota = 0
    [seat] = world.sell(event, address=ANNA)
    pipeline.later_poll()
    world.klaviyo.switches.mail_quota = None
    world.refund(seat)
    pipeline.until_quiet()
    pipeline.call(release_batch, batch_keys(pipeline)[-1])
    pipeline.until_quiet()
    assert pipeline.mailed() == [BEN]


def test_a_campaign_nobody_could_get_is_released_once_its_people_can_be_reached(
    pipeline: Pipeline, world: World, event: int
) -> None:
    key = cancelled(pipeline, event)
    [campaign] = world.klaviyo.campaigns.values()
    campaign.outcome = "Cancelled: No Recipients"
    update_invitations(pipeline.ledger, key, [pipeline.root.pseudonymizer.address(ANNA)], state="unreachable")
    pipeline.call(release_batch, key)
    pipeline.until_quiet()
    assert pipeline.mailed() == [ANNA]


def test_a_batch_that_klaviyo_calls_sent_after_all_is_not_released(
    pipeline: Pipeline, world: World, event: int
) -> None:
    key = cancelled(pipeline, event)
    [campaign] = world.klaviyo.campaigns.values()
    campaign.outcome = "Sent"
    with pytest.raises(LedgerError, match="is Sent"):
        pipeline.call(release_batch, key)
    pipeline.until_quiet()
    assert pipeline.mailed() == []


def test_a_sent_or_scheduled_or_unknown_batch_is_not_released(
    install: Install, world: World, event: int, clock: TestClock
) -> None:
    pipeline = install()
    world.sell(event, address=ANNA)
    pipeline.poll()
    [sent] = batch_keys(pipeline)
    with pytest.raises(LedgerError, match="it was sent"):
        pipeline.call(release_batch, sent)
    pipeline.restart(invitation_send_at=clock().replace(year=clock().year + 1))
    world.sell(event, address=BEN)
    pipeline.later_poll()
    with pytest.raises(LedgerError, match="on its way"):
        pipeline.call(release_batch, batch_keys(pipeline)[-1])
    with pytest.raises(LedgerError, match="no batch has this key"):
        pipeline.call(release_batch, "000000000000")


def test_people_of_a_campaign_lost_with_the_ledger_wait_for_release(
    pipeline: Pipeline, world: World, event: int
) -> None:
    world.sell(event, address=ANNA)
    pipeline.poll()
    [key] = batch_keys(pipeline)
    world.klaviyo.campaigns.clear()
    world.klaviyo.events.clear()
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    pipeline.call(rebuild_ledger)
    mark = pipeline.mark()
    pipeline.until_quiet()
    assert pipeline.mailed(mark) == []
    with pytest.raises(LedgerError, match="does not know its campaign any more"):
        pipeline.call(release_batch, key)
    assert pipeline.call(release_batch, key, by_hand=True).freed == 1
    pipeline.until_quiet()
    assert pipeline.mailed(mark) == [ANNA]


SIX = tuple(f"buyer-{number}@example.org" for number in range(6))


def test_a_lost_ledger_knows_no_better_who_got_half_a_campaign(pipeline: Pipeline, world: World, event: int) -> None:
    world.klaviyo.switches.stop_after = 2
    for address in SIX:
        world.sell(event, address=address)
    pipeline.poll()
    world.klaviyo.switches.stop_after = None
    for file in pipeline.home.glob("ledger.sqlite*"):
        file.unlink()
    pipeline.restart()
    [problem] = pipeline.call(rebuild_ledger).problems
    assert "some of its people may have got the mail" in problem
    report = pipeline.call(release_batch, batch_keys(pipeline)[0])
    assert (report.freed, report.received) == (4, 2)
    pipeline.until_quiet()
    assert sorted(pipeline.mailed()) == sorted(SIX)


# -- the commands -----------------------------------------------------------------------------------


@pytest.fixture
def shell(pipeline: Pipeline, server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Set the environment of a person who runs commands on this pipeline."""
    for name, value in {**server.environment, "PYCONTW_HOME": str(pipeline.home)}.items():
        monkeypatch.setenv(name, value)
    _ = pipeline.ledger  # a sandbox that was never used is refused
    return pipeline


def test_a_campaign_stopped_after_two_of_six_mails_to_the_letter(
    shell: Pipeline, world: World, event: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alarm, ``status``, ``trace``, ``release`` and the next poll say and do the same."""
    world.klaviyo.switches.stop_after = 2
    for address in SIX:
        world.sell(event, address=address)
    alarm = describe(shell.poll())
    assert "got no mail" not in alarm
    [key] = batch_keys(shell)
    assert re.findall(r"`pycontw-assets release ([0-9a-f]+)`", alarm) == [key]
    world.klaviyo.switches.stop_after = None
    shell.later_poll()
    mailed = set(shell.mailed())
    assert len(mailed) == 2
    for address in SIX:
        [passage] = shell.call(trace, address, klaviyo=None).passages
        assert "some of its people may have got the mail" in passage.invitation
        assert f"release {key}" in passage.next
    assert main(["status"]) == FAILED
    assert "some of its people may have got the mail" in capsys.readouterr().out
    printed = describe_release(shell.call(release_batch, key))
    assert "4 people released" in printed
    assert "2 of this batch got the mail" in printed
    shell.until_quiet()
    assert sorted(shell.mailed()) == sorted(SIX)
    assert shell.verdict() == []
    for address in SIX:
        [passage] = shell.call(trace, address, klaviyo=None).passages
        assert passage.next == "nothing: they may enter, and were invited"
        assert ("got the mail before its campaign ended" in passage.invitation) == (address in mailed)


def test_mark_invited_prints_counts_and_line_numbers_and_no_address(
    shell: Pipeline, world: World, event: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "invited.txt"
    file.write_bytes("\ufeffanna@example.org\r\n\r\nno address of ben\r\n".encode() + b"cara\xff@example.net\r\n")
    assert main(["mark-invited", str(file)]) == FAILED
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"edition {EDITION}: 1 marked as invited, 0 in a batch before",
        "       ! no address in 2 lines: 3, 4",
    ]
    [line] = printed.err.splitlines()
    assert line.startswith(f"looking in: sandbox, data folder {shell.home}")


def test_mark_invited_reads_standard_input_and_takes_an_edition(
    shell: Pipeline, world: World, event: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"anna@example.org\n")))
    assert main(["mark-invited", "-", "--edition", "2030"]) == FINE
    assert capsys.readouterr().out == "edition 2030: 1 marked as invited, 0 in a batch before\n"
    assert main(["mark-invited", "-", "--edition", "next"]) == MISCONFIGURED
    assert main(["mark-invited", "no such file", "--edition", "2030"]) == MISCONFIGURED


def test_mark_invited_without_a_live_edition_asks_for_one(
    shell: Pipeline, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    assert main(["mark-invited", str(tmp_path / "empty")]) == MISCONFIGURED
    assert "EDITION" in capsys.readouterr().err


def test_poll_says_how_to_rebuild_and_rebuilding_says_what_it_found(
    shell: Pipeline, world: World, event: int, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sell(event, address=ANNA)
    shell.poll()
    for file in shell.home.glob("ledger.sqlite*"):
        file.unlink()
    assert main(["poll"]) == MISCONFIGURED
    assert "pycontw-assets rebuild-ledger" in capsys.readouterr().err
    assert main(["rebuild-ledger"]) == FINE
    printed = capsys.readouterr().out
    assert printed.startswith(f"edition {EDITION}: events 1, ticket holders 1, let in 1,")
    assert "invited 1" in printed
    assert main(["rebuild-ledger"]) == MISCONFIGURED


def test_release_says_how_many_or_why_not(
    shell: Pipeline, world: World, event: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an end before the first mail the command does not have to wait."""
    world.klaviyo.switches.stop_after, world.klaviyo.switches.stops_as = 0, "Cancelled: Misconfigured"
    world.sell(event, address=ANNA)
    shell.poll()
    [key] = batch_keys(shell)
    assert main(["release", key]) == FINE
    assert capsys.readouterr().out.startswith("1 people released")
    assert main(["release", "000000000000"]) == MISCONFIGURED
