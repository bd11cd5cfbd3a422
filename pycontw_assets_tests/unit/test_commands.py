"""The console script: commands in groups, old names that still work, exit codes that every help names."""

from __future__ import annotations

import argparse
import io
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pycontw_assets.commands.cli import GROUPS, MISCONFIGURED, _parser, main
from pycontw_assets.commands.console import show_log

MOST_OF_A_GROUP = 7
COMMANDS = [name for names in GROUPS.values() for name in names]
# They run until somebody stops them.
WITHOUT_EXIT_CODES = {"dev", "sandbox"}


def parser_of(name: str) -> argparse.ArgumentParser:
    [action] = [item for item in _parser()._actions if isinstance(item, argparse._SubParsersAction)]
    found: argparse.ArgumentParser = action.choices[name]
    return found


def test_no_group_of_the_help_is_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert max(map(len, GROUPS.values())) <= MOST_OF_A_GROUP
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    heads = [line.removesuffix(":") for line in lines if line.removesuffix(":") in GROUPS]
    assert heads == list(GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ") and line.split()[0] in COMMANDS] == COMMANDS


def test_every_file_of_a_command_is_in_a_group() -> None:
    folder = Path(sys.modules["pycontw_assets.commands.cli"].__file__ or "").parent
    named = {path.stem.replace("_", "-") for path in folder.glob("*.py") if "def add_to(" in path.read_text("utf-8")}
    assert named == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_and_its_exit_codes(name: str) -> None:
    parser = parser_of(name)
    assert parser.description
    assert (parser.epilog or "").startswith("Exit 0: ") or name in WITHOUT_EXIT_CODES
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_can_be_parsed_without_the_others(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as shown:
        main([name, "--help"])
    assert shown.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: pycontw-assets {name} ")


def test_an_unknown_command_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["unknown"]):
        with pytest.raises(SystemExit) as refused:
            main(words)
        assert refused.value.code == MISCONFIGURED
    assert "mark-invited" in capsys.readouterr().err


def test_the_old_names_work_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed = _parser("poll").parse_args(["poll", "--consent", "book", "--allow", "revoke"])
    assert parsed.allow == ["book", "revoke"]
    assert "--consent" not in _parser("poll").format_help() + parser_of("poll").format_help()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert main(["adopt", "-", "--edition", "next"]) == MISCONFIGURED
    assert "--edition: needs four digits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert not re.search(r"\badopt\b(?!-)", capsys.readouterr().out)


def test_verbose_prints_the_lines_of_the_log_once(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pycontw_assets")
    before, level = list(logger.handlers), logger.level
    try:
        for verbosity in (0, 1, 1):
            show_log(verbosity)
        logging.getLogger("pycontw_assets.step").info("orders read")
        logging.getLogger("pycontw_assets.step").debug("one attendee")
        printed = capsys.readouterr()
        assert printed.err.count("orders read") == 1
        assert "one attendee" not in printed.err + printed.out
        show_log(2)
        logging.getLogger("pycontw_assets.step").debug("one attendee")
        assert "one attendee" in capsys.readouterr().err
    finally:
        logger.handlers, logger.level = before, level


def ended(*lines: str, code: int = 0) -> tuple[int, str]:
    """Return the exit code and the output of a process that runs the lines and ends with ``end_process``."""
    program = "\n".join(["from pycontw_assets.commands.exits import end_process", *lines, f"end_process({code})"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_process_ends_with_its_code_its_output_and_what_was_registered() -> None:
    assert ended("import atexit", "atexit.register(print, 'last')", "print('first')", code=3) == (3, "first\nlast\n")


def test_a_process_does_not_end_before_its_threads() -> None:
    thread = "threading.Thread(target=lambda: (time.sleep(0.2), print('done'))).start()"
    assert ended("import threading, time", thread, code=1) == (1, "done\n")


def test_a_process_that_cannot_print_ends_as_python_ends_it() -> None:
    code, output = ended("import sys", "sys.stdout = open('/dev/full', 'w')", "print('unread')", code=1)
    assert (code, "OSError" in output) == (120, True)
