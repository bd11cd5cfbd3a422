"""Rules that no linter knows: allowed imports, loading without secrets, and texts that are never committed."""

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
# The rooms and their allowed imports, lowest first. A room that is in no list is imported by no other.
BASE = ("records", "pseudonyms", "completeness", "settings", "api")
MEMORY = (*BASE, "ledger", "vault")
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "records": (),
    "pseudonyms": (),
    "completeness": (),
    "settings": ("records",),
    "api": (),
    "ledger": BASE,
    "vault": BASE,
    **dict.fromkeys(STAGES, MEMORY),
    "alerts": MEMORY,
    "pipeline": (*MEMORY, *STAGES, "alerts"),
    "orchestration": (*MEMORY, *STAGES, "alerts", "pipeline"),
    "definitions": ("api", "settings", "extract", "pipeline", "orchestration"),
    "sandbox": (),
    "play": (*MEMORY, *STAGES, "alerts", "pipeline", "orchestration", "definitions", "sandbox"),
    "commands": (*MEMORY, *STAGES, "alerts", "pipeline", "orchestration", "definitions", "sandbox", "play"),
    "__main__": ("commands",),
    "__init__": (),
}
MOST_FILES = {"pycontw_assets": 8}  # every other folder: 14, but for commands, which has a file per command
KNOW_DAGSTER = ("orchestration", "definitions")
# Outside these two: commands and scratch installations that open the instance.
OPEN_THE_INSTANCE = ("commands", "play")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    """Yield the absolute names of everything a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: say where it comes from"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def internal_imports(path: Path) -> set[str]:
    return {name.removeprefix("pycontw_assets.") for name in imports(path) if name.startswith("pycontw_assets.")}


def part(name: str) -> str:
    return name.split(".")[0]


def of(*parts: str) -> list[Path]:
    return [path for path in modules() if part(name_of(path)) in parts]


def room(path: Path) -> str:
    return part(name_of(path))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_is_under_a_rule_and_keeps_it(path: Path) -> None:
    """A new room needs a line in ``MAY_IMPORT``; a module without a rule fails here."""
    imported = {part(name) for name in internal_imports(path)} - {room(path)}
    assert imported <= set(MAY_IMPORT[room(path)])


def test_no_two_rooms_import_each_other() -> None:
    for upper, lower in MAY_IMPORT.items():
        assert not [name for name in lower if upper in MAY_IMPORT[name]], upper


@pytest.mark.parametrize("base", [PACKAGE, ROOT / "deploy" / "local_stack"], ids=["package", "local_stack"])
def test_no_module_imports_itself_over_others(base: Path) -> None:
    package = ".".join(base.relative_to(ROOT).parts)
    paths = {".".join((package, *p.relative_to(base).with_suffix("").parts)): p for p in base.rglob("*.py")}
    arrows = {name: {target for target in imports(path) if target in paths} for name, path in paths.items()}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for target in sorted(arrows[name]):
                walk(target, (*way, name))
            done.add(name)

    for name in sorted(arrows):
        walk(name, ())


def test_rooms_stay_small() -> None:
    """At most eight files at the root and fourteen in a folder: a newcomer reads the names of one room at a glance."""
    for folder in {path.parent for path in modules()}:
        files = [file for file in folder.iterdir() if file.is_file()]
        most = MOST_FILES.get(folder.name, 14)
        assert folder.name == "commands" or len(files) <= most, f"{folder.name}: {len(files)} files"


def test_every_stage_has_a_folder_and_the_package_says_their_order() -> None:
    doc = str(pycontw_assets.__doc__)
    positions = [doc.index(f"``{stage}``") for stage in STAGES]
    assert positions == sorted(positions)
    assert all((PACKAGE / stage / "__init__.py").is_file() for stage in STAGES)


def test_orchestration_is_dagster_and_nothing_else() -> None:
    """The resource that logs in to BigQuery is the one exception: Dagster's library knows Google's many ways."""
    knowing = {name_of(path) for path in modules() if any(part(name) == "dagster" for name in imports(path))}
    rooms = {name for name in knowing if part(name) not in KNOW_DAGSTER}
    assert {part(name) for name in rooms} <= set(OPEN_THE_INSTANCE)
    wiring = {name for path in of("orchestration") if not (name := name_of(path)).endswith("__init__")}
    assert wiring <= knowing


def test_no_function_takes_a_whole_composition_root() -> None:
    """A function takes what it uses. ``graph.build`` and ``resources`` of the orchestration make resources of parts."""
    takers = {
        f"{name_of(path)}.{node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        for argument in (*node.args.args, *node.args.kwonlyargs)
        if argument.annotation is not None and "Composition" in ast.unparse(argument.annotation)
    }
    assert takers <= {
        "orchestration.graph.build.build_definitions",
        "orchestration.resources.resources_of",
        "orchestration.resources._resource",
    }


def test_nobody_but_the_settings_and_the_commands_touches_the_environment() -> None:
    touching = {
        part(name_of(path))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"))
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and node.names[0].name in ("environ", "getenv"))
    }
    assert touching <= {"settings", "commands", "play", "orchestration"}


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """Each library costs every run a second of start-up, also runs that never use it."""
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


def test_the_definitions_load_when_a_private_name_of_dagster_moves(tmp_path: Path) -> None:
    """Only the pruning of old history looks into Dagster's tables; it is imported where it runs, in a best effort."""
    program = (
        "from dagster._core.storage.event_log import schema\n"
        "del schema.AssetEventTagsTable, schema.SqlEventLogStorageTable\n"
        "import pycontw_assets.definitions"
    )
    environment = {"HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_dagster_gets_the_same_module_everywhere() -> None:
    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    assert workspace == {"load_from": [{"python_module": project["tool"]["dagster"]["module_name"]}]}
    assert project["tool"]["dagster"]["module_name"] == "pycontw_assets.definitions"


def test_setup_py_holds_no_metadata() -> None:
    assert (ROOT / "setup.py").read_text(encoding="utf-8") == "from setuptools import setup\n\nsetup()\n"


# -- committed files ----------------------------------------------------------------------------------


def tracked_texts() -> list[tuple[str, str]]:
    """Return every tracked text file with its name."""
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


# -- words --------------------------------------------------------------------------------------------

RETIRED = ("recall", "told", "besides", "manners", "fate", "shadow", "troubles", "adopt", "waived", "holdings")
# The tables of the first schema, the old spellings of two commands, and marketing consent as Klaviyo knows it.
MAY_SAY = {
    "ledger.database.migrations": set(RETIRED),
    "commands.cli": {"adopt"},
    "commands.mark_invited": {"adopt"},
    # The name of a command, which an issue gave it.
    "commands.adopt_tables": {"adopt"},
    "load.ownership": {"adopt"},
    "commands.poll": {"consent"},
    "klaviyo_records": {"consent"},
    "pipeline.contract.klaviyo_endpoints": {"consent"},
    "pipeline.contract.klaviyo_statements": {"consent"},
    "klaviyo_client": {"consent"},
    "rebuild_from_klaviyo": {"consent"},
}


def words_of(path: Path) -> set[str]:
    """Every word of a module, also inside names: ``told_at`` has ``told``."""
    return set(re.findall(r"[a-z]+", path.read_text(encoding="utf-8").lower()))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_uses_a_retired_word(path: Path) -> None:
    name = name_of(path)
    allowed = MAY_SAY.get(name, set()) | MAY_SAY.get(name.rpartition(".")[2], set())
    is_klaviyo = name.startswith("sandbox.klaviyo")
    retired = {*RETIRED, *(() if is_klaviyo else ("consent",))} - allowed
    assert words_of(path) & retired == set()


@pytest.mark.parametrize("path", [*modules(), *sorted((ROOT / "benchmarks").glob("*.py"))], ids=lambda path: path.stem)
def test_no_docstring_begins_without_a_subject(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = (ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented))
    assert not [text for text in docstrings if re.match(r"(Who|Whom|Whoever|What|Of|Those|By)\b", text)]
