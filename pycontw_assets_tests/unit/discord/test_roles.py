"""The rule file of roles: strict, in order, and every refusal names the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.authorize.discord.roles import InvalidRoles, parse_roles, read_roles
from pycontw_assets.settings import InvalidSettings, load_settings

ALL = [{"family": "individual", "role": "1"}, {"family": "corporate", "role": "2"}, {"family": "reserved", "role": "3"}]


def test_the_first_entry_that_fits_any_ticket_wins() -> None:
    rules = parse_roles([{"ticket": "VIP*", "role": "9"}, *ALL])
    assert rules.role_of("corporate", ["Standard", " vip early bird "]) == "9"
    assert rules.role_of("corporate", ["Standard", None]) == "2"
    assert rules.role_of("corporate", []) is None
    assert rules.role_ids == {"1", "2", "3", "9"}


def test_a_ticket_that_no_entry_fits_gets_no_role() -> None:
    assert parse_roles(ALL[:1]).role_of("reserved", ["Standard"]) is None


def test_only_the_star_is_special_in_a_pattern() -> None:
    rules = parse_roles([{"ticket": "[a?b]", "role": "1"}])
    assert rules.role_of("reserved", ["[A?B]"]) == "1"
    assert rules.role_of("reserved", ["a"]) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no list of entries"),
        ([], "no list of entries"),
        ([{"family": "individual"}], "entry 1 needs `role`"),
        ([{"family": "individual", "ticket": "x", "role": "1"}], "entry 1 needs `role` and one of"),
        ([{"family": "individual", "rule": "1"}], "entry 1 needs"),
        ([{"family": "student", "role": "1"}], "`family` must be one of corporate, individual, reserved"),
        ([{"family": "individual", "role": 1}], "in quotation marks"),
        ([{"ticket": " ", "role": "1"}], "`ticket` must be the name"),
        ([ALL[0], ALL[0]], "entry 2 can fit nothing"),
        ([{"ticket": "*", "role": "1"}, ALL[0]], "entry 2 can fit nothing"),
        ([*ALL, {"ticket": "VIP", "role": "1"}], "entry 4 can fit nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_fix(content: Any, words: str) -> None:
    with pytest.raises(InvalidRoles, match="DISCORD_ROLES") as error:
        parse_roles(content)
    assert words in str(error.value)


def test_a_file_that_is_missing_or_no_yaml_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "roles.yaml"
    broken.write_text("- {")
    for file in (None, tmp_path / "none.yaml", broken):
        with pytest.raises(InvalidRoles, match="DISCORD_ROLES"):
            read_roles(file)


def test_venues_are_read_strictly_and_discord_needs_mail() -> None:
    assert load_settings(venues="discord, gather").venues == "discord,gather"
    assert load_settings(venues="discord").gather_is_off
    assert load_settings().discord_is_off
    for wrong in ("", "zoom", "gather,gather"):
        with pytest.raises(InvalidSettings, match="VENUES"):
            load_settings(venues=wrong)
    with pytest.raises(InvalidSettings, match="nobody would get the links"):
        load_settings(venues="discord", klaviyo_api_url="off")
