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
    may_begin: bool = True,
) -> Discovery:
    listed = [Event(event_id, name) for event_id, name in events]
    return discover(listed, known=known or {}, mapped=mapped or {}, edition=edition, may_begin=may_begin)


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


# -- which edition is live --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "editions", "live"),
    [("2030", ["2031"], "2030"), (None, ["2030", "2031"], "2031"), (None, [], None), ("2030", [], "2030")],
)
def test_the_live_edition_is_configured_or_the_newest_of_the_ledger(
    configured: str | None, editions: list[str], live: str
) -> None:
    known = {number: EventPartition(number, edition, "reserved") for number, edition in enumerate(editions)}
    assert live_edition(configured, known, {}) == live


@pytest.mark.parametrize("name", ["PyCon TW 2032 Registration: Individual", "PyCon TW 2099 Registration: Corporate"])
def test_an_event_of_a_later_year_ends_no_sale_at_work(name: str) -> None:
    """It was made early, or its year is misspelt. A person is asked."""
    found = find((90001, "PyCon TW 2031 Registration: Individual"), (90002, name), known={90001: INDIVIDUAL})
    assert found.partitions == (INDIVIDUAL,)
    [left] = found.unmatched
    assert "not 2031" in left.reason
    assert left.fix.startswith(f"set EDITION={left.edition} when that sale begins")


def test_an_event_of_an_earlier_year_asks_nobody() -> None:
    found = find((90002, "PyCon TW 2030 Registration: Individual"), known={90001: INDIVIDUAL})
    assert (found.edition, found.partitions, found.unmatched[0].fix) == ("2031", (), "")


def test_only_a_person_begins_an_edition_where_nothing_else_may() -> None:
    listed = (90001, "PyCon TW 2031 Registration: Individual")
    assert find(listed, may_begin=False).edition is None
    assert find(listed, may_begin=False).partitions == ()
    assert find(listed, may_begin=False, edition="2031").partitions == (INDIVIDUAL,)


@pytest.mark.parametrize("mapping", [None, EventPartition(90009, "2031", "individual")])
def test_a_key_of_a_wrong_year_that_was_recorded_does_not_decide_against_a_persons_word(
    mapping: EventPartition | None,
) -> None:
    known = {90001: INDIVIDUAL, 90009: EventPartition(90009, "2099", "individual")}
    assert live_edition(None, known, {}) == "2099"
    assert live_edition(None, known, {90009: mapping}) == "2031"


# -- a recorded key that a person contradicts -------------------------------------------------------


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_mapping_against_the_recorded_key_is_a_conflict_and_names_the_command(is_listed: bool) -> None:
    listed = [(90001, "PyCon TW 2031 Registration: Individual")] if is_listed else []
    mapped = EventPartition(90001, "2031", "corporate")
    found = find(*listed, known={90001: INDIVIDUAL}, mapped={90001: mapped})
    assert "rename-event 2031-individual-90001 2031-corporate-90001`" in found.conflicts[90001]
    assert found.partitions == ()
    assert [event.fix for event in found.unmatched] == [""] * is_listed, "the conflict says it already"


def test_a_mapping_that_says_what_is_recorded_is_no_conflict() -> None:
    listed = (90001, "PyCon TW 2031 Registration: Individual")
    found = find(listed, known={90001: INDIVIDUAL}, mapped={90001: INDIVIDUAL})
    assert (found.partitions, found.conflicts) == ((INDIVIDUAL,), {})
