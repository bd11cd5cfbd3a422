"""``contract-check`` against services that somebody else wrote: it finds what differs there, and nothing else."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.commands.cli import main
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.pipeline.contract.check import events_to_read, report_of, walk_all
from pycontw_assets.pipeline.contract.exchanges import Recorder
from pycontw_assets.pipeline.contract.report import ENDPOINTS, as_text
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.settings import Settings
from pycontw_assets_tests import contract_server
from pycontw_assets_tests.contract.test_report import found_in, known_names, leaves
from pycontw_assets_tests.contract_server import sale
from pycontw_assets_tests.contract_server.exchange import Answer
from pycontw_assets_tests.contract_server.server import Change, ContractServer

Verdicts = dict[tuple[str, str], str]
NOW = datetime(2031, 6, 10, tzinfo=timezone.utc)
QUESTION = "it answers the question as the program asks it"
WHOLE = "the answer is whole: nothing in it names another page"
DIFFERS, UNSEEN = "differs", "not seen"
CLOSED = "is a word of the list that the program knows"


class Clock:
    """Seconds that pass only while a client waits."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Witness:
    """The server, and walks through it whose waits take no time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = ContractServer(self.clock)
        self._right: dict[str, Any] = {}

    @property
    def right(self) -> dict[str, Any]:
        """Return the report of the services as they are described."""
        self._right = self._right or self.report()
        return self._right

    def report(self, change: Change | None = None, settings: dict[str, str] | None = None) -> dict[str, Any]:
        """Walk through the services, with a change of them or other settings, and return the report."""
        self.clock.now += 86_400  # nobody has asked today
        if change is not None:
            self.server.change = change
        try:
            return self._walk(settings or self.server.settings)
        finally:
            self.server.change = lambda path, answer: answer

    def _walk(self, at: dict[str, str]) -> dict[str, Any]:
        recorder = Recorder()
        options: dict[str, Any] = {
            "sleep": self.clock.sleep,
            "clock": self.clock,
            "attempts": 1,
            "on_answer": recorder.heard,
        }
        walk_all(
            recorder,
            kktix=KktixClient(at["KKTIX_API_URL"], at["KKTIX_API_TOKEN"], **options),
            gather=GatherClient(at["GATHER_API_URL"], at["GATHER_API_KEY"], at["GATHER_SPACE_ID"], **options),
            klaviyo=KlaviyoClient(at["KLAVIYO_API_URL"], at["KLAVIYO_API_KEY"], **options),
            choose=events_to_read(Settings.model_construct()),
            now=NOW,
        )
        return report_of(recorder.exchanges)

    def differences(self, change: Change) -> Verdicts:
        """Return the statements whose verdict a change of the services changes, with the new verdict."""
        before, after = verdicts(self.right), verdicts(self.report(change))
        return {statement: word for statement, word in after.items() if word != before[statement]}


def verdicts(report: dict[str, Any]) -> Verdicts:
    return {(row["endpoint"], row["statement"]): row["verdict"] for row in report["verdicts"]}


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    walking = Witness()
    with walking.server:
        yield walking


# -- the services as they are described ---------------------------------------------------------------


def test_the_witness_knows_nothing_of_the_program() -> None:
    for file in Path(contract_server.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        ours = {name for node in nodes for name in names_of(node) if name.startswith("pycontw")}
        assert {name for name in ours if not name.startswith("pycontw_assets_tests.contract_server")} == set()


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_services_as_they_are_described_are_as_assumed(witness: Witness) -> None:
    report = witness.right
    assert [row for row in report["verdicts"] if row["verdict"] == DIFFERS] == []
    assert report["verdict counts"]["as assumed"] > 350
    unseen = {key for key, word in verdicts(report).items() if word == UNSEEN and "bulk import" not in key[0]}
    assert {text for _, text in unseen} == {
        "it says that its revision is 2026-07-15, if it says anything",
        "the link to the next page is a whole one, with its host",  # of those that have one page
        f"`data[].attributes.subscriptions.email.marketing.suppression[].reason` {CLOSED}",  # of one person
    }


def test_what_the_description_calls_optional_may_be_missing(witness: Witness) -> None:
    """A template without a text, people who are not suppressed, and answers of one page without any link."""

    def spare(path: str, answer: Answer) -> Answer:
        is_whole = answer.status != 200 or not path.startswith("/klaviyo")
        return answer if is_whole else dataclasses.replace(answer, data=without(answer.data, OPTIONAL))

    assert DIFFERS not in witness.differences(spare).values()


OPTIONAL = {
    "suppression",
    "text",
    "amp",
    "tracking_options",
    "excluded",
    "scheduled_at",
    "send_time",
    "links",
    "relationships",
}


def without(data: Any, names: set[str]) -> Any:
    if isinstance(data, dict):
        return {name: without(item, names) for name, item in data.items() if name not in names}
    return [without(item, names) for item in data] if isinstance(data, list) else data


def test_no_question_is_refused_and_no_rate_is_exceeded(witness: Witness) -> None:
    mark = len(witness.server.asked)
    witness.report()
    refused = [(path, status) for _, path, status in witness.server.asked[mark:] if status != 200]
    assert sorted(refused) == [(f"/kktix/{event}/attendees/0", 404) for event in sale.BOOKS]


@pytest.mark.parametrize(
    "question",
    [
        "lists?page[size]=11",
        "lists?sort=size",
        "lists?fields[list]=colour",
        "lists?filter=contains(name,%22burrow%22)",
        "metrics?page[size]=5",
        "profiles?filter=any(email,[%22okapi.lin@example.org%22]",
        "campaigns?sort=created_at",
    ],
)
def test_the_witness_refuses_what_the_description_does_not_allow(question: str, witness: Witness) -> None:
    headers = {
        "authorization": f"Klaviyo-API-Key {sale.KLAVIYO_KEY}",
        "revision": "2026-07-15",
        "accept": "application/vnd.api+json",
    }
    assert witness.server.answer("GET", f"/klaviyo/api/{question}", headers, b"").status == 400
    assert witness.server.answer("GET", f"/klaviyo/api/{question}", {}, b"").status == 401


def test_nothing_that_the_witness_answered_is_in_the_report(witness: Witness) -> None:
    answered: set[str] = set()

    def listen(path: str, answer: Answer) -> Answer:
        answered.update(leaf for leaf in leaves(answer.data) if len(leaf) > 3)
        return answer

    report = as_text(witness.report(listen))
    may_be_shown = {name for endpoint in ENDPOINTS.values() for name in known_names(endpoint.contract)}
    secret = answered - may_be_shown
    secret -= found_in(" ".join([*may_be_shown, *ENDPOINTS]), secret)  # words of ours that an answer holds, too
    assert len(secret) > 150
    assert found_in(report, secret) == set()


# -- differences, one at a time -----------------------------------------------------------------------


def at(path: str, data: Callable[[Any], Any] | None = None, **details: Any) -> Change:
    """Return a change of the good answers under a path, a regular expression: of the data, or of other details."""

    def change(asked: str, answer: Answer) -> Answer:
        if answer.status != 200 or not re.fullmatch(path, asked.rstrip("/")):
            return answer
        return dataclasses.replace(
            answer, **({"data": data(json.loads(json.dumps(answer.data)))} if data else {}), **details
        )

    return change


def missing(path: str) -> Change:
    """Return a change after which there is nothing at a path."""
    return lambda asked, answer: Answer(404, {"error": "gone"}) if re.fullmatch(path, asked.rstrip("/")) else answer


def each(rows: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a change of every row of a member of the answer."""
    return lambda data: {**data, rows: [change(row) for row in data[rows]]}


def in_attributes(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {**row, "attributes": {**row["attributes"], **values}}


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda row: {new if name == old else name: value for name, value in row.items()}


def without_the_unpaid(path: str, answer: Answer) -> Answer:
    unpaid = {number for number, ticket in sale.TICKETS.items() if not ticket.is_paid}
    if re.fullmatch(r"/kktix/\d+/attendance_books/\d+", path):
        rows = [row for row in answer.data["signin_status"] if row[0] not in unpaid]
        return dataclasses.replace(answer, data={"signin_status": rows})
    return answer


def cut(data: Any) -> Any:
    return {"signin_status": data["signin_status"][:4], "next_page": "2"}


def unheard_consent(row: dict[str, Any]) -> dict[str, Any]:
    if "subscriptions" in row["attributes"]:
        row["attributes"]["subscriptions"]["email"]["marketing"]["consent"] = "PENDING"
    return row


ATTENDEE = r"/kktix/\d+/attendees/[1-9]\d*"
BOOK = r"/kktix/\d+/attendance_books/\d+"
NARROW = {"RateLimit-Limit": "10, 10;w=1, 150;w=60", "RateLimit-Remaining": "9", "RateLimit-Reset": "1"}
CONSENT = f"`data[].attributes.subscriptions.email.marketing.consent` {CLOSED}"

DIFFERENCES: dict[str, tuple[Change, Verdicts]] = {
    "a member has another name": (
        at(ATTENDEE, renamed("order_no", "order_number")),
        {("KKTIX attendee", "`order_no` is a whole number"): DIFFERS},
    ),
    "a book has a second page": (at(BOOK, cut), {("KKTIX book", WHOLE): DIFFERS}),
    "who has not paid is hidden": (
        without_the_unpaid,
        {("KKTIX attendee", "attendees who have not paid are in the book, too"): UNSEEN},
    ),
    "ids of events are texts": (
        at("/kktix", each("data", lambda row: {**row, "id": str(row["id"])})),
        {("KKTIX events", "`data[].id` is a whole number"): DIFFERS},
    ),
    "ids in books are texts": (
        at(BOOK, each("signin_status", lambda row: [str(row[0])])),
        {
            ("KKTIX book", "the first item of every row of a book is the attendee's id, a number"): DIFFERS,
        },
    ),
    "a price is a text": (
        at(ATTENDEE, lambda data: {**data, "price": str(data["price"])}),
        {("KKTIX attendee", "`price` is a whole number or a number with fraction"): DIFFERS},
    ),
    "a list is where an object was": (
        at(ATTENDEE, lambda data: {**data, "kyc": []}),
        {("KKTIX attendee", "`kyc` is an object"): DIFFERS},
    ),
    "a state is new": (
        at(ATTENDEE, lambda data: {**data, "state": "transferred"}),
        {("KKTIX attendee", f"`state` {CLOSED}"): DIFFERS},
    ),
    "cancelled people stay in the books": (
        at(ATTENDEE, lambda data: {**data, "state": "cancelled"}),
        {("KKTIX attendee", "cancelled attendees are not in the book"): DIFFERS},
    ),
    "labels are not cut": (
        at(ATTENDEE, lambda data: {**data, "data": [[f"{data['data'][2][0]} and more", ""], *data["data"]]}),
        {("KKTIX attendee", "labels are cut at 200 characters"): DIFFERS},
    ),
    "the status of nobody is another": (
        lambda path, answer: dataclasses.replace(answer, status=410) if path.endswith("/attendees/0") else answer,
        {("KKTIX attendee that does not exist", "an attendee that does not exist is answered with 404"): DIFFERS},
    ),
    "the guest list calls itself a text": (
        at("/gather/.*", media_type="text/plain"),
        {("Gather guest list", "its answers call themselves application/json"): DIFFERS},
    ),
    "the guest list names somebody without an address": (
        at("/gather/.*", lambda data: {**data, "Room of Quokkas": {"role": "guest"}}),
        {("Gather guest list", "every name in the guest list is an address"): DIFFERS},
    ),
    "a header is missing": (
        at("/klaviyo/api/accounts", headers={}),
        {("Klaviyo account", "it allows at least 1 in 1 s and 15 in 60 s"): UNSEEN},
    ),
    "a rate is narrower": (
        at("/klaviyo/api/lists", headers=NARROW),
        {
            ("Klaviyo lists", "it allows at least 75 in 1 s and 750 in 60 s"): DIFFERS,
            ("Klaviyo lists by name", "it allows at least 75 in 1 s and 750 in 60 s"): DIFFERS,
        },
    ),
    "a revision is later": (
        at(
            "/klaviyo/api/accounts",
            headers={**NARROW, "RateLimit-Limit": "1, 1;w=1, 15;w=60", "revision": "2026-10-15"},
        ),
        {("Klaviyo account", "it says that its revision is 2026-07-15, if it says anything"): DIFFERS},
    ),
    "a person's choice is a new word": (
        at("/klaviyo/api/profiles", each("data", unheard_consent)),
        {("Klaviyo profiles by address", CONSENT): DIFFERS},
    ),
    "a campaign is in a new state": (
        at("/klaviyo/api/campaigns", each("data", in_attributes(status="Resting"))),
        {
            ("Klaviyo campaigns", f"`data[].attributes.status` {CLOSED}"): DIFFERS,
            ("Klaviyo archived campaigns", f"`data[].attributes.status` {CLOSED}"): DIFFERS,
        },
    ),
    "the moment of an event has no zone": (
        at("/klaviyo/api/events", each("data", in_attributes(datetime="2031-06-01 02:00:00"))),
        {
            ("Klaviyo events of a metric", "`data[].attributes.datetime` is a time with zone"): DIFFERS,
            ("Klaviyo events of a profile", "`data[].attributes.datetime` is a time with zone"): DIFFERS,
        },
    ),
    "a send job has another id": (
        at("/klaviyo/api/campaign-send-jobs/.*", lambda data: {"data": {**data["data"], "id": "01JWSENDJOB1"}}),
        {("Klaviyo send job", "campaigns, their jobs and templates answer under the id asked for"): DIFFERS},
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_changes_the_verdicts_about_it_and_no_other(name: str, witness: Witness) -> None:
    change, expected = DIFFERENCES[name]
    assert witness.differences(change) == expected


def all_unseen(witness: Witness, endpoint: str, word: str = UNSEEN) -> Verdicts:
    """Return what was seen of an endpoint, as not seen."""
    return {key: word for key, verdict in verdicts(witness.right).items() if key[0] == endpoint and verdict != word}


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("Klaviyo account", "/klaviyo/api/accounts"),
        ("Klaviyo ids of list members", "/klaviyo/api/lists/[^/]+/relationships/profiles"),
        ("Klaviyo report of campaigns", "/klaviyo/api/campaign-values-reports"),
    ],
)
def test_an_endpoint_that_is_gone_differs_and_nothing_else_of_it_is_seen(
    endpoint: str, path: str, witness: Witness
) -> None:
    expected = {**all_unseen(witness, endpoint), (endpoint, QUESTION): DIFFERS}
    assert witness.differences(missing(path)) == expected


def test_a_guest_list_that_is_a_list_differs_in_that_alone(witness: Witness) -> None:
    inside = {
        key: word for key, word in all_unseen(witness, "Gather guest list").items() if "its answers" not in key[1]
    }
    expected = {**inside, ("Gather guest list", "the answer is an object"): DIFFERS}
    del expected["Gather guest list", QUESTION]
    assert witness.differences(at("/gather/.*", lambda data: [])) == expected


def test_every_space_is_read_and_one_that_is_gone_differs(witness: Witness) -> None:
    spaces = f"{sale.GATHER_SPACES[0]}:500,WitnessSpace0099\\Hall of Genets"
    report = witness.report(settings={**witness.server.settings, "GATHER_SPACE_ID": spaces})
    after, before = verdicts(report), verdicts(witness.right)
    assert {key: word for key, word in after.items() if word != before[key]} == {
        ("Gather guest list", QUESTION): DIFFERS
    }


def test_an_outage_is_no_difference(witness: Witness) -> None:
    def down(path: str, answer: Answer) -> Answer:
        return Answer(503, {"errors": []}) if path.endswith("/accounts/") or path.endswith("/accounts") else answer

    assert witness.differences(down) == all_unseen(witness, "Klaviyo account")


# -- as a person runs it ------------------------------------------------------------------------------

TOGETHER = (
    "a member has another name",
    "a book has a second page",
    "ids of events are texts",
    "a price is a text",
    "a list is where an object was",
    "a state is new",
    "labels are not cut",
    "the status of nobody is another",
    "the guest list calls itself a text",
    "the guest list names somebody without an address",
    "a rate is narrower",
    "a revision is later",
    "a person's choice is a new word",
    "a campaign is in a new state",
    "the moment of an event has no zone",
    "a send job has another id",
)
SEEDED = {"PENDING", "transferred", "Resting", "Room of Quokkas", "01JWSENDJOB1"}


@pytest.mark.parametrize("seeded", [(), TOGETHER], ids=["as described", "with all differences"])
def test_the_command_finds_what_was_seeded_and_repeats_nobody(
    seeded: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(path: str, answer: Answer) -> Answer:
        for name in seeded:
            answer = DIFFERENCES[name][0](path, answer)
        return answer

    with ContractServer() as server:
        server.change = change
        for name, value in {**server.settings, "PYCONTW_HOME": str(tmp_path / "home")}.items():
            monkeypatch.setenv(name, value)
        assert main(["contract-check", "--output", str(tmp_path / "report.json")]) == (1 if seeded else 0)
        secrets = sale.secrets() | SEEDED | {server.url}
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    expected = {key for name in seeded for key, word in DIFFERENCES[name][1].items() if word == DIFFERS}
    assert {key for key, word in verdicts(json.loads(text)).items() if word == DIFFERS} == expected
    assert found_in(text, secrets) == set()
    assert found_in(capsys.readouterr().out, secrets) == set()
    assert found_in(f"{text} {sale.SPEAKER}", secrets) >= {sale.SPEAKER}, "the search finds what is there"
