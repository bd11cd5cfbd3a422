"""A service that answers otherwise changes exactly the verdicts about that, and no other."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from pycontw_assets.pipeline.contract.check import report_of, unanswered
from pycontw_assets.pipeline.contract.exchanges import NO_ANSWER, PAGE, Exchange
from pycontw_assets_tests.contract.world import changed, differences

Change = Callable[[Any], Any]
UNPAID_ARE_LISTED = ("KKTIX attendee", "attendees who have not paid are in the book, too")


def renamed(old: str, new: str, *way: str) -> Change:
    """Return a change that gives a member of every object at the end of ``way`` another name. ``[]`` is every row."""
    return at(*way, change=lambda item: {new if name == old else name: value for name, value in item.items()})


def set_to(name: str, value: Any, *way: str) -> Change:
    return at(*way, change=lambda item: {**item, name: value})


def at(*way: str, change: Change) -> Change:
    def apply(data: Any, left: tuple[str, ...] = way) -> Any:
        if not left:
            return change(copy.deepcopy(data))
        if left[0] == "[]":
            return [apply(item, left[1:]) for item in data]
        return {name: apply(item, left[1:]) if name == left[0] else item for name, item in data.items()}

    return apply


def as_text_ids(data: Any) -> Any:
    return {"signin_status": [[str(row[0]), *row[1:]] for row in data["signin_status"]]}


MUTATIONS: dict[str, tuple[str, Change, dict[tuple[str, str], str]]] = {
    "the list of events is under another name": (
        "KKTIX events",
        renamed("data", "events"),
        {
            ("KKTIX events", "`data` is a list"): "differs",
            ("KKTIX events", "`data[].id` is a whole number"): "not seen",
            ("KKTIX events", "`data[].name` is a text"): "not seen",
            (
                "KKTIX events",
                "`data` does not have exactly 100, 500, 1000 rows, as a first page would have",
            ): "not seen",
        },
    ),
    "ids of events are texts": (
        "KKTIX events",
        at("data", "[]", "id", change=str),
        {("KKTIX events", "`data[].id` is a whole number"): "differs"},
    ),
    "the listing has a next page": (
        "KKTIX events",
        set_to("links", {"next": "https://kktix.com/api?page=2"}),
        {("KKTIX events", "the answer is whole: nothing in it names another page"): "differs"},
    ),
    "the listing names no next page": ("KKTIX events", set_to("links", {"next": None}), {}),
    "a book announces a total": (
        "KKTIX book",
        set_to("meta", {"total": 5000}),
        {("KKTIX book", "the answer is whole: nothing in it names another page"): "differs"},
    ),
    "ids in a book are texts": (
        "KKTIX book",
        as_text_ids,
        {
            (
                "KKTIX book",
                "the first item of every row of a book is the attendee's id, a number",
            ): "differs"
        },
    ),
    "a book has a round number of rows": (
        "KKTIX book",
        lambda data: {"signin_status": [[number, None] for number in range(1, 101)]},
        {
            (
                "KKTIX book",
                "`signin_status` does not have exactly 100, 500, 1000 rows, as a first page would have",
            ): "differs",
            ("KKTIX book", "nobody is in the books of two events"): "differs",
        },
    ),
    "a book lists people twice": (
        "KKTIX book",
        at("signin_status", change=lambda rows: [*rows, *rows]),
        {("KKTIX book", "a book lists nobody twice"): "differs"},
    ),
    "an event has no book": (
        "KKTIX books",
        lambda data: [],
        {
            ("KKTIX books", "every event has at least one attendance book"): "differs",
            ("KKTIX books", "`[].id` is a whole number"): "not seen",
        },
    ),
    "a member of the attendees has another name": (
        "KKTIX attendee",
        renamed("is_paid", "paid"),
        {("KKTIX attendee", "`is_paid` is true or false"): "differs", UNPAID_ARE_LISTED: "not seen"},
    ),
    "a member that nothing depends on has another name": (
        "KKTIX attendee",
        renamed("reg_no", "number"),
        {("KKTIX attendee", "`reg_no` is a whole number"): "differs"},
    ),
    "a member that we do not know is there": ("KKTIX attendee", set_to("colour", "red"), {}),
    "whether somebody paid is a text": (
        "KKTIX attendee",
        at("is_paid", change=lambda paid: "yes" if paid else "no"),
        {("KKTIX attendee", "`is_paid` is true or false"): "differs", UNPAID_ARE_LISTED: "not seen"},
    ),
    "people who have not paid are hidden": (
        "KKTIX attendee",
        set_to("is_paid", True),
        {UNPAID_ARE_LISTED: "not seen"},
    ),
    "ids of attendees are texts": (
        "KKTIX attendee",
        at("id", change=str),
        {("KKTIX attendee", "`id` is a whole number"): "differs"},
    ),
    "the answer is about another attendee": (
        "KKTIX attendee",
        at("id", change=lambda number: number + 1),
        {("KKTIX attendee", "the answer has the id that was asked for"): "differs"},
    ),
    "a state is a new one": (
        "KKTIX attendee",
        set_to("state", "waiting"),
        {("KKTIX attendee", "`state` is a word of the list that the program knows"): "differs"},
    ),
    "a book lists cancelled people": (
        "KKTIX attendee",
        set_to("state", "cancelled"),
        {("KKTIX attendee", "cancelled attendees are not in the book"): "differs"},
    ),
    "prices are in hundredths with a fraction": ("KKTIX attendee", set_to("price", 2500.5), {}),
    "the form is an object": (
        "KKTIX attendee",
        at("data", change=dict),
        {
            ("KKTIX attendee", "`data` is a list"): "differs",
            ("KKTIX attendee", "`data[]` is a list"): "not seen",
            ("KKTIX attendee", "every answer of the form is a pair of label and value"): "not seen",
            ("KKTIX attendee", "every label of the form is a text"): "not seen",
            (
                "KKTIX attendee",
                "every form has the contact address under one of the two known labels",
            ): "differs",
        },
    ),
    "the contact address has another label": (
        "KKTIX attendee",
        at("data", "[]", change=lambda pair: ["Mail", pair[1]] if "Email" in pair[0] else pair),
        {
            (
                "KKTIX attendee",
                "every form has the contact address under one of the two known labels",
            ): "differs"
        },
    ),
    "labels are not cut": (
        "KKTIX attendee",
        at("data", "[]", change=lambda pair: [pair[0].ljust(201, "?") if "Years" in pair[0] else pair[0], pair[1]]),
        {("KKTIX attendee", "labels are cut at 200 characters"): "differs"},
    ),
    "an empty guest list is a list": (
        "Gather guest list",
        lambda data: [],
        {
            ("Gather guest list", "the answer is an object"): "differs",
            ("Gather guest list", "every name in the guest list is an address"): "not seen",
            ("Gather guest list", "every entry of the guest list is an object"): "not seen",
            ("Gather guest list", "`*.name` is a text, if it is there"): "not seen",
            ("Gather guest list", "`*.affiliation` is a text, if it is there"): "not seen",
            ("Gather guest list", "`*.role` is a text, if it is there"): "not seen",
            ("Gather guest list", "`*.role` is a word of the list that the program knows"): "not seen",
        },
    ),
    "guests have another role": (
        "Gather guest list",
        lambda data: {name: {**entry, "role": "owner"} for name, entry in data.items()},
        {("Gather guest list", "`*.role` is a word of the list that the program knows"): "differs"},
    ),
    "guests are keyed by a number": (
        "Gather guest list",
        lambda data: {str(number): entry for number, entry in enumerate(data.values())},
        {("Gather guest list", "every name in the guest list is an address"): "differs"},
    ),
    "a campaign has no status": (
        "Klaviyo campaign",
        at("data", "attributes", change=lambda item: {n: v for n, v in item.items() if n != "status"}),
        {
            ("Klaviyo campaign", "`data.attributes.status` is a text"): "differs",
            (
                "Klaviyo campaign",
                "`data.attributes.status` is a word of the list that the program knows",
            ): "not seen",
        },
    ),
    "a campaign has a status of its own": (
        "Klaviyo campaign",
        set_to("status", "Paused", "data", "attributes"),
        {
            (
                "Klaviyo campaign",
                "`data.attributes.status` is a word of the list that the program knows",
            ): "differs"
        },
    ),
    "times have no zone": (
        "Klaviyo lists by name",
        set_to("created", "2031-06-01T02:00:00", "data", "[]", "attributes"),
        {("Klaviyo lists by name", "`data[].attributes.created` is a time with zone"): "differs"},
    ),
    "the next page is a path": (
        "Klaviyo lists",
        set_to("next", "/api/lists?page=2", "links"),
        {("Klaviyo lists", "the link to the next page is a whole one, with its host"): "differs"},
    ),
    "profiles come without subscriptions": (
        "Klaviyo list members",
        at("data", "[]", "attributes", change=lambda item: {n: v for n, v in item.items() if n != "subscriptions"}),
        {
            ("Klaviyo list members", "`data[].attributes.subscriptions` is an object"): "differs",
            **{
                ("Klaviyo list members", f"`data[].attributes.subscriptions.email.marketing.{rest}"): "not seen"
                for rest in (
                    "can_receive_email_marketing` is true or false",
                    "consent` is a text",
                    "consent` is a word of the list that the program knows",
                    "suppression` is a list, if it is there",
                )
            },
        },
    ),
    "a send job has another id": (
        "Klaviyo send job",
        set_to("id", "another", "data"),
        {
            ("Klaviyo send job", "campaigns, their jobs and templates answer under the id asked for"): "differs",
        },
    ),
    "a flow has another state": (
        "Klaviyo metrics with flows",
        at("included", "[]", change=lambda row: {**row, "attributes": {**row["attributes"], "status": "paused"}}),
        {
            (
                "Klaviyo metrics with flows",
                "`included[].attributes.status` is a word of the list that the program knows",
            ): "differs"
        },
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_answer_changes_the_verdicts_about_it_and_no_other(name: str, exchanges: list[Exchange]) -> None:
    endpoint, change, expected = MUTATIONS[name]
    assert differences(exchanges, changed(exchanges, endpoint, change)) == expected


# -- statuses, headers and services -------------------------------------------------------------------


def replaced(exchanges: list[Exchange], endpoint: str, **details: Any) -> list[Exchange]:
    """Return the exchanges with other details at the endpoints whose name begins so."""
    return [dataclasses.replace(one, **details) if one.endpoint.startswith(endpoint) else one for one in exchanges]


def verdict_of(exchanges: list[Exchange], endpoint: str, statement: str) -> tuple[str, str]:
    rows = report_of(exchanges)["verdicts"]
    row = next(row for row in rows if (row["endpoint"], row["statement"]) == (endpoint, statement))
    return row["verdict"], row.get("because", "")


QUESTION = "it answers the question as the program asks it"


@pytest.mark.parametrize(
    ("status", "verdict"), [(400, "differs"), (404, "differs"), (410, "differs"), (403, "not seen"), (503, "not seen")]
)
def test_a_refused_question_differs_and_a_missing_right_or_an_outage_does_not(
    exchanges: list[Exchange], status: int, verdict: str
) -> None:
    refused = replaced(exchanges, "Klaviyo campaigns", status=status, data={"errors": []})
    assert verdict_of(refused, "Klaviyo campaigns", QUESTION) == (verdict, f"status: 1 × {status}")


def test_a_job_that_is_not_there_is_no_difference(exchanges: list[Exchange]) -> None:
    refused = replaced(exchanges, "Klaviyo send job", status=404, data=None)
    assert verdict_of(refused, "Klaviyo send job", f"{QUESTION}, or with 404")[0] == "as assumed"


def test_a_page_instead_of_json_differs(exchanges: list[Exchange]) -> None:
    page = replaced(exchanges, "Gather guest list", data=None, problem=PAGE)
    assert verdict_of([*page, *exchanges], "Gather guest list", QUESTION) == ("differs", "body: 1 × a web page")


def test_an_attendee_that_does_not_exist_must_be_a_404(exchanges: list[Exchange]) -> None:
    found = replaced(exchanges, "KKTIX attendee that", status=200, data={})
    statement = "an attendee that does not exist is answered with 404"
    assert verdict_of(found, "KKTIX attendee that does not exist", statement) == ("differs", "status: 3 × 200")


def test_another_revision_differs_and_none_is_not_seen(exchanges: list[Exchange]) -> None:
    statement = "it says that its revision is 2026-07-15, if it says anything"
    assert verdict_of(exchanges, "Klaviyo account", statement)[0] == "not seen"
    for revision, verdict in (("2026-07-15", "as assumed"), ("2026-10-15", "differs")):
        stated = replaced(exchanges, "Klaviyo account", headers={"revision": revision})
        assert verdict_of(stated, "Klaviyo account", statement)[0] == verdict


@pytest.mark.parametrize(("limit", "verdict"), [("1, 1;w=1, 15;w=60", "as assumed"), ("1, 1;w=1, 5;w=60", "differs")])
def test_a_narrower_rate_limit_differs(exchanges: list[Exchange], limit: str, verdict: str) -> None:
    limited = replaced(exchanges, "Klaviyo account", headers={"ratelimit-limit": limit})
    assert verdict_of(limited, "Klaviyo account", "it allows at least 1 in 1 s and 15 in 60 s")[0] == verdict


def test_a_link_header_counts_as_paging(exchanges: list[Exchange]) -> None:
    linked = replaced(exchanges, "KKTIX books", headers={"link": "<https://example.org>; rel=next"})
    statement = "the answer is whole: nothing in it names another page"
    assert verdict_of(linked, "KKTIX books", statement) == ("differs", "there is the header link")


def test_a_service_that_is_off_is_not_asked(exchanges: list[Exchange]) -> None:
    without = [one for one in exchanges if not one.endpoint.startswith("Gather")]
    report = report_of(without, switched_off=["Gather"])
    assert {row["verdict"] for row in report["verdicts"] if row["endpoint"].startswith("Gather")} == {"not asked"}
    assert unanswered(report) == []


def test_a_service_that_gives_no_answer_differs_in_nothing_and_is_named(exchanges: list[Exchange]) -> None:
    silent = replaced(exchanges, "Klaviyo", status=None, problem=NO_ANSWER, data=None, headers={})
    report = report_of(silent)
    assert unanswered(report) == ["Klaviyo"]
    assert report["verdict counts"].get("differs") is None
