"""The pages: their commands run, their links lead somewhere, and they agree with the code."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from pycontw_assets.commands.cli import _parser, main
from pycontw_assets.commands.reference import PAGES
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pycontw_assets"
AT_ROOT = ("README.md", "CONTRIBUTING.md")
DOCS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (*(ROOT / name for name in AT_ROOT), *(ROOT / "docs").glob("*.md"))
}
PROGRAM = ".venv/bin/pycontw-assets"
# The commands of these guides are run below, in their order. RUN_ELSEWHERE leaves some to other tests.
RUN_HERE = ("setup.md", "zh-TW.md")
INSTALL = "python3 -m venv .venv && .venv/bin/pip install"
RUN_ELSEWHERE = {
    f"{PROGRAM} contract-check": "pycontw_assets_tests/contract/test_contract_check.py",
    f"{PROGRAM} announce": "pycontw_assets_tests/pipeline/test_letters.py",
    f"{PROGRAM} drill": "pycontw_assets_tests/pipeline/test_drill.py",
    f"POLL_INTERVAL_SECONDS=10 {PROGRAM} dev": "pycontw_assets_tests/ui/test_dagster_ui.py",
    f"{INSTALL} -e . -c constraints.txt && {PROGRAM} demo": "pycontw_assets_tests/test_docs.py",
    INSTALL: ".ci/run",
    "PYTEST_PICTURES=docs/pictures .venv/bin/pytest": "pycontw_assets_tests/ui/test_pictures.py",
    ".venv/bin/pytest -m slow": "pyproject.toml",  # tests themselves; that they are there is tested below
    "deploy/local-stack": "pycontw_assets_tests/deploy/test_local_stack.py",
    ".venv/bin/python -m pycontw_assets_tests.contract.world": "pycontw_assets_tests/contract/test_report.py",
    ".venv/bin/python -m pycontw_assets.commands.reference": "pycontw_assets_tests/test_docs.py",
}
# These commands need a machine of their own (a container engine, systemd, a cluster, root) or a registry. Nobody has
# run them. The tests in pycontw_assets_tests/deploy compare what they name with the files of deploy/.
RUN_BY_NOBODY = {
    "CONTRIBUTING.md": (".venv/bin/pip install pre-commit",),
    "production.md": (
        *("docker ", "kubectl ", "helm ", "systemctl ", "systemd-run ", "apt-get ", "install ", "git "),
        *("cp deploy/", "$EDITOR ", "python3 -m venv /opt/", "python3 -c ", "openssl "),
    ),
}


def commands_of(name: str) -> Iterator[str]:
    """Yield every line of the bash blocks of a document, without comments; continued lines as one."""
    for block in re.findall(r"^```bash\n(.*?)^```", DOCS[name], re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if command := re.sub(r"(^| )\s*#.*", "", line).strip():
                yield command


def is_run_elsewhere(command: str) -> bool:
    return command.startswith(tuple(RUN_ELSEWHERE))


@pytest.mark.parametrize("name", sorted(set(DOCS) - set(RUN_HERE)))
def test_every_command_is_run_by_some_test_or_known_to_be_run_by_none(name: str) -> None:
    known = (*RUN_ELSEWHERE, *RUN_BY_NOBODY.get(name, ()))
    assert [command for command in commands_of(name) if not command.startswith(known)] == []


def test_the_tests_that_run_them_are_there() -> None:
    assert [where for where in RUN_ELSEWHERE.values() if not (ROOT / where.split()[0]).exists()] == []


@pytest.mark.parametrize("name", sorted(DOCS))
def test_every_command_named_in_the_text_is_one_that_the_program_takes(name: str) -> None:
    named = re.findall(r"`(?:\.venv/bin/)?pycontw-assets ([^`]+)`", DOCS[name])
    named += [command.partition("pycontw-assets ")[2] for command in commands_of(name) if PROGRAM in command]
    for command in named:
        words = command.replace(" WORD", " book").split(" && ")[0]
        _parser().parse_args(shlex.split(words))


@pytest.mark.parametrize("name", sorted(DOCS))
def test_every_test_file_that_is_named_is_there(name: str) -> None:
    named = re.findall(r"\bpycontw_assets_tests/[\w/]+\.py\b", DOCS[name])
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", sorted(DOCS))
def test_every_link_leads_somewhere(name: str) -> None:
    folder = ROOT if name in AT_ROOT else ROOT / "docs"
    targets = set(re.findall(r"\]\(((?!https?:)[^)]+)\)", DOCS[name]))
    assert [target for target in sorted(targets) if not _exists(folder, name, target)] == []


def _exists(folder: Path, name: str, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (folder / path).resolve() if path else folder / name
    return file.exists() and (not anchor or anchor in _anchors(file.read_text(encoding="utf-8")))


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- agreement with the code ---------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_generated_page_is_up_to_date_with_the_code(page: str) -> None:
    way_out = f"run python -m pycontw_assets.commands.reference {page} >docs/{page}.md"
    assert DOCS[f"{page}.md"] == PAGES[page](), way_out


def texts_of_the_package() -> list[str]:
    """Return every text in the code, with "…" where a value is put in."""
    texts = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def symptoms(page: str) -> list[str]:
    """Return the messages that a page quotes: in the first column of its tables, and at the start of its list items."""
    starts = re.findall(r"^(?:\| |\s*- )((?:`[^`]+`(?:[,、] )?)+)", DOCS[page], re.M)
    spans = [span for start in starts for span in re.findall(r"`([^`]+)`", start)]
    return [span for span in spans if " " in span and not span.startswith("pycontw-assets")]


@pytest.mark.parametrize("page", ["runbook.md", "zh-TW.md"])
def test_every_message_that_the_runbook_quotes_is_one_of_the_code(page: str) -> None:
    texts = texts_of_the_package()
    unknown = []
    for symptom in symptoms(page):
        subject = symptom.removesuffix(" fails")
        pieces = [piece.strip(" :()") for piece in subject.split("…")]
        pieces_to_find = [piece for piece in pieces if " " in piece] or [max(pieces, key=len)]
        is_known = (
            subject in texts if subject != symptom else all(any(p in text for text in texts) for p in pieces_to_find)
        )
        unknown += [] if is_known else [symptom]
    assert len(symptoms(page)) > 10
    assert unknown == []


def test_the_runbook_explains_every_refusal_that_a_person_may_override() -> None:
    overrides = set(re.findall(r"`pycontw-assets poll --allow ([a-z-]+)`", DOCS["runbook.md"].split("## Alarms")[0]))
    assert overrides == {"account", "book", "guest-list", "invite", "re-read", "revoke"}
    offered = {word for text in texts_of_the_package() for word in re.findall(r"poll --allow ([a-z-]+)", text)}
    assert offered == overrides


def test_the_functions_that_the_guide_for_extensions_names_are_there() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)(?:\(\))?`", DOCS["extending.md"]))
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert len(named) > 10
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", code)] == []


def test_the_hooks_are_the_lint_step_of_ci() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert entries == re.findall(r"^\.venv/bin/(?:ruff|mypy).*", ci, re.M)


# Words that this project used once, and the plain ones that replaced them.
RETIRED = {
    r"adopt(?!-tables)": "mark-invited, preexisting",
    r"--consent": "--allow",
    r"housekeeping": "maintenance",
    r"sightings?": "observations",
    r"leases?": "lock, reserve",
    r"troubles?": "problems",
    r"rehearsal": "dry run",
    r"anew": "again",
    r"beside": "next to",
    r"[Ww]hoever": "everybody who, somebody who",
    r"told": "alerted, explained",
}


@pytest.mark.parametrize("name", sorted(DOCS))
def test_a_page_uses_no_retired_word(name: str) -> None:
    found = {word: plain for word, plain in RETIRED.items() if re.search(rf"(?<![\w-]){word}\b", DOCS[name])}
    assert found == {}


# -- the guides, command by command -------------------------------------------------------------------


class Reader:
    """Types the commands of the guides, in a folder like a checkout, with the sandbox for the real services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".venv" / "bin").mkdir(parents=True)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        example = (ROOT / ".env.example").read_text().replace("EDITION=\n", "EDITION=2031\n")
        (folder / ".env.example").write_text(example)
        (folder / "invited-before.txt").write_text("early@example.org\n")

    def type(self, command: str) -> int:
        words = [os.path.expandvars(word) for word in shlex.split(command)]
        if words[0] == "export":
            os.environ.update(word.split("=", 1) for word in words[1:])
            return 0
        if words[0] == "unset":
            for name in words[1:]:
                os.environ.pop(name, None)
            return 0
        return (
            self._run(words) if PROGRAM in command else subprocess.run(["bash", "-c", command], check=False).returncode
        )

    def _run(self, words: list[str]) -> int:
        """Run a command in this process, and restore the environment."""
        before = dict(os.environ)
        at = words.index(PROGRAM)
        os.environ.update(word.split("=", 1) for word in words[:at])
        try:
            return main(words[at + 1 :])
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Set up an event on sale, a hidden one with a ticket for the organiser, and the variables of ``.env``."""
    with SandboxServer(World()) as server:
        variables = {
            **server.environment,
            "PWD": str(tmp_path),
            "INVITATION_VENUE_URL": "https://app.gather.town/app/AbCdEfGh12345678/Py%20Venue",
            "INVITATION_VIDEO_URL": "https://youtu.be/invented0000",
            "KLAVIYO_FROM_EMAIL": "hello@example.org",
            "KLAVIYO_FROM_LABEL": "PyCon TW",
            "KLAVIYO_REPLY_TO": "help@example.org",
            "VAULT_KEY": Fernet.generate_key().decode(),
            "PSEUDONYM_KEY": "only for this test",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        event = server.world.add_event("PyCon TW 2031 Registration: Individual", 90001)
        for address in ("early@example.org", "buyer@example.org"):
            server.world.sell(event, address=address)
        server.world.sell(server.world.add_event("Hidden test", 90099), address="organiser@example.org", price=0)
        yield server.world


@pytest.mark.long
def test_the_guides_can_be_followed_to_the_letter(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Follow the set-up with one own ticket, mark people as invited, switch on, then work at the help desk."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: "yes")
    reader = Reader(tmp_path)
    for command in [command for name in RUN_HERE for command in commands_of(name) if not is_run_elsewhere(command)]:
        if command.endswith("--allow book"):
            assert [mail.address for mail in world.outbox] == ["organiser@example.org"]
            world.cancel(max(world.kktix.tickets))
            reader.type(command)  # the first of the two polls that the guide asks for
        code = reader.type(command)
        assert code == 0 or (code == 1 and command.endswith("status")), f"{command}\n{capsys.readouterr()}"
    assert [mail.address for mail in world.outbox] == ["organiser@example.org", "buyer@example.org"]
    assert list(world.gather.guests) == ["early@example.org"]  # the buyer asked to be forgotten
    assert not (tmp_path / "test-of-one").exists()


@pytest.mark.slow
def test_the_demo_of_the_readme_plays_and_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    assert "BROKEN" not in capsys.readouterr().out
