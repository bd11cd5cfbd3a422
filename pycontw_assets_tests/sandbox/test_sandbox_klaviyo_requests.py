"""The simulated Klaviyo refuses all requests that the real service refuses or silently ignores."""

from __future__ import annotations

import json

import pytest

REFERENCE = {"type": "campaign-send-job", "id": "x"}


def problems(reply, status=400):
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/vnd.api+json"
    sources = [error["source"] for error in reply.json()["errors"]]
    return [source.get("pointer") or source.get("parameter") for source in sources]


# -- headers --------------------------------------------------------------------------------------------------


def test_the_key_is_checked(klaviyo):
    assert klaviyo.call("GET", "/lists", headers={"Authorization": "Klaviyo-API-Key wrong"}).status_code == 401
    assert klaviyo.call("GET", "/lists", headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize("revision", [None, "2024-10-15", "2026-10-15"])
def test_the_revision_is_required(klaviyo, revision):
    assert klaviyo.call("GET", "/lists", headers={"revision": revision}).status_code == 400


def test_media_types_are_checked(klaviyo):
    body = {"type": "list", "attributes": {"name": "x"}}
    assert klaviyo.call("POST", "/lists", body, headers={"Content-Type": "application/json"}).status_code == 415
    assert klaviyo.call("GET", "/lists", headers={"Accept": "text/html"}).status_code == 406


def test_unknown_paths_and_methods(klaviyo):
    assert klaviyo.get("/no-such-thing").status_code == 404
    assert klaviyo.call("DELETE", "/lists").status_code == 405
    for path in ("/lists/x", "/templates/x", "/campaigns/x", "/campaign-messages/x", "/campaign-send-jobs/x"):
        assert klaviyo.get(path).status_code == 404


# -- bodies ---------------------------------------------------------------------------------------------------


def test_a_misspelt_option_is_refused_with_a_pointer(klaviyo):
    body = klaviyo.campaign_body(klaviyo.a_list(), send_options={"use_smart_sendng": False})
    assert problems(klaviyo.call("POST", "/campaigns", body)) == ["/data/attributes/send_options/use_smart_sendng"]


@pytest.mark.parametrize(
    ("spoil", "pointer"),
    [
        (lambda a: a.pop("name"), "/data/attributes/name"),
        (lambda a: a.pop("audiences"), "/data/attributes/audiences"),
        (lambda a: a["audiences"].update(included=["nolist"]), "/data/attributes/audiences/included"),
        (lambda a: a.pop("campaign-messages"), "/data/attributes/campaign-messages"),
        (lambda a: a.update(send_strategy={"method": "sometime"}), "/data/attributes/send_strategy"),
        (
            lambda a: a.update(send_strategy={"method": "static", "datetime": "2031-07-01T00:00:00"}),
            "/data/attributes/send_strategy/datetime",
        ),
        (
            lambda a: a.update(send_strategy={"method": "static", "datetime": "2001-07-01T00:00:00Z"}),
            "/data/attributes/send_strategy/datetime",
        ),
        (
            lambda a: a.update(send_options={"use_smart_sending": "no"}),
            "/data/attributes/send_options/use_smart_sending",
        ),
        (
            lambda a: a["campaign-messages"]["data"][0]["attributes"]["definition"].update(channel="sms"),
            "/data/attributes/campaign-messages/data/0/attributes/definition/channel",
        ),
        (
            lambda a: a["campaign-messages"]["data"][0]["attributes"]["definition"].update(lable="x"),
            "/data/attributes/campaign-messages/data/0/attributes/definition/lable",
        ),
        (
            lambda a: a["campaign-messages"]["data"][0]["attributes"]["definition"]["content"].update(from_email="me"),
            "/data/attributes/campaign-messages/data/0/attributes/definition/content/from_email",
        ),
    ],
)
def test_a_wrong_campaign_is_refused_with_a_pointer(klaviyo, spoil, pointer):
    body = klaviyo.campaign_body(klaviyo.a_list())
    spoil(body["attributes"])
    assert problems(klaviyo.call("POST", "/campaigns", body)) == [pointer]


@pytest.mark.parametrize(
    ("path", "data", "pointer"),
    [
        ("/lists", {"type": "lists", "attributes": {"name": "x"}}, "/data/type"),
        ("/lists", {"type": "list", "attributes": {"name": 1}}, "/data/attributes/name"),
        ("/lists", {"type": "list", "attributes": {"name": "x", "opt_in": "y"}}, "/data/attributes/opt_in"),
        ("/profile-import", {"type": "profile", "attributes": {"mail": "a@example.org"}}, "/data/attributes/mail"),
        ("/profile-import", {"type": "profile", "attributes": {"email": "nobody"}}, "/data/attributes/email"),
        ("/profile-import", {"type": "profile", "attributes": {"email": None}}, "/data/attributes"),
        (
            "/profile-import",
            {"type": "profile", "attributes": {"phone_number": "0900-000-001"}},
            "/data/attributes/phone_number",
        ),
        ("/templates", {"type": "template", "attributes": {"name": "x"}}, "/data/attributes/editor_type"),
        (
            "/templates",
            {"type": "template", "attributes": {"name": "x", "editor_type": "SIMPLE"}},
            "/data/attributes/editor_type",
        ),
        ("/campaign-send-jobs", {"type": "campaign-send-job"}, "/data/id"),
        ("/campaign-send-jobs", {**REFERENCE, "attributes": {}}, "/data/attributes"),
        ("/events", {"type": "event", "attributes": {"properties": {}}}, "/data/attributes/metric"),
    ],
)
def test_a_wrong_body_is_refused_with_a_pointer(klaviyo, path, data, pointer):
    assert pointer in problems(klaviyo.call("POST", path, data))


def test_all_errors_of_a_body_are_listed(klaviyo):
    data = {"type": "template", "attributes": {"name": 1, "editor_type": "CODE", "htm": ""}}
    pointers = problems(klaviyo.call("POST", "/templates", data))
    assert pointers == ["/data/attributes/name", "/data/attributes/htm"]


def test_broken_json_is_refused(klaviyo):
    headers = {"Content-Type": "application/vnd.api+json"}
    reply = klaviyo.session.post(f"{klaviyo.url}/lists", data='{"data": ', headers=headers, timeout=5)
    assert reply.status_code == 400


def test_the_id_of_body_and_path_must_agree(klaviyo):
    template = klaviyo.a_template()
    data = {"type": "template", "id": "other", "attributes": {"text": "x"}}
    assert problems(klaviyo.call("PATCH", f"/templates/{template}", data)) == ["/data/id"]


def test_at_most_a_thousand_members_per_call(klaviyo):
    list_id = klaviyo.a_list()
    members = [{"type": "profile", "id": "x"}] * 1001
    for method in ("POST", "DELETE"):
        assert klaviyo.call(method, f"/lists/{list_id}/relationships/profiles", members).status_code == 400


def test_an_unknown_member_refuses_the_whole_call(klaviyo):
    list_id, profile_id = klaviyo.a_list(), klaviyo.a_profile("a@example.org")
    members = [{"type": "profile", "id": profile_id}, {"type": "profile", "id": "unknown"}]
    reply = klaviyo.call("POST", f"/lists/{list_id}/relationships/profiles", members)
    assert problems(reply, 404) == ["/data/1/id"]
    assert klaviyo.good("GET", f"/lists/{list_id}/profiles") == []


def test_bodies_have_a_maximum_size(klaviyo):
    attributes = {"email": "a@example.org", "properties": {"x": "x" * 100_000}}
    assert klaviyo.call("POST", "/profile-import", {"type": "profile", "attributes": attributes}).status_code == 413


# -- query strings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "params", "parameter"),
    [
        ("/lists", {"page__size": "11"}, "page[size]"),
        ("/templates", {"page__size": "11"}, "page[size]"),
        ("/campaigns", {"page__size": "101", "filter": 'equals(messages.channel,"email")'}, "page[size]"),
        ("/profiles", {"page__size": "101"}, "page[size]"),
        ("/lists", {"page__size": "0"}, "page[size]"),
        ("/campaigns", {}, "filter"),
        ("/campaigns", {"filter": 'contains(name,"x")'}, "filter"),
        ("/campaigns", {"filter": 'equals(messages.channel,"email"),equals(name,"x")'}, "filter"),
        ("/lists", {"filter": 'contains(name,"x")'}, "filter"),
        ("/lists", {"filter": "equals(name,x)"}, "filter"),
        ("/lists", {"filter": 'equals(name,"x"'}, "filter"),
        ("/lists", {"filter": 'or(equals(name,"x"),equals(name,"y"))'}, "filter"),
        ("/lists", {"filter": 'greater-than(created,"2031-01-01T00:00:00Z")'}, "filter"),
        ("/lists", {"filter": "greater-than(created,2031-01-01)"}, "filter"),
        ("/lists", {"sort": "size"}, "sort"),
        ("/lists", {"fields__list": "title"}, "fields[list]"),
        ("/lists", {"filters": "x"}, "filters"),
        ("/lists", {"page__cursor": "x"}, "page[cursor]"),
        ("/profiles", {"additional-fields__profile": "consent"}, "additional-fields[profile]"),
    ],
)
def test_a_wrong_query_names_the_parameter(klaviyo, path, params, parameter):
    assert problems(klaviyo.get(path, **params)) == [parameter]


def test_pages_miss_nothing(klaviyo, clock):
    for number in range(25):
        klaviyo.a_list(f"list {number % 3}")
        clock.advance(1)
    ids, url, pages = [], klaviyo.url + "/lists?sort=-created&fields[list]=name", 0
    while url:
        reply = klaviyo.session.get(url, timeout=5).json()
        ids += [entry["id"] for entry in reply["data"]]
        assert all(entry["attributes"].keys() == {"name"} for entry in reply["data"])
        url, pages = reply["links"]["next"], pages + 1
    assert (len(set(ids)), len(ids), pages) == (25, 25, 3)


def test_removals_between_pages_hide_nothing(klaviyo):
    list_id = klaviyo.a_list("holders", *[f"p{number}@example.org" for number in range(5)])
    first = klaviyo.get(f"/lists/{list_id}/relationships/profiles", page__size="2").json()
    klaviyo.good("DELETE", f"/lists/{list_id}/relationships/profiles", first["data"][:1])
    rest, url = [], first["links"]["next"]
    while url:
        reply = klaviyo.session.get(url, timeout=5).json()
        rest, url = rest + reply["data"], reply["links"]["next"]
    assert len({entry["id"] for entry in first["data"] + rest}) == 5


def test_filters_join_and_compare(klaviyo, clock):
    old = klaviyo.a_campaign(klaviyo.a_list(), "invite old")
    clock.advance(60)
    new = klaviyo.a_campaign(klaviyo.a_list(), "invite new, again")

    def campaigns(extra):
        query = f'and(equals(messages.channel,"email"),{extra})'
        return [entry["id"] for entry in klaviyo.get("/campaigns", filter=query).json()["data"]]

    assert campaigns('contains(name,"invite")') == [old, new]
    assert campaigns('contains(name,"new, again")') == [new]
    assert campaigns("greater-than(created_at,2031-06-01T02:00:30Z)") == [new]
    assert campaigns("less-or-equal(created_at,2031-06-01T10:00:00+08:00)") == [old]
    assert campaigns(f'any(id,["{old}","nothing"])') == [old]
    assert campaigns('equals(status,"Sent")') == []
    assert campaigns('any(status,["Draft","Sent"]),equals(archived,false)') == [old, new]


# -- limits ---------------------------------------------------------------------------------------------------


def test_a_429_says_how_long_to_wait(world, klaviyo, clock):
    world.klaviyo.switches.rate_limits = True
    reply = klaviyo.get("/metrics")
    assert reply.headers["ratelimit-limit"] == "10, 10;w=1, 150;w=60"
    assert reply.headers["ratelimit-remaining"] == "9"
    assert [klaviyo.get("/metrics").status_code for _ in range(10)] == [200] * 9 + [429]
    limited = klaviyo.get("/metrics")
    assert limited.headers["retry-after"] == "1"
    assert "ratelimit-limit" not in limited.headers
    assert json.loads(limited.content)["errors"][0]["code"] == "throttled"
    clock.advance(1)
    assert klaviyo.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "params", "allowed"),
    [("GET", "/accounts", {}, 15), ("GET", "/lists/{list}", {"additional-fields__list": "profile_count"}, 15)],
)
def test_costly_reads_have_narrow_windows(world, klaviyo, clock, method, path, params, allowed):
    path = path.format(list=klaviyo.a_list())
    world.klaviyo.switches.rate_limits = True
    statuses = []
    for _ in range(allowed + 1):
        statuses.append(klaviyo.call(method, path, **params).status_code)
        clock.advance(2)
    assert statuses == [200] * allowed + [429]


def test_at_most_150_lists_a_day(world, klaviyo, clock):
    world.klaviyo.switches.rate_limits = True
    body = {"type": "list", "attributes": {"name": "x"}}
    statuses = []
    for _ in range(151):
        statuses.append(klaviyo.call("POST", "/lists", body).status_code)
        clock.advance(1)
    assert (statuses.count(201), statuses[-1]) == (150, 429)
