"""The README and the glossary: short, with the real folders, and without a word that nobody explains."""

import re
from pathlib import Path

import pytest

from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.settings import Settings

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pycontw_assets"
README = (ROOT / "README.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^- \*\*(.+?)\*\*:", GLOSSARY, re.M)
MOST_WORDS, MOST_TERMS = 1_000, 25
STAGES = ("extract", "deidentify", "load", "authorize", "send_email")
# Words with a special meaning here, and words that this project made up.
WORDS_OF_THIS_PROJECT = (
    *("access period", "attendee", "batch", "batches", "box office", "claim", "edition", "entitled", "entitlement"),
    *("family", "fate", "grant", "guest", "holder", "holding", "housekeeping", "joining", "lapsed", "lease", "ledger"),
    *("manners", "newcomer", "oracle", "override", "partition key", "poll", "pool list", "preexisting", "pseudonym"),
    *("quarantine", "recall", "reconcile", "rehearsal", "sandbox", "shadow", "sighting", "snapshot", "span", "stale"),
    *("trouble", "unread", "usable ticket", "vault", "waived", "weather"),
)


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_the_readme_says_that_the_program_was_never_tried_for_real() -> None:
    assert "was never tried against the real services" in " ".join(README.split())


def test_the_tree_lists_exactly_the_folders_of_the_package() -> None:
    listed = re.findall(r"^  (\w+)/ ", section("The tree"), re.M)
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert sorted(listed) == sorted(folders)
    assert tuple(listed[: len(STAGES)]) == STAGES


def test_the_flow_names_the_five_stages_in_order() -> None:
    named = re.findall(r"^\d\. \*\*([\w-]+)\*\*", section("What happens to one ticket"), re.M)
    assert named == ["extract", "de-identify", "load", "authorize", "e-mail"]


def test_the_folders_next_to_the_package_are_there() -> None:
    named = re.findall(r"`(\w+)/`", section("The tree"))
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).is_dir()] == []


def test_the_glossary_is_short_and_sorted_and_each_term_is_used() -> None:
    assert len(TERMS) <= MOST_TERMS
    assert sorted(TERMS) == TERMS
    pages = [path for path in (ROOT / "docs").glob("*.md") if path.name != "glossary.md"]
    sources = [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PACKAGE.rglob("*.py")]
    text = " ".join(" ".join(path.read_text(encoding="utf-8").lower() for path in sources).split())
    assert [term for term in TERMS if term not in text] == []


@pytest.mark.parametrize("word", WORDS_OF_THIS_PROJECT)
def test_every_special_word_of_the_readme_is_in_the_glossary(word: str) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", README.lower(), flags=re.S) + section("The tree").lower()
    is_used = re.search(rf"\b{word}s?\b", " ".join(prose.split()))
    assert not is_used or word in TERMS or word.removesuffix("es") in TERMS


def test_every_asset_has_a_description_for_a_volunteer() -> None:
    graph = build_definitions().resolve_asset_graph()
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).description] == []


def test_the_table_of_settings_names_every_variable_in_order_and_no_other() -> None:
    named = re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS, re.M)
    assert named == [name.upper() for name in Settings.model_fields]


def test_the_example_environment_names_only_variables_that_exist() -> None:
    names = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
    assert set(names) <= {name.upper() for name in Settings.model_fields}


def test_production_needs_nothing_that_the_example_environment_leaves_out() -> None:
    named = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M))
    settings = Settings(_env_file=None, pycontw_env="production")
    assert set(settings.missing_in_production()) <= named
