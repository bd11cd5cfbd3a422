"""Everything that ``docs/production.md`` names exists."""

import re
from pathlib import Path

from pycontw_assets.commands.cli import _parser
from pycontw_assets.settings import Settings

DOC = Path(__file__).parents[2] / "docs" / "production.md"
TEXT = DOC.read_text(encoding="utf-8")
# Names of compose, of Google's libraries, of Klaviyo and of Dagster.
FOREIGN = {"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_KEY_FILE", "WEB_ACCESS", "RELEASE", "POSTGRES_RELEASE", "ALSO"}
SQL = {"MERGE", "ALTER", "ROLE", "PASSWORD"}


def test_every_file_it_links_to_is_there() -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", TEXT)]
    assert [target for target in targets if not (DOC.parent / target).exists()] == []


def test_every_command_it_names_is_one() -> None:
    (commands,) = [action.choices for action in _parser()._actions if action.choices]
    named = set(re.findall(r"pycontw-assets ([a-z][a-z-]+)(?= |`|$)", TEXT, re.M))
    assert named <= set(commands)
    assert {"doctor", "poll", "plan", "status", "mark-invited", "rebuild-ledger", "rotate-vault"} <= named


def test_every_variable_it_names_is_one() -> None:
    named = set(re.findall(r"\b[A-Z][A-Z]*(?:_[A-Z]+)+\b", TEXT)) - FOREIGN - SQL
    assert named <= {name.upper() for name in Settings.model_fields}


def test_it_asks_for_no_right_at_klaviyo_that_nobody_uses() -> None:
    asked = set(re.findall(r"^\| `(\w+:\w+)`(?:, `(\w+:\w+)`)? \|", TEXT, re.M))
    scopes = {scope for pair in asked for scope in pair if scope}
    kinds = ("lists", "profiles", "templates", "campaigns")
    changed = {f"{kind}:{way}" for kind in kinds for way in ("read", "write")}
    assert scopes == {"accounts:read", "events:read", "metrics:read", "events:write", *changed}
