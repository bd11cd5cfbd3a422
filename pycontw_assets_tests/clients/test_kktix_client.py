"""The KKTIX client has one method per question, and takes no answer for more than it says."""

from __future__ import annotations

import threading

import pytest

from pycontw_assets.api.client import Blocked, Malformed, Misconfigured, NotFound, Refused, ServiceError, Unavailable
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.records import Event
from pycontw_assets_tests.clients.scripted_server import HTML, Answer, Received, ScriptedServer

PREFIX = "/api/v2/hosting_events"


@pytest.fixture
def client(server, fake_time):
    return KktixClient(server.url + PREFIX, "kk-test-0000", sleep=fake_time.sleep, clock=fake_time.clock)


def rows(*events):
    return {"data": list(events)}


def test_events_that_have_not_ended_are_listed_with_the_token(server, client):
    server.will_answer(
        rows({"id": 90001, "name": "Registration: Individual", "slug": "x"}, {"id": "90002", "name": "B"})
    )
    listing = client.list_events()
    assert listing.events == (Event(90001, "Registration: Individual"), Event(90002, "B"))
    assert listing.warnings == ()
    request = server.received[0]
    assert request.target == f"{PREFIX}?only_not_ended_event=true"
    assert request.headers["authorization"] == "bearer kk-test-0000"


@pytest.mark.parametrize(
    "body", [[], None, {}, {"data": None}, {"data": {}}, rows("Registration"), rows(None, 7), "text", 7]
)
def test_a_listing_of_another_shape_is_not_an_empty_listing(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.list_events()


def test_events_without_id_or_name_are_left_out_and_reported(server, client):
    server.will_answer(
        rows({"id": 1, "name": "A"}, {"id": 2}, {"name": "C"}, {"id": True, "name": "D"}, {"id": 5, "name": " "}, None)
    )
    listing = client.list_events()
    assert listing.events == (Event(1, "A"),)
    assert listing.warnings == ("5 of 6 listed events have no usable id or name and are left alone",)


@pytest.mark.parametrize("number", [10**18, 2**63, 2**64 + 1, "9" * 19, 10**400, -1])
def test_an_event_id_beyond_its_bound_costs_only_that_event(server, client, number):
    server.will_answer(rows({"id": number, "name": "A"}, {"id": 10**18 - 1, "name": "B"}))
    listing = client.list_events()
    assert listing.events == (Event(10**18 - 1, "B"),)
    assert len(listing.warnings) == 1


def test_the_name_of_an_event_fits_every_store(server, client):
    server.will_answer(rows({"id": 1, "name": "Registration \ud83d\0" + "x" * 10_000}))
    [event] = client.list_events().events
    assert event.name.startswith("Registration \ufffdx")
    assert len(event.name) < 201


@pytest.mark.parametrize(
    "extra",
    [{"next": "x"}, {"links": {"next": "x"}}, {"total": 2}, {"meta": {"total_count": "7"}}, {"paging": {"next": 2}}],
)
def test_signs_of_paging_are_reported(server, client, extra):
    server.will_answer({**rows({"id": 1, "name": "A"}), **extra})
    assert len(client.list_events().warnings) == 1
    server.will_answer({"signin_status": [[1]], **extra})
    page = client.read_book(90001, 41001)
    assert len(page.warnings) == 1
    assert page.is_cut


def test_a_link_header_to_a_next_page_is_reported(server, client):
    server.will_answer(
        Answer(body={"signin_status": [[1]]}, headers={"Link": '<https://example.org/?page=2>; rel="next"'})
    )
    assert client.read_book(90001, 41001).is_cut


def test_a_book_that_did_not_change_is_not_read_again(server, client):
    for body in ({"signin_status": [[1], [2]]}, {"signin_status": [[1], [2]]}, {"signin_status": [[1], [2], [3]]}):
        server.will_answer(body)
    first, same, changed = (client.read_book(90001, 41001) for _ in range(3))
    assert same.ids is first.ids
    assert changed.ids == {1, 2, 3}


def test_books_are_not_taken_for_each_other(server, client):
    for numbers in ([1], [2], [3]):
        server.will_answer({"signin_status": [numbers]})
    pages = [client.read_book(*place) for place in ((90001, 41001), (90001, 41002), (90002, 41001))]
    assert [page.ids for page in pages] == [{1}, {2}, {3}]


@pytest.mark.parametrize(
    "broken",
    [Answer(status=500), HTML, {"data": []}, Answer(body=b"[[1"), Answer(body={"signin_status": [[1]]}, cut_after=9)],
)
def test_a_book_that_cannot_be_read_does_not_count_as_unchanged(server, client, broken):
    server.will_answer({"signin_status": [[1]]})
    client.read_book(90001, 41001)
    server.will_answer(*[broken] * 9)
    with pytest.raises(ServiceError):
        client.read_book(90001, 41001)


def test_what_the_answer_announces_counts_also_with_a_book_that_did_not_change(server, client):
    server.will_answer({"signin_status": [[1]]})
    assert not client.read_book(90001, 41001).is_cut
    link = {"Link": '<https://example.org/?page=2>; rel="next"'}
    server.will_answer(Answer(body={"signin_status": [[1]]}, headers=link))
    assert client.read_book(90001, 41001).is_cut


@pytest.mark.parametrize(("count", "is_round"), [(99, False), (100, True), (101, False), (500, True), (1000, True)])
def test_a_round_number_of_rows_looks_like_a_first_page(server, client, count, is_round):
    server.will_answer({"signin_status": [[number + 1, None] for number in range(count)], "links": {"next": None}})
    page = client.read_book(90001, 41001)
    assert len(page.ids) == count
    assert bool(page.warnings) == is_round
    assert not page.is_cut, "an event may happen to have so many attendees"


def test_a_wrong_url_of_the_events_is_misconfigured(server, client):
    server.will_answer(Answer(404))
    with pytest.raises(Misconfigured, match="KKTIX_API_URL"):
        client.list_events()


def test_all_books_of_an_event_are_named(server, client):
    server.will_answer([{"id": 41001, "name": "Day 1"}, {"id": "41002"}], [])
    assert client.read_book_ids(90001) == (41001, 41002)
    assert client.read_book_ids(90001) == ()
    assert server.received[0].target == f"{PREFIX}/90001/attendance_books"


@pytest.mark.parametrize("row", [41001, None, {}, {"id": None}, {"id": "x1"}, {"id": 2**64}])
def test_a_book_without_a_readable_id_costs_only_itself(server, client, row):
    server.will_answer([row, {"id": 41002}])
    assert client.read_book_ids(90001) == (None, 41002)


@pytest.mark.parametrize("body", [{}, None, {"data": []}])
def test_books_of_another_shape_are_malformed(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.read_book_ids(90001)


def test_only_the_first_position_of_a_book_row_is_read(server, client):
    server.will_answer({"signin_status": [[700101, None], ["700102"], [700107, 1.5, {}], [700101]]})
    assert client.read_book(90001, 41001).ids == {700101, 700102, 700107}
    assert server.received[0].target == f"{PREFIX}/90001/attendance_books/41001"


def test_an_empty_book_is_an_empty_book(server, client):
    server.will_answer({"signin_status": []})
    assert client.read_book(90001, 41001).ids == frozenset()


@pytest.mark.parametrize(
    "row", [[], None, 700101, [None], [True], [1.0], ["7x"], [-1], ["٧"], ["9" * 30], [2**64], [[700101]], {}]
)
def test_a_book_with_an_unreadable_row_is_not_whole(server, client, row):
    """A left-out id would look like a refund. The others are there all the same."""
    server.will_answer({"signin_status": [[700102], row]})
    page = client.read_book(90001, 41001)
    assert page.ids == {700102}
    assert page.is_cut
    assert "1 rows that cannot be read" in page.warnings[0]


@pytest.mark.parametrize("body", [[], None, {}, {"signin_status": None}, {"signin_status": {}}])
def test_a_book_of_another_shape_is_not_an_empty_book(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.read_book(90001, 41001)


def test_an_attendee_comes_as_it_was_sent(server, client):
    payload = {"id": 700101, "is_paid": True, "data": [["暱稱", "Quokka"]], "unknown": {"a": 1}}
    server.will_answer(payload)
    assert client.fetch_attendee(90001, 700101) == payload
    assert server.received[0].target == f"{PREFIX}/90001/attendees/700101"


@pytest.mark.parametrize("body", [[], None, {}, {"id": 700102}, {"id": None}, {"data": {"id": 700101}}])
def test_an_answer_about_somebody_else_is_malformed(server, client, body):
    server.will_answer(Answer(body=body))
    with pytest.raises(Malformed):
        client.fetch_attendee(90001, 700101)


@pytest.mark.parametrize("status", [404, 410])
def test_an_attendee_that_left_is_not_found(server, client, status):
    server.will_answer(Answer(status))
    with pytest.raises(NotFound):
        client.fetch_attendee(90001, 700101)


def attendee_id(request: Received) -> int:
    return int(request.path.rsplit("/", 1)[1])


def test_attendees_are_fetched_a_bounded_number_at_a_time(server: ScriptedServer, client):
    everyone_is_here = threading.Barrier(4)

    def answer(request: Received) -> Answer:
        everyone_is_here.wait(5)  # breaks unless four really are in flight
        return Answer(body={"id": attendee_id(request)}, delay=0.01)

    server.behave(answer)
    results = dict(client.fetch_attendees(90001, range(1, 25), concurrency=4))
    assert results == {number: {"id": number} for number in range(1, 25)}
    assert server.most_at_once == 4
    assert server.connections <= 4


def test_results_come_as_they_arrive(server, client):
    taken = []

    def ids():
        for number in range(1, 1001):
            taken.append(number)
            yield number

    server.behave(lambda request: Answer(body={"id": attendee_id(request)}))
    stream = client.fetch_attendees(90001, ids(), concurrency=3, ahead=0)
    for _ in range(5):
        next(stream)
    assert len(taken) <= 8
    stream.close()
    assert len(server.received) <= 8


def test_attendees_are_read_while_the_caller_is_busy(server, client):
    server.behave(lambda request: Answer(body={"id": attendee_id(request)}))
    stream = client.fetch_attendees(90001, range(1, 101), concurrency=2, ahead=20)
    next(stream)
    wait_until(lambda: len(server.received) == 22)
    stream.close()
    assert len(server.received) <= 24


def test_a_service_that_refuses_is_left_alone_while_the_caller_is_busy(server, client):
    server.behave(lambda request: Answer(403, HTML.body) if attendee_id(request) > 1 else Answer(body={"id": 1}))
    stream = client.fetch_attendees(90001, range(1, 101), concurrency=1, ahead=50)
    assert next(stream)[0] == 1
    wait_until(lambda: len(server.received) == 4)
    with pytest.raises(Blocked):
        list(stream)
    assert len(server.received) == 4


def test_one_bad_attendee_does_not_sink_the_rest(server, client):
    answers = {2: Answer(404), 3: Answer(400), 4: Answer(500), 5: Answer(body=[]), 6: Answer(body=b"{")}
    server.behave(lambda request: answers.get(attendee_id(request), Answer(body={"id": attendee_id(request)})))
    results = dict(client.fetch_attendees(90001, range(1, 9)))
    assert {number: type(result) for number, result in results.items()} == {
        1: dict, 2: NotFound, 3: Refused, 4: Unavailable, 5: Malformed, 6: Malformed, 7: dict, 8: dict,
    }  # fmt: skip


def test_a_sign_in_page_ends_the_fetching(server, client):
    server.behave(lambda request: HTML)
    with pytest.raises(Misconfigured):
        list(client.fetch_attendees(90001, range(1, 1001), concurrency=2))
    assert len(server.received) <= 12


def test_a_service_that_is_down_is_not_asked_for_everybody(server, client):
    server.behave(lambda request: Answer(503))
    results = dict(client.fetch_attendees(90001, range(1, 1001)))
    assert len(results) == 1000
    assert all(isinstance(result, Unavailable) for result in results.values())
    assert len(server.received) < 150


def test_after_an_interrupt_no_attendee_is_asked_for_or_tried_again(server, client):
    """Dagster raises its interrupt in the thread that waits for the answers, not in those that call."""
    answer_now = threading.Event()

    def answer(request: Received) -> Answer:
        if attendee_id(request) == 1:
            return Answer(body={"id": 1})
        answer_now.wait(10)
        return Answer(503)

    server.behave(answer)
    stream = client.fetch_attendees(90001, range(1, 100), concurrency=4)
    assert next(stream)[0] == 1
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt)
    asked = len(server.received)
    assert asked <= 5
    answer_now.set()
    for thread in threading.enumerate():
        if thread.name.startswith("kktix"):
            thread.join(10)
    assert len(server.received) <= 5, "none is tried again"


def wait_until(is_done):
    for _ in range(500):
        if is_done():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not within five seconds")


def test_nobody_is_asked_for_after_the_time_limit_of_the_caller(server, client):
    with TimeLimit(0):
        results = dict(client.fetch_attendees(90001, range(1, 9)))
    assert all(isinstance(result, Unavailable) for result in results.values())
    assert len(results) == 8
    assert server.received == []


def test_nobody_to_fetch_is_no_call(server, client):
    assert list(client.fetch_attendees(90001, [])) == []
    assert server.received == []


def test_the_token_is_in_no_repr(client):
    assert "kk-test-0000" not in repr(client)


def test_a_block_ends_the_reading_after_a_few_calls(server, client):
    server.behave(lambda request: Answer(403, HTML.body))
    with pytest.raises(Blocked):
        list(client.fetch_attendees(90001, range(1, 200), concurrency=1))
    assert len(server.received) == 3


def test_of_a_book_nothing_but_its_ids_stays_known(server, client):
    people = [{"name": "Invented Person", "email": "who@example.org"}]
    server.will_answer(Answer(body={"signin_status": [[1]], "attendees": people}))
    assert client.read_book(90001, 1).ids == {1}
    assert "who@example.org" not in repr(client._books._known)
