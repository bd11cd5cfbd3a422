"""The drill passes, and says so when a promise was broken. Demo and drill are judged alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.commands.cli import main
from pycontw_assets.commands.drill import rehearse
from pycontw_assets.play.drill.sale import Crash, Sale, Sell, Step
from pycontw_assets.play.drill.waits import WIDTH
from pycontw_assets.play.scratch_installation import EDITION, INVARIANTS, scratch_installation, verdict_lines

pytestmark = pytest.mark.thorough  # says nothing about tables


@dataclass(frozen=True)
class MailTwice(Step):
    """Somebody sends a campaign of the pipeline a second time, to all ticket holders."""

    def happen(self, sale: Sale) -> str:
        account = sale.world.klaviyo
        campaign = next(one for one in account.campaigns.values() if one.outcome == "Sent")
        campaign.included = [one.id for one in account.lists.values() if one.name.endswith("-ticket-holders")]
        account.accept_sending(campaign)
        return ""


@dataclass(frozen=True)
class LetInUnpaid(Step):
    """A program lets somebody in who has not paid."""

    order: int

    def happen(self, sale: Sale) -> str:
        values = sale.installation.environment
        client = GatherClient(values["GATHER_API_URL"], values["GATHER_API_KEY"], values["GATHER_SPACE_ID"])
        client.add({sale.world.kktix.tickets[sale.tickets[self.order][0]].address: {}})
        return ""


@pytest.mark.slow
def test_an_opening_day_with_every_failure_breaks_no_invariant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "drill.png"
    assert main(["drill", "--orders", "20", "--seed", "3", "--plot", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("  held ") for line in lines) == len(INVARIANTS)
    assert any("killed (SIGKILL)" in line for line in lines)
    assert sum("problems reported" in line for line in lines) >= 5
    assert max(map(len, lines[:-1])) <= WIDTH
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_drill_names_a_second_mail_and_an_unpaid_guest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = [Sell(10, 1, "individual"), Sell(20, 2, "individual", paid=False), LetInUnpaid(310, 2), MailTwice(320)]
    assert rehearse(script) == 1
    printed = capsys.readouterr().out
    assert f"BROKEN  1 {INVARIANTS[1]}" in printed
    assert f"BROKEN  3 {INVARIANTS[3]} (2)" in printed  # let in, and still in
    assert " ".join(printed.split()).endswith(f"BROKEN: {INVARIANTS[1]}; {INVARIANTS[3]}.")
    assert "@example" not in printed


@pytest.mark.slow
def test_a_drill_that_could_not_kill_its_poll_has_not_passed(capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearse([Crash(10)]) == 1
    assert "NOT TRIED: a crash" in capsys.readouterr().out


def test_an_installation_that_served_nobody_has_not_passed() -> None:
    with scratch_installation() as installation:
        installation.world.sell(installation.world.add_event(f"PyCon TW {EDITION} Registration: Individual"))
        installation.judge()
        assert not installation.held
        lines = list(verdict_lines(installation.broken))
    assert sum(line.startswith("  held ") for line in lines) == len(INVARIANTS) - 1
    assert f"  BROKEN  2 {INVARIANTS[2]} (2)" in lines


def test_the_verdict_counts_findings_and_fits_a_phone() -> None:
    findings = ["the same"] * 3 + [f"finding {number} " + "long " * 30 for number in range(9)]
    lines = list(verdict_lines(dict.fromkeys(INVARIANTS, findings)))
    assert lines[0] == f"  BROKEN  1 {INVARIANTS[1]} (12)"
    assert lines[1].strip() == "3 x the same"
    assert "and 5 more" in [line.strip() for line in lines]
    assert max(map(len, lines)) <= WIDTH


def test_traces_of_people_in_the_data_folder_are_found() -> None:
    with scratch_installation() as installation:
        (number,) = installation.world.sell(installation.world.add_event("A party"))
        (installation.home / "left.log").write_text(installation.world.kktix.tickets[number].address)
        installation.judge()
        assert installation.broken[6] == ["1 traces of people or keys in left.log"]


@pytest.mark.parametrize("orders", ["11", "2001", "many", "-5"])
def test_a_number_of_orders_that_cannot_be_played_is_refused(orders: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["drill", f"--orders={orders}"])
    assert refused.value.code == 2
    assert "must be a number from 12 to 2000" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_refused_before_the_drill(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drill", "--plot", "nowhere/drill.png"]) == 2
    assert "--plot: nowhere is no folder" in capsys.readouterr().err
