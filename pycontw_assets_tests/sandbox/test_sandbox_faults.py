"""Every fault happens on the socket, and the call log records it without secrets or personal data."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
import requests

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.context import ManualClock
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World

GUEST = {"role": "guest"}


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_status_is_sent_as_often_as_planned(world, kktix, status):
    world.faults.add("kktix", "status", status=status, times=2)
    assert [kktix.get().status_code for _ in range(3)] == [status, status, 200]


def test_a_429_carries_retry_after(world, klaviyo):
    world.faults.add("klaviyo", "status", status=429, retry_after=7)
    reply = klaviyo.get("/lists")
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
    assert reply.json()["errors"][0]["code"] == "throttled"


@pytest.mark.parametrize("kind", ["status", "html", "shape"])
def test_an_answer_can_quote_the_call(world, klaviyo, gather, kind):
    for service in ("klaviyo", "gather"):
        world.faults.add(service, kind, status=400, echoes=True)
    for reply, key in ((klaviyo.get("/lists"), keys.KLAVIYO_KEY), (gather.read(), keys.GATHER_KEY)):
        assert key in reply.text


@pytest.mark.parametrize("acts", [False, True])
def test_a_reset_loses_the_request_or_the_reply(world, gather, acts):
    world.faults.add("gather", "reset", method="POST", acts=acts)
    with pytest.raises(requests.ConnectionError) as caught:
        gather.write({"one@example.org": GUEST})
    assert "ConnectionReset" in repr(caught.value)
    assert ("one@example.org" in world.gather.guests) is acts
    assert gather.write({"two@example.org": GUEST}).status_code == 200


@pytest.mark.parametrize("acts", [False, True])
def test_a_time_out_happens_before_or_after_acting(world, klaviyo, acts):
    world.faults.add("klaviyo", "timeout", method="POST", acts=acts)
    body = {"data": {"type": "list", "attributes": {"name": "x"}}}
    headers = {"Content-Type": "application/vnd.api+json"}
    with pytest.raises(requests.ReadTimeout):
        klaviyo.session.post(f"{klaviyo.url}/lists", json=body, headers=headers, timeout=0.2)
    assert len(world.klaviyo.lists) == acts


def test_an_unanswered_call_is_dropped_at_last(world, kktix):
    world.faults.add("kktix", "timeout", seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        kktix.get()


def test_a_body_can_be_cut_short(world, kktix):
    world.add_event("PyCon TW 2031 Registration: Individual")
    world.faults.add("kktix", "truncate")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)) as caught:
        kktix.get()
    assert "IncompleteRead" in repr(caught.value)


def test_a_page_can_replace_the_answer(world, kktix):
    world.faults.add("kktix", "html")
    reply = kktix.get()
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_an_answer_can_redirect_to_a_sign_in(world, kktix, server):
    world.faults.add("kktix", "redirect")
    reply = kktix.get()
    assert (reply.status_code, reply.headers["location"]) == (302, "/sign_in")
    assert "sign in" in requests.get(server.url + "/sign_in", timeout=5).text


def test_the_json_can_have_the_wrong_shape(world, kktix):
    world.faults.add("kktix", "shape", body=["nothing", "expected"])
    assert kktix.get().json() == ["nothing", "expected"]


def test_latency_delays_but_does_not_break(world, kktix):
    world.faults.add("kktix", "latency", seconds=0.1, times=None)
    started = time.monotonic()
    assert kktix.get().status_code == 200
    assert time.monotonic() - started >= 0.1


def test_faults_choose_their_calls(world, klaviyo):
    world.faults.add("klaviyo", "status", method="POST", path=r"/lists$", times=None, skip=1)
    klaviyo.a_list("first")
    assert klaviyo.get("/lists").status_code == 200
    assert klaviyo.a_template()
    body = {"type": "list", "attributes": {"name": "second"}}
    assert [klaviyo.call("POST", "/lists", body).status_code for _ in range(2)] == [503, 503]
    world.faults.clear("klaviyo")
    assert klaviyo.call("POST", "/lists", body).status_code == 201


def test_a_status_may_hide_that_the_service_acted(world, klaviyo):
    world.faults.add("klaviyo", "status", method="POST", acts=True, status=502)
    assert klaviyo.call("POST", "/lists", {"type": "list", "attributes": {"name": "x"}}).status_code == 502
    assert len(world.klaviyo.lists) == 1


@pytest.mark.parametrize("acts", [False, True])
def test_a_hook_runs_before_or_after_the_act(world, gather, acts):
    counts = []
    world.faults.add("gather", "hook", method="POST", acts=acts, action=lambda: counts.append(len(world.gather.guests)))
    gather.write({"one@example.org": GUEST})
    assert counts == [int(acts)]


def test_a_hook_may_wait_for_another_call(world, gather, kktix):
    """Crash tests stop a caller during its call and read the world meanwhile."""
    reached, go_on = threading.Event(), threading.Event()
    world.faults.add("gather", "hook", action=lambda: (reached.set(), go_on.wait(5)))
    caller = threading.Thread(target=gather.read)
    caller.start()
    assert reached.wait(5)
    assert kktix.get().status_code == 200
    go_on.set()
    caller.join(5)


def test_an_unknown_kind_of_fault_is_refused(world):
    with pytest.raises(ValueError, match="unknown kind"):
        world.faults.add("kktix", "gremlins")


def test_the_log_counts_calls_without_secrets(world, gather, klaviyo):
    world.faults.add("gather", "reset", method="POST", acts=True)
    gather.read()
    mark = world.calls.mark()
    with pytest.raises(requests.ConnectionError):
        gather.write({"one@example.org": GUEST})
    klaviyo.get("/lists", filter='equals(name,"x")')
    assert world.calls.count("gather") == 2
    write, listing = world.calls.find(since=mark)
    assert (write.status, write.acted, write.fault) == (0, True, "reset")
    assert (listing.number, listing.path, listing.status) == (3, "/api/lists", 200)
    assert "sandbox-gather-key" not in repr(world.calls.find())


def test_a_stopped_server_drops_hanging_calls():
    world = World(ManualClock())
    world.faults.add("kktix", "timeout", seconds=60)
    started = time.monotonic()
    with SandboxServer(world) as server:
        caller = threading.Thread(target=_get_quietly, args=(server.url + "/kktix/",))
        caller.start()
        while not world.calls.count():
            time.sleep(0.01)
    caller.join(5)
    assert not caller.is_alive()
    assert time.monotonic() - started < 5


def _get_quietly(url: str) -> None:
    with contextlib.suppress(requests.ConnectionError):
        requests.get(url, timeout=30)
