"""Only events of the live edition are polled: none is guessed, and an event keeps its key."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.extract.events import Discovery, discover, live_edition, suggest
from pycontw_assets.records import Event, EventPartition

INDIVIDUAL = EventPartition(90001, "2031", "individual")


def find(
    *events: tuple[int, str],
    known: Mapping[int, EventPartition] | None = None,
    mapped: Mapping[int, EventPartition | None] | None = None,
    edition: str | None = None,
) -> Discovery:
    return discover(
        [Event(event_id, name) for event_id, name in events], known=known or {}, mapped=mapped or {}, edition=edition
    )


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("PyCon TW 2031 Registration: Individual", "individual"),
        ("PyCon TW 2031 REGISTRATION: corporate", "corporate"),
        ("[PyCon TW 2031] Reserved registration 保留票", "reserved"),
        ("PyConTW2031 Registration Individual", "individual"),
    ],
)
def test_a_registration_of_one_year_and_one_family_is_polled(name: str, family: str) -> None:
    assert find((90001, name)).partitions == (EventPartition(90001, "2031", family),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("PyCon TW 2031 Volunteer Party", "registration"),
        ("PyCon TW Registration: Individual", "no edition"),
        ("PyCon TW 20311 Registration: Individual", "no edition"),
        ("PyCon TW 20３１ Registration: Individual", "no edition"),
        ("PyCon TW 2030 and 2031 Registration: Individual", "several years"),
        ("PyCon TW 2031 Registration", "no ticket family"),
        ("PyCon TW 2031 Registration: Individual and Corporate", "several ticket families"),
    ],
)
def test_a_name_that_leaves_a_doubt_is_left_alone_with_the_reason(name: str, reason: str) -> None:
    found = find((90001, name), edition="2031")
    assert found.partitions == ()
    assert reason in found.unmatched[0].reason


@given(st.text())
def test_a_partition_key_is_a_slug_for_any_name(name: str) -> None:
    for decorated in (name, f"{name} 2031 Registration: Individual"):
        found = suggest(Event(90001, decorated))
        if isinstance(found, EventPartition):
            assert re.fullmatch(r"20[0-9]{2}-(corporate|individual|reserved)-90001", found.key)


def test_only_the_live_edition_becomes_partitions() -> None:
    old, new = (90001, "PyCon TW 2030 Registration: Individual"), (90002, "PyCon TW 2031 Registration: Individual")
    found = find(old, new)
    assert found.edition == "2031"
    assert [partition.event_id for partition in found.partitions] == [90002]
    assert [event.event_id for event in found.unmatched] == [90001]
    assert [partition.event_id for partition in find(old, new, edition="2030").partitions] == [90001]


def test_a_renamed_event_keeps_its_key() -> None:
    found = find((90001, "Sold out!"), known={90001: INDIVIDUAL}, edition="2031")
    assert found.partitions == (INDIVIDUAL,)
    renamed = find((90001, "PyCon TW 2031 Registration: Corporate"), known={90001: INDIVIDUAL})
    assert renamed.partitions == (INDIVIDUAL,)


def test_a_persons_mapping_overrides_the_name() -> None:
    mapped = EventPartition(90001, "2031", "reserved")
    assert find((90001, "PyCon TW 2031 Registration: Individual"), mapped={90001: mapped}).partitions == (mapped,)


def test_an_ignored_event_is_left_alone_even_when_it_was_known() -> None:
    found = find((90001, "PyCon TW 2031 Registration: Individual"), known={90001: INDIVIDUAL}, mapped={90001: None})
    assert found.partitions == ()
    assert "ignore" in found.unmatched[0].reason


def test_an_ignored_event_does_not_decide_which_edition_is_live() -> None:
    found = find(
        (90001, "PyCon TW 2031 Registration: Individual"),
        (90009, "PyCon TW 2099 Registration: Individual"),
        mapped={90009: None},
    )
    assert found.edition == "2031"


@given(st.lists(st.tuples(st.integers(1, 5), st.text(alphabet="2031 registonaludv", max_size=40)), max_size=5))
def test_every_listed_event_is_either_polled_or_named_with_a_reason(events: list[tuple[int, str]]) -> None:
    found = find(*events)
    assert len(found.partitions) + len(found.unmatched) == len(events)
    assert all(event.reason for event in found.unmatched)


def test_an_empty_listing_gives_nothing_and_breaks_nothing() -> None:
    assert find() == Discovery(None, (), ())


@pytest.mark.parametrize(
    ("configured", "editions", "live"),
    [("2030", ["2031"], "2030"), (None, ["2030", "2031"], "2031"), (None, [], None), ("2030", [], "2030")],
)
def test_the_live_edition_is_configured_or_the_newest(configured: str | None, editions: list[str], live: str) -> None:
    assert live_edition(configured, [EventPartition(1, edition, "reserved") for edition in editions]) == live


def test_a_listing_without_this_years_event_revives_no_other() -> None:
    last_year = Event(1, "PyCon TW 2030 Registration: Individual")
    known = {2: EventPartition(2, "2031", "individual")}
    found = discover([last_year], known=known, mapped={}, edition=None)
    assert found.edition == "2031"
    assert found.partitions == ()
