"""One HTTP client for all three services: retries, time-outs and safe errors."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from pycontw_assets.api.adaptive_rate import Objection
from pycontw_assets.api.answers import Answer as Heard
from pycontw_assets.api.client import (
    ApiClient,
    Blocked,
    Malformed,
    Misconfigured,
    NotFound,
    Refused,
    ServiceError,
    TooLarge,
    Unavailable,
)
from pycontw_assets.api.rate_limits import RateLimiter
from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.api.time_limit import TimeLimit
from pycontw_assets_tests.clients.conftest import FakeTime
from pycontw_assets_tests.clients.scripted_server import HTML, RESET, Answer, ScriptedServer

SECRET = "kk-secret-0000"
ADDRESS = "buyer-one@example.org"
QUERY = f"apiKey={SECRET}&email=buyer-one%40example.org"


@pytest.fixture
def client(server: ScriptedServer, fake_time: FakeTime) -> ApiClient:
    return make_client(server.url, fake_time)


def make_client(url: str, fake_time: FakeTime, **options: Any) -> ApiClient:
    headers = {"Authorization": f"bearer {SECRET}"}
    client_options = {"sleep": fake_time.sleep, "clock": fake_time.clock, "timeouts": (1, 0.3), **options}
    return ApiClient("Shop", url, headers=headers, **client_options)


def read(client: ApiClient, path: str = "/things", **details: Any) -> Any:
    return client.request("GET", "read things", path, repeatable=True, **details).data


def write(client: ApiClient, **details: Any) -> Any:
    details = {"repeatable": False, "expect_json": False, "body": {"to": ADDRESS}, **details}
    return client.request("POST", "create thing", "/things", **details)


def test_an_answer_that_inflates_beyond_its_bound_is_not_read_to_its_end(
    server: ScriptedServer, fake_time: FakeTime
) -> None:
    client = make_client(server.url, fake_time, largest_answer=100_000)
    packed = gzip.compress(b"[" + b" " * 1_000_000 + b"]")
    server.behave(lambda request: Answer(200, packed, {"Content-Encoding": "gzip"}))
    with pytest.raises(Malformed, match="larger than any answer should be"):
        read(client)
    assert len(server.received) == 1, "it is as large the next time"
    with pytest.raises(Unavailable) as caught:
        write(client, expect_json=True)
    assert caught.value.outcome_unknown
    server.behave(lambda request: Answer(200, gzip.compress(b"[1]" + b" " * 90_000), {"Content-Encoding": "gzip"}))
    assert read(client) == [1]


def test_a_number_beyond_every_number_costs_only_itself(server: ScriptedServer, client: ApiClient) -> None:
    server.will_answer(Answer(200, b'{"a": ' + b"9" * 5000 + b', "b": 1e999, "c": 7}'))
    data = read(client)
    assert data["c"] == 7
    assert (data["a"], data["b"]) == ("9" * 5000, "1e999")


PASSING = {
    "500": Answer(500),
    "502": Answer(502),
    "503": Answer(503),
    "504": Answer(504),
    "524": Answer(524),
    "reset": RESET,
    "reset in the body": Answer(body={"a": 1}, cut_after=3, reset=True),
    "cut short": Answer(body={"a": 1}, cut_after=3),
    "cut short, chunked": Answer(body={"a": 1}, cut_after=3, chunked=True),
    "not JSON": Answer(body=b'{"a": '),
    "NaN": Answer(body=b'{"a": NaN}'),
    "empty": Answer(),
    "late": Answer(body={}, delay=0.5),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_read_that_fails_in_passing_is_tried_again(server, client, fault):
    server.will_answer(fault, {"a": 1})
    assert read(client) == {"a": 1}
    assert len(server.received) == client.requests_sent == 2


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_an_unrepeatable_write_ends_with_unknown_outcome(server, client, fault):
    server.will_answer(fault)
    with pytest.raises(Unavailable) as caught:
        write(client, expect_json=True)
    assert caught.value.outcome_unknown
    assert len(server.received) == 1


def test_an_earlier_try_keeps_the_outcome_in_doubt(server, client):
    server.will_answer(Answer(502), Answer(408), Answer(408))
    with pytest.raises(Unavailable) as caught:
        write(client, repeatable=True)
    assert (caught.value.status, caught.value.outcome_unknown) == (408, True)


def test_a_success_needs_no_body(server, client):
    for answer in (Answer(204), Answer(body=b"done"), Answer(body=b"[1", cut_after=1)):
        server.will_answer(answer)
        assert write(client).status == answer.status


def test_attempts_are_bounded_and_the_pauses_between_them_grow(server, client, fake_time):
    server.behave(lambda request: Answer(503))
    with pytest.raises(Unavailable) as caught:
        read(client)
    assert (caught.value.status, caught.value.outcome_unknown) == (503, False)
    assert len(server.received) == 3
    assert 0.5 <= fake_time.slept[0] <= 1.5 <= fake_time.slept[1] + 0.5 <= 3.5


def test_an_answer_that_stays_unreadable_is_malformed(server, client):
    server.behave(lambda request: Answer(body=b"[1, 2"))
    with pytest.raises(Malformed):
        read(client)
    assert len(server.received) == 3


def test_a_refused_connection_leaves_no_doubt_about_the_outcome(fake_time):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(f"http://127.0.0.1:{unused.getsockname()[1]}", fake_time)
        with pytest.raises(Unavailable, match="could not connect") as caught:
            write(client)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Misconfigured),
        (302, Misconfigured),
        (400, Refused),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, NotFound),
        (409, Refused),
        (410, NotFound),
        (413, TooLarge),
        (422, Refused),
    ],
)
def test_a_refusal_has_its_kind_and_is_never_repeated(server, client, status, kind):
    server.will_answer(Answer(status, headers={"Location": "/elsewhere"}))
    with pytest.raises(ServiceError) as caught:
        read(client)
    assert (type(caught.value), caught.value.status) == (kind, status)
    assert len(server.received) == 1


def test_a_refusal_names_the_refused_field_but_quotes_nothing(server, client):
    errors = [
        {"code": "invalid", "detail": f"{ADDRESS} is bad", "source": {"pointer": "/data/attributes/email"}},
        {"code": f"bad {ADDRESS}", "source": {"pointer": f"/data/{ADDRESS}"}},
        {"code": None, "source": None},
        "nonsense",
    ]
    server.will_answer(Answer(400, {"errors": errors}))
    with pytest.raises(Refused) as caught:
        read(client)
    assert caught.value.pointers == ("/data/attributes/email",)
    assert str(caught.value) == "Shop: read things: answered 400 (invalid, /data/attributes/email)"


def test_a_page_where_json_is_expected_is_a_matter_of_configuration(server, client):
    server.will_answer(*[HTML] * 4)
    with pytest.raises(Misconfigured):
        read(client)
    with pytest.raises(Misconfigured):
        write(client)
    assert len(server.received) == 3 + 1


def test_one_page_among_answers_is_asked_for_again(server, client):
    server.will_answer(HTML, Answer(body={}))
    assert read(client) == {}


@pytest.mark.parametrize("status", [200, 403, 404])
def test_a_page_from_the_network_edge_passes(server, fake_time, status):
    """A 404 page of the edge must not be read as "no such send job"."""
    client = make_client(server.url, fake_time, edge_pages=True)
    server.will_answer(Answer(status, HTML.body), {"a": 1})
    assert read(client) == {"a": 1}
    server.behave(lambda request: Answer(status, HTML.body))
    with pytest.raises(Unavailable):
        read(client)


def test_a_403_page_means_blocked_and_not_a_wrong_key(server, client):
    server.will_answer(Answer(403, HTML.body))
    with pytest.raises(Blocked, match="blocks this program") as caught:
        read(client)
    assert "key is wrong" not in str(caught.value)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("answers", "objections"),
    [
        ([Answer(429, headers={"Retry-After": "1"}), {}], ["too many requests"]),
        ([Answer(403, HTML.body)], ["blocked"]),
        ([Answer(403, {"error": "forbidden"})], []),
    ],
)
def test_the_limiter_hears_what_a_service_objects_to(server, fake_time, answers, objections):
    class Listener(RateLimiter):
        def __init__(self) -> None:
            super().__init__({"reads": [(100, 1)]}, fake_time.clock)
            self.heard: list[str] = []
            self.answers = 0

        def slow_down(self, group: str, reason: Objection) -> None:
            self.heard.append(reason)

        def answered_in(self, group: str, seconds: float) -> None:
            self.answers += 1

    listener = Listener()
    server.will_answer(*answers)
    with suppress(ServiceError):
        read(make_client(server.url, fake_time, limiter=listener), group="reads")
    assert (listener.heard, listener.answers) == (objections, len(answers))


def test_a_demand_to_wait_is_obeyed_and_is_not_an_attempt(server, client, fake_time):
    server.will_answer(*[Answer(429, headers={"Retry-After": "7"})] * 5, {"a": 1})
    assert read(client) == {"a": 1}
    assert len(fake_time.slept) == 5
    assert all(7 <= seconds <= 8 for seconds in fake_time.slept)


def test_a_throttled_write_was_not_executed_and_is_sent_again(server, client):
    server.will_answer(Answer(429, headers={"Retry-After": "1"}), Answer(201))
    assert write(client).status == 201


def test_the_wait_may_be_a_date_of_the_services_clock(server, client, fake_time):
    now = datetime(2031, 6, 1, tzinfo=timezone.utc)
    dates = {"Date": format_datetime(now, usegmt=True), "Retry-After": format_datetime(now + timedelta(seconds=30))}
    server.will_answer(Answer(503, headers=dates), {})
    read(client)
    assert fake_time.slept == [30]


@pytest.mark.parametrize("nonsense", ["soon", "-5", "", "1e9"])
def test_without_a_readable_wait_the_waits_grow(server, client, fake_time, nonsense):
    server.will_answer(*[Answer(429, headers={"Retry-After": nonsense})] * 3, {})
    read(client)
    assert fake_time.slept == sorted(fake_time.slept)
    assert 2 <= fake_time.slept[0] <= 3
    assert 8 <= fake_time.slept[2] <= 9


def test_waiting_ends_at_the_deadline_without_sleeping_through_it(server, client, fake_time):
    server.behave(lambda request: Answer(429, headers={"Retry-After": "100"}))
    with pytest.raises(Unavailable) as caught:
        read(client)
    assert caught.value.status == 429
    assert not caught.value.outcome_unknown
    assert sum(fake_time.slept) <= 240
    assert len(server.received) == 3


def test_a_sleep_that_does_nothing_cannot_make_a_call_endless(server):
    client = ApiClient("Shop", server.url, sleep=lambda seconds: None)
    server.behave(lambda request: Answer(429, headers={"Retry-After": "0"}))
    with pytest.raises(Unavailable):
        read(client)
    assert len(server.received) < 600


def test_a_wait_asked_of_one_thread_holds_for_all(server, fake_time):
    client = make_client(server.url, fake_time)
    server.will_answer(Answer(429, headers={"Retry-After": "1000"}))
    with pytest.raises(Unavailable):
        read(client)
    with pytest.raises(Unavailable, match="429"), ThreadPoolExecutor(1) as other:
        other.submit(read, client).result()
    assert len(server.received) == 1


def test_a_body_that_trickles_ends_at_the_deadline(server):
    """Each byte is in time for the read time-out. All of them together are not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b" ")
                        done.wait(0.02)
                except OSError:
                    return

        done = threading.Event()
        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Malformed, match="cut short"):
            read(ApiClient("Shop", url, deadline_seconds=0.2))
        thread.join(2)


def test_one_connection_serves_many_calls(server, client):
    for _ in range(20):
        read(client)
    assert server.connections == 1


def test_the_pool_bounds_the_connections(server, fake_time):
    client = make_client(server.url, fake_time, pool_size=3)
    server.behave(lambda request: Answer(body={}, delay=0.02))
    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda _: read(client), range(24)))
    assert server.most_at_once <= 3
    assert server.connections <= 3
    assert client.requests_sent == 24


@pytest.mark.parametrize("suffix", ["", "/", "/prefix", "/prefix/"])
def test_base_urls_may_carry_a_prefix_and_end_in_a_slash(server, fake_time, suffix):
    read(make_client(server.url + suffix, fake_time), "/api/things", query="a=1%5C")
    assert server.received[0].target == suffix.rstrip("/") + "/api/things?a=1%5C"


def test_nothing_outside_replaces_our_credentials(server, fake_time, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for host in ("127.0.0.1", "user:other@127.0.0.1"):
        read(make_client(server.url.replace("127.0.0.1", host), fake_time))
        assert server.received[-1].headers["authorization"] == f"bearer {SECRET}"


def test_a_proxy_does_not_get_the_sandboxs_calls(server, fake_time, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert read(make_client(server.url, fake_time)) == {}


def test_cookies_are_not_kept(server, client):
    server.will_answer(Answer(body={}, headers={"Set-Cookie": "session=1"}))
    read(client)
    read(client)
    assert "cookie" not in server.received[1].headers


@pytest.mark.parametrize("url", ["shop.example.org", "ftp://127.0.0.1", "http://", "http://[::1"])
def test_a_url_that_cannot_be_called_is_a_matter_of_configuration(fake_time, url):
    with pytest.raises(Misconfigured):
        read(make_client(url, fake_time))


@pytest.mark.parametrize("key", ["line\nend", "鑰匙"])
def test_a_key_that_cannot_be_sent_is_a_matter_of_configuration(server, fake_time, key):
    client = ApiClient("Shop", server.url, headers={"Authorization": key})
    with pytest.raises(Misconfigured) as caught:
        read(client)
    assert key not in "".join(traceback.format_exception(caught.value))


def test_the_hook_runs_before_every_try_and_may_end_it(server, fake_time):
    seen = []

    def crash(method: str, operation: str) -> None:
        seen.append((method, operation))
        if len(seen) == 2:
            raise KeyboardInterrupt

    client = make_client(server.url, fake_time, on_request=crash)
    server.will_answer(Answer(503))
    with pytest.raises(KeyboardInterrupt):
        read(client)
    assert seen == [("GET", "read things")] * 2
    assert len(server.received) == 1


LEAKY = {
    **PASSING,
    "throttled": Answer(429, headers={"Retry-After": "9999"}),
    "refused": Answer(400, {"errors": [{"detail": ADDRESS, "source": {"pointer": ADDRESS}}]}),
    "key refused": Answer(401, SECRET.encode()),
    "gone": Answer(404, ADDRESS.encode()),
    "redirect": Answer(302, headers={"Location": f"/sign-in?key={SECRET}"}),
    "page": HTML,
    "page naming people": Answer(200, f"<html>{ADDRESS}".encode()),
}


@pytest.mark.parametrize("answer", LEAKY.values(), ids=LEAKY)
def test_no_error_and_no_log_line_quotes_a_key_an_address_or_a_url(server, client, caplog, answer):
    for name in (None, "urllib3", "urllib3.connectionpool", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    server.behave(lambda request: answer)
    with pytest.raises(ServiceError) as caught:
        read(client, query=QUERY, body={"to": ADDRESS})
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + caplog.text + repr(client) + repr(error.args)
    for quoted in (SECRET, ADDRESS, "buyer-one", "127.0.0.1", "apiKey", "sign-in?"):
        assert quoted not in shown


def test_a_failed_try_is_one_line_with_its_request_id(server, client, caplog):
    caplog.set_level(logging.DEBUG, logger="pycontw_assets")
    ids = [{"X-Request-Id": "8f1c-2031"}, {"CF-Ray": ADDRESS}]
    server.will_answer(Answer(503, headers=ids[0]), Answer(429, headers=ids[1]), Answer(404))
    with pytest.raises(NotFound):
        read(client, query=QUERY)
    line = "event=request_failed step=request service=Shop operation=read_things"
    assert caplog.messages == [
        f"{line} status=503 attempt=1 request_id=8f1c-2031 outcome=retried",
        f"{line} status=429 attempt=1 outcome=throttled",
        f"{line} status=404 attempt=2 outcome=refused",
    ]


def test_a_refused_connection_quotes_nothing_either(caplog, fake_time):
    caplog.set_level(logging.DEBUG)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = make_client(f"http://127.0.0.1:{unused.getsockname()[1]}", fake_time)
        with pytest.raises(Unavailable) as caught:
            read(client, query=QUERY)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert SECRET not in shown
    assert "127.0.0.1" not in shown


def test_calls_of_a_limited_group_wait_for_their_slot(server, fake_time):
    limiter = RateLimiter({"posts": [(1, 100)]}, fake_time.clock)
    client = make_client(server.url, fake_time, limiter=limiter)
    for _ in range(3):
        read(client, group="posts")
    assert fake_time.slept == [100, 100]
    read(client)
    assert fake_time.slept == [100, 100]


# -- work that must end ------------------------------------------------------------------------------


def test_after_a_stop_no_call_and_no_further_try_begins(server, fake_time):
    stop = Stop()
    client = make_client(server.url, fake_time, gate=stop.check)
    server.behave(lambda request: stop.ask() or Answer(503))
    with pytest.raises(Stopped):
        read(client)
    assert len(server.received) == 1
    for call in (read, write):
        with pytest.raises(Stopped):
            call(client)
    assert len(server.received) == 1


def test_a_call_that_was_under_way_at_the_stop_comes_to_its_end(server, fake_time):
    stop = Stop()
    client = make_client(server.url, fake_time, gate=stop.check)
    server.behave(lambda request: stop.ask() or Answer(202))
    assert write(client).status == 202


def test_a_wait_ends_with_the_stop(server, fake_time):
    stop = Stop()
    client = make_client(server.url, fake_time, gate=stop.check, sleep=stop.sleep)
    server.will_answer(Answer(429, headers={"Retry-After": "200"}))
    timer = threading.Timer(0.1, stop.ask)
    timer.start()
    with pytest.raises(Stopped):
        read(client)
    timer.join()
    assert len(server.received) == 1


def test_calls_of_a_thread_end_within_its_limit_of_time(server, client, fake_time):
    limit = TimeLimit(8, clock=fake_time.clock)
    server.behave(lambda request: Answer(429, headers={"Retry-After": "5"}))
    with limit, pytest.raises(Unavailable, match="longer than this call may take"):
        read(client)
    assert (len(server.received), limit.left) == (2, pytest.approx(2, abs=1))
    fake_time.now += 3
    fresh = make_client(server.url, fake_time)
    with limit, pytest.raises(Unavailable, match="not asked for: no time was left"):
        read(fresh)
    assert len(server.received) == 2
    server.will_answer({"a": 1})
    assert read(fresh) == {"a": 1}, "without a limit"


def test_a_limit_shortens_the_wait_for_an_answer(server, fake_time):
    client = make_client(server.url, fake_time, timeouts=(5, 30), attempts=1)
    server.will_answer(Answer(body={}, delay=2))
    with TimeLimit(0.2), pytest.raises(Unavailable):
        read(client)


def test_every_answer_is_handed_on_whatever_it_says(server: ScriptedServer, fake_time: FakeTime) -> None:
    heard: list[tuple[int, str, bool]] = []

    def hear(answer: Heard, seconds: float) -> None:
        heard.append((answer.status, answer.headers["x-kind"], seconds >= 0))

    client = make_client(server.url, fake_time, on_answer=hear)
    server.will_answer(Answer(503, headers={"X-Kind": "first"}), RESET, Answer(404, headers={"X-Kind": "second"}))
    with pytest.raises(NotFound):
        read(client)
    assert heard == [(503, "first", True), (404, "second", True)]
