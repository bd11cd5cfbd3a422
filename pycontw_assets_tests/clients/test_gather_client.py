"""The Gather client: the guest list is read and written exactly as the vendor wants it spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.api.bounds import is_within, read_float
from pycontw_assets.api.client import Malformed, Misconfigured, Refused, TooLarge, Unavailable
from pycontw_assets.authorize.gather_client import (
    _DEEPEST_ENTRY,
    _LARGEST_ENTRY,
    _MOST_MEMBERS,
    GatherClient,
    GuestList,
    _is_readable,
    _is_short,
)
from pycontw_assets.authorize.spaces import validate_space_id
from pycontw_assets_tests.clients.scripted_server import HTML, RESET, Answer

SPACE = "AbCdEfGh12345678\\Py Venue"
KEY = "gk/test 0000"
GUESTS = {"buyer-one@example.org": {"name": "", "role": "guest", "affiliation": "Attendee"}}


@pytest.fixture
def client(server, fake_time):
    return GatherClient(server.url, KEY, SPACE, sleep=fake_time.sleep, clock=fake_time.clock)


def test_a_space_id_with_one_backslash_is_taken_as_it_is():
    assert validate_space_id(SPACE) == SPACE


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "AbCdEfGh12345678",
        "AbCdEfGh12345678\\",
        "\\Py Venue",
        " \\Py Venue",
        "AbCdEfGh12345678\\\\Py Venue",
        "AbCdEfGh12345678%5CPy Venue",
        "AbCdEfGh12345678%5cPy Venue",
        "AbCdEfGh12345678\\Py%20Venue",
        "AbCdEfGh12345678/Py Venue",
        "https://app.gather.town/app/AbCdEfGh12345678/Py%20Venue",
        "a\\b\\c",
    ],
)
def test_every_other_spelling_of_it_is_refused_with_the_way_out(spelling):
    with pytest.raises(ValueError, match=r"GATHER_SPACE_ID .*<id>\\<space name>"):
        validate_space_id(spelling)
    with pytest.raises(ValueError, match="GATHER_SPACE_ID"):
        GatherClient("http://127.0.0.1", KEY, spelling)


def test_the_query_spells_backslash_and_blank_the_one_way_that_works(server, client):
    server.will_answer({})
    client.read()
    expected = "/api/getEmailGuestlist?apiKey=gk%2Ftest%200000&spaceId=AbCdEfGh12345678%5CPy%20Venue"
    assert server.received[0].target == expected


def test_of_several_spaces_each_list_is_read_and_written_with_its_own_id(server, fake_time):
    other = "IjKlMnOp12345678\\Py Venue 2"
    client = GatherClient(server.url, KEY, f"{SPACE}:500,{other}", sleep=fake_time.sleep, clock=fake_time.clock)
    assert [(space.space_id, space.capacity) for space in client.each()] == [(SPACE, 500), (other, None)]
    server.behave(lambda request: Answer(body={}))
    for one in client.each().values():
        one.read()
        one.add(GUESTS)
        assert one.api is client.api, "they share the rate"
    assert [request.json["spaceId"] for request in server.received[1::2]] == [SPACE, other]
    assert "IjKlMnOp12345678%5CPy%20Venue%202" in server.received[2].target


def test_the_list_comes_verbatim_odd_entries_included(server, client):
    entries = {**GUESTS, "By.Hand@example.org ": {}, "speaker@example.org": {"x": [1]}, "odd@example.org": None}
    server.will_answer(entries)
    assert client.read() == GuestList(entries, was_object=True)


UNREADABLE = {
    "half a character in a key": {"\ud83d@example.org": {"name": ""}},
    "a key without end": {"x" * 1001: {"name": ""}},
    "too deep": {"deep@example.org": {"a": [[[[[[[[[[[[[[[["x"]]]]]]]]]]]]]]]]}},
    "too large": {"large@example.org": {"name": "x" * 100_001}},
}


@pytest.mark.parametrize("entry", UNREADABLE)
def test_an_entry_that_cannot_be_read_costs_only_itself(server, client, entry):
    server.will_answer({**GUESTS, **UNREADABLE[entry]})
    assert client.read() == GuestList(GUESTS, unreadable=1)


def test_a_number_that_cannot_be_written_back_is_unreadable(server, client):
    body = b'{"a@example.org": {"seat": 1e999}, "b@example.org": {"seat": 1.5}, "c@example.org": {"name": "\\ud83d"}}'
    server.will_answer(Answer(body=body))
    half = {"c@example.org": {"name": "\ud83d"}}
    assert client.read() == GuestList({"b@example.org": {"seat": 1.5}, **half}, unreadable=1)


_texts = st.text() | st.just("x" * 1000) | st.just("x" * 1001) | st.just(read_float("1e999"))


@given(st.dictionaries(st.text(), _texts, max_size=3) | st.just({str(i).zfill(1000): "x" * 1000 for i in range(60)}))
def test_an_entry_of_short_texts_is_within_all_bounds(entry):
    is_whole = is_within(entry, levels=_DEEPEST_ENTRY, size=_LARGEST_ENTRY, whole_characters=False)
    assert is_whole or not _is_short(entry)
    assert _is_readable("a@example.org", entry) == is_whole


def test_the_largest_entry_of_short_texts_is_readable():
    entry = {str(i).zfill(1000): "x" * 1000 for i in range(_MOST_MEMBERS)}
    assert _is_short(entry)
    assert is_within(entry, levels=_DEEPEST_ENTRY, size=_LARGEST_ENTRY, whole_characters=False)


@pytest.mark.parametrize("body", [[], None])
def test_an_empty_answer_that_is_no_object_says_so(server, client, body):
    """Good enough to add to, never to remove from."""
    server.will_answer(Answer(body=body))
    assert client.read() == GuestList({}, was_object=False)


@pytest.mark.parametrize("body", [["buyer-one@example.org"], "text", 0, False, b"", b"{"])
def test_any_other_shape_is_not_an_empty_list(server, client, body):
    server.behave(lambda request: Answer(body=body))
    with pytest.raises(Malformed):
        client.read()


def test_the_repr_of_a_guest_list_names_nobody():
    assert "buyer" not in repr(GuestList(GUESTS))


@pytest.mark.parametrize(("method", "overwrite"), [("add", False), ("overwrite", True)])
def test_real_types_are_sent(server, client, method, overwrite):
    """A string holding JSON, or "True", was answered 200 and let nobody in."""
    getattr(client, method)(GUESTS)
    request = server.received[0]
    assert request.json == {"apiKey": KEY, "spaceId": SPACE, "overwrite": overwrite, "guestlist": GUESTS}
    assert b'"spaceId": "AbCdEfGh12345678\\\\Py Venue"' in request.body
    assert request.headers["content-type"] == "application/json"
    assert (request.method, request.target) == ("POST", "/api/setEmailGuestlist")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(204),
        Answer(body=b""),
        Answer(body=b"OK", headers={"Content-Type": "text/html"}),
        Answer(201, []),
        Answer(body=GUESTS),
    ],
)
def test_any_success_body_is_fine(server, client, answer):
    server.will_answer(answer, answer)
    client.add(GUESTS)
    client.overwrite(GUESTS)


@pytest.mark.parametrize("fault", [Answer(502), RESET])
def test_adding_is_repeated_and_overwriting_never(server, client, fault):
    server.will_answer(fault, Answer(204))
    client.add(GUESTS)
    server.will_answer(fault)
    with pytest.raises(Unavailable) as caught:
        client.overwrite(GUESTS)
    assert caught.value.outcome_unknown
    assert len(server.received) == 3


@pytest.mark.parametrize("answer", [Answer(401), Answer(403), Answer(404), HTML, Answer(302)])
def test_wrong_key_space_or_url_is_a_matter_of_configuration(server, client, answer):
    server.behave(lambda request: answer)
    for call in (client.read, lambda: client.add(GUESTS), lambda: client.overwrite(GUESTS)):
        with pytest.raises(Misconfigured):
            call()


@pytest.mark.parametrize(("status", "kind"), [(400, Refused), (413, TooLarge)])
def test_refusals_that_halving_can_cure_are_an_error_of_their_own(server, client, status, kind):
    server.will_answer(Answer(status, b"buyer-one@example.org is bad"))
    with pytest.raises(kind) as caught:
        client.add(GUESTS)
    assert "buyer" not in str(caught.value)


def test_a_throttle_without_a_time_waits_a_minute_and_then_longer(server, client, fake_time):
    server.will_answer(Answer(429), Answer(429), Answer(204))
    client.add(GUESTS)
    assert 60 <= fake_time.slept[0] <= 61
    assert 120 <= fake_time.slept[1] <= 121


def test_the_key_is_in_no_repr(client):
    assert KEY not in repr(client)
    assert SPACE not in repr(client)
