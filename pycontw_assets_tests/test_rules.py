"""The rules that no linter knows: who may import whom, what loads without secrets, what is never committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontw_assets

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PACKAGE = Path(pycontw_assets.__file__).parent
ROOT = PACKAGE.parent
STAGES = ("extract", "deidentify", "load", "authorize", "send_email")
COMMANDS = ("__main__", "commands", "play")
# What everybody may use, lowest first; each imports only what stands before it.
SHARED = (("pseudonyms",), ("records",), ("api", "ledger"), ("vault", "api", "ledger"))


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything a module imports, also inside functions; of our own without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: say where it comes from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    return {name.removeprefix("pycontw_assets.") for name in imports(path) if name.startswith("pycontw_assets.")}


def part(name: str) -> str:
    return name.split(".")[0]


def of(*parts: str) -> list[Path]:
    return [path for path in modules() if part(name_of(path)) in parts]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage_and_nothing_above_it(stage: str) -> None:
    allowed = {stage, *(name for layer in SHARED for name in layer)}
    for path in of(stage):
        assert {part(name) for name in ours(path)} <= allowed, path


def test_every_stage_has_a_folder_and_the_package_says_their_order() -> None:
    told = str(pycontw_assets.__doc__)
    positions = [told.index(f"``{stage}``") for stage in STAGES]
    assert positions == sorted(positions)
    assert all((PACKAGE / stage / "__init__.py").is_file() for stage in STAGES)


def test_what_is_shared_imports_only_what_stands_below_it() -> None:
    below: set[str] = set()
    for layer in SHARED:
        for path in of(*layer):
            assert {part(name) for name in ours(path)} <= below | {*layer}, path
        below |= set(layer)


def test_only_the_orchestration_and_the_commands_know_dagster() -> None:
    knowing = {name_of(path) for path in modules() if any(part(name).startswith("dagster") for name in imports(path))}
    assert {part(name) for name in knowing} <= {"orchestration", "pipeline", "alerts", "definitions", *COMMANDS}


def test_only_the_composition_root_and_the_commands_import_the_settings() -> None:
    readers = {name_of(path) for path in modules() if "settings" in {part(name) for name in ours(path)}}
    # redaction passes the text of InvalidSettings on; it reads no setting.
    readers = {name for name in readers if part(name) not in COMMANDS}
    assert readers <= {"pipeline.composition", "pipeline.redaction"}
    assert {name for name in ours(PACKAGE / "pipeline" / "redaction.py") if part(name) == "settings"} == {
        "settings",
        "settings.InvalidSettings",
    }


def test_only_the_commands_import_the_sandbox() -> None:
    users = {part(name_of(path)) for path in modules() if "sandbox" in {part(name) for name in ours(path)}}
    assert users <= {"sandbox", *COMMANDS}


def test_the_sandbox_knows_nothing_of_the_pipeline_it_judges() -> None:
    for path in of("sandbox"):
        assert {part(name) for name in ours(path)} <= {"sandbox"}, path


def test_nobody_but_the_settings_and_the_commands_touches_the_environment() -> None:
    touching = {
        part(name_of(path))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and node.names[0].name in ("environ", "getenv"))
    }
    assert touching <= set(COMMANDS)


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """Each costs every run a second of start-up, also the runs that never use it."""
    heavy = ("duckdb", "google", "gcsfs", "phonenumbers", "cryptography", "matplotlib")
    for path in modules():
        body = ast.parse(path.read_text(encoding="utf-8")).body
        top = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        assert not [name for name in names if part(name) in heavy], path


def test_the_definitions_load_with_an_empty_environment_and_touch_nothing(tmp_path: Path) -> None:
    program = (
        "from dagster import Definitions; from pycontw_assets.definitions import defs;"
        "Definitions.validate_loadable(defs); print(len(list(defs.resolve_all_asset_keys())))"
    )
    home = tmp_path / "nobody"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 10
    assert list(home.iterdir()) == []


def test_a_wrong_environment_does_not_keep_the_definitions_from_loading(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "", "PYCONTW_ENV": "production", "REVOKE_LIMIT": "many"}
    done = subprocess.run(
        [sys.executable, "-c", "import pycontw_assets.definitions"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_dagster_is_told_the_same_module_everywhere() -> None:
    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    assert workspace == {"load_from": [{"python_module": project["tool"]["dagster"]["module_name"]}]}
    assert project["tool"]["dagster"]["module_name"] == "pycontw_assets.definitions"


def test_setup_py_holds_no_metadata() -> None:
    assert (ROOT / "setup.py").read_text(encoding="utf-8") == "from setuptools import setup\n\nsetup()\n"


# -- what is committed --------------------------------------------------------------------------------


def tracked_texts() -> list[tuple[str, str]]:
    """Every tracked file that is text, by its name."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    texts = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        try:
            texts.append((name, path.read_text(encoding="utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return texts


# Split, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a package registry": re.compile(r"https?://\S*(?:py" + r"pi|python" + r"hosted|npm" + r"js)", re.IGNORECASE),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:wo" + r"rk|home/\w+|Users/\w+)/"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY"),
    "a live Klaviyo key": re.compile(r"\bpk_" + r"[0-9a-f]{20,}"),
}
ADDRESS = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[\w-]+")
INVENTED = re.compile(r"@-?(?:[\w-]+\.)*example\.(?:org|com|net)$", re.IGNORECASE)
# Parts of URLs with a user name, which tests refuse.
NO_PERSON = {"other@127.0.0.1", "someone@youtube.com"}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_tracked_file_names(what: str) -> None:
    found = [name for name, text in tracked_texts() if FORBIDDEN[what].search(text)]
    assert found == []


def test_every_address_in_a_tracked_file_is_an_invented_one() -> None:
    found = {
        (name, address)
        for name, text in tracked_texts()
        for address in ADDRESS.findall(text)
        if not INVENTED.search(address) and address not in NO_PERSON
    }
    assert found == set()
