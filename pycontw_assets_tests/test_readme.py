"""What the README says and a machine can check: variables, assets, commands, the tree."""

import re
from pathlib import Path

from pycontw_assets.commands.cli import _parser
from pycontw_assets.definitions import build_definitions
from pycontw_assets.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    return [name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([\w-]+)`", row)]


def test_the_table_of_variables_names_every_variable_in_order_and_no_other() -> None:
    assert first_cells(section("Variables")) == [name.upper() for name in Settings.model_fields]


def test_the_table_of_assets_names_every_asset_and_no_other() -> None:
    keys = build_definitions().resolve_asset_graph().get_all_asset_keys()
    assert sorted(first_cells(section("Assets"))) == sorted(key.to_user_string() for key in keys)


def test_every_asset_has_a_description_for_a_volunteer() -> None:
    graph = build_definitions().resolve_asset_graph()
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).description] == []


def test_the_table_of_commands_names_every_command() -> None:
    (commands,) = [action.choices for action in _parser()._actions if action.choices]
    named = re.findall(r"^\| `pycontw-assets ([\w-]+)", section("Commands"), re.M)
    assert sorted(named) == sorted(commands)


def test_the_tree_names_every_module_and_stage() -> None:
    tree = section("The tree")
    package = ROOT / "pycontw_assets"
    entries = [path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    names = {path.name + ("/" if path.is_dir() else "") for path in entries}
    assert {name for name in names - {"__init__.py", "__main__.py"} if name not in tree} == set()


def test_the_example_environment_names_only_variables_that_exist() -> None:
    names = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
    assert set(names) <= {name.upper() for name in Settings.model_fields}


def test_production_needs_nothing_that_the_example_environment_leaves_out() -> None:
    named = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M))
    settings = Settings(_env_file=None, pycontw_env="production")
    assert set(settings.missing_in_production()) <= named
