"""What a command prints passes one gate: our colours come through, and nobody else's."""

from __future__ import annotations

import io
import sys

import pytest

from pycontw_assets.commands.console import for_people, paint


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_text_from_outside_neither_colours_nor_moves_nor_turns_around(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen()
    monkeypatch.setattr(sys, name, screen)
    with for_people():
        stream = getattr(sys, name)
        print(f"{paint('ok', 'green', stream)}  one \x1b[32m two \x9b2J\x07 three\u202e\rfour", file=stream)
        print("second line", file=stream, end="")
    assert screen.getvalue() == "\x1b[32mok\x1b[0m  one  [32m two  2J  three four\nsecond line"


def test_a_pipe_gets_no_colours_and_half_a_character_fails_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    with for_people():
        print(f"{paint('ok', 'green')} 票 \ud83d")
    assert capfd.readouterr().out == "ok 票  \n"
