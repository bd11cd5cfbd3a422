"""The preview: the invitation as files, with a picture where there is a browser, and no mistake left for the mail."""

from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.preview import take_picture

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("no_browser")
def test_without_a_browser_there_are_html_and_text_and_it_says_why_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", "--family", "corporate", "--out", str(tmp_path / "out")]) == 0
    assert "no Chromium or Chrome" in capsys.readouterr().out
    page, words = (tmp_path / "out" / f"invitation-corporate.{ending}" for ending in ("html", "txt"))
    assert "您的線上會場已經開放" in page.read_text(encoding="utf-8")
    assert "Your online venue is open" in words.read_text(encoding="utf-8")
    assert words.read_text(encoding="utf-8").startswith(
        "To: corporate.ticket.holder@example.org\nSubject: PyCon Taiwan"
    )


@pytest.mark.usefixtures("no_browser")
def test_nothing_of_a_placeholder_or_a_tag_is_left(tmp_path: Path) -> None:
    main(["preview", "--out", str(tmp_path)])
    for file in tmp_path.glob("invitation-*"):
        assert [mark for mark in ("${", "{%", "{{", "<!--") if mark in file.read_text(encoding="utf-8")] == []
        assert "example.org/unsubscribe" in file.read_text(encoding="utf-8")


def test_a_wrong_link_is_an_error_that_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INVITATION_VENUE_URL", "https://example.org/{{ person.email }}")
    assert main(["preview", "--out", str(tmp_path)]) == 2
    assert "venue_url" in capsys.readouterr().err


@pytest.mark.usefixtures("no_browser")
def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert main(["preview", "--out", str(tmp_path / "taken")]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_browser_that_fails_costs_only_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "bin" / "chromium"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))
    assert main(["preview", "--out", str(tmp_path / "out")]) == 0
    assert "failed" in capsys.readouterr().out


@pytest.mark.browser
def test_the_picture_shows_the_whole_mail(tmp_path: Path) -> None:
    main(["preview", "--out", str(tmp_path)])
    page = tmp_path / "invitation-individual.html"
    picture = page.with_suffix(".png")
    if not picture.exists():
        pytest.skip("needs Chromium")
    assert size(picture)[1] > 1500
    page.write_text("<p>short</p>", encoding="utf-8")
    assert size(take_picture(page))[1] < 700 * 2


def size(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[:24]
    assert head.startswith(PNG)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
