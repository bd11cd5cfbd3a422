"""Names and reasons of others, as hostile as they can be, through a whole poll: no outlet obeys them."""

from __future__ import annotations

import ast
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterEventType, EventRecordsFilter, MarkdownMetadataValue

import pycontw_assets
from pycontw_assets.commands.cli import main
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline

pytestmark = pytest.mark.long

PACKAGE = Path(pycontw_assets.__file__).parent
# A terminal, a browser and Discord would each obey a part of it. The last sign is half a character.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m \u202e ![p](https://evil.example/p.png) [l](https://evil.example/l) @everyone "
    "<@&42>\n# head\n<img src=https://evil.example/i> `x` www.evil.example | a | b | \u2066\x85\ud83d"
)
SAID = "550 <mei@example.org>: \x1b[31m ![p](https://evil.example/p.png)"
DAY = 86_400


@pytest.fixture
def channel() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Return the Apprise address of a channel, and the messages that it got."""
    messages: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/token", messages
    server.shutdown()
    thread.join()
    server.server_close()


def make_hostile(world: World) -> None:
    """Sell to a reachable and to a refused buyer of an event whose every text is hostile, next to such an event."""
    event = world.add_event(f"PyCon TW 2031 Registration: Individual {HOSTILE}")
    world.add_event(f"PyCon TW 2031 Registration: {HOSTILE}")
    for address in ("anna@example.org", "mei@example.org"):
        world.sell(event, address=address)
    world.klaviyo.suppress("mei@example.org", SAID)
    for ticket in world.kktix.tickets.values():
        ticket.overrides["ticket_name"] = f"{HOSTILE}{'x' * 300}"
        ticket.answers.insert(0, [HOSTILE.rstrip("\ud83d"), "an answer"])  # half a character would be withheld


def test_no_outlet_obeys_a_text_of_somebody_else(
    install: Install,
    world: World,
    channel: tuple[str, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, messages = channel
    make_hostile(world)
    pipeline = install(on_disk=True, alert_urls=address)
    for _ in range(3):  # the second one counts the sales, the third one compares them
        pipeline.poll()
        pipeline.clock.advance(DAY)
    assert [message for message in messages if "sales of 2031" in message["title"]]
    assert [message for message in messages if "cannot be mailed by Klaviyo (another reason)" in message["message"]]
    for message in messages:
        for line in (message["title"], *message["message"].split("\n")):
            assert line.isprintable()
            assert not re.search(r"[@<>\[\]`|#*~\\]|://|www\.", line)
            assert len(line) < 400
    for markdown in markdown_of(pipeline):
        assert_shows_text_only(markdown, allowed=pipeline.settings.kktix_api_url.split("/kktix")[0])
    shown = [markdown for markdown in markdown_of(pipeline) if "evil.example" in markdown]
    assert {text.split(" |")[0] for text in shown} == {"| id", "| question"}, "names are shown, and recognised"
    assert "mei@example.org" not in "".join(map(str, messages)) + (pipeline.home / "ledger.sqlite").read_bytes().decode(
        errors="replace"
    )
    for name, value in pipeline._variables.items():
        monkeypatch.setenv(name.upper(), str(value))
    for words in (["plan"], ["plan", "--json"], ["status"], ["trace", "mei@example.org"]):
        assert_prints_plain_lines(words, capsys)


def assert_prints_plain_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(words)
    printed = capsys.readouterr()
    for line in (printed.out + printed.err).split("\n"):
        assert line.isprintable(), words
    if "--json" in words:
        json.loads(printed.out)
    if "plan" in words:
        assert "owned" in printed.out, "the name of the event that is left alone is shown"


def markdown_of(pipeline: Pipeline) -> list[str]:
    """Return every text that the UI renders as Markdown: metadata of that kind, and descriptions."""
    texts: list[str] = []
    for kind in (
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_CHECK_EVALUATION,
    ):
        for record in events(pipeline, kind):
            said = record.event_log_entry.dagster_event.event_specific_data
            shown = getattr(said, "materialization", None) or getattr(said, "asset_observation", None) or said
            texts += [item.value or "" for item in shown.metadata.values() if isinstance(item, MarkdownMetadataValue)]
            texts += [shown.description or ""]
    return texts


def events(pipeline: Pipeline, kind: DagsterEventType) -> list[Any]:
    if kind != DagsterEventType.ASSET_CHECK_EVALUATION:
        storage = pipeline.instance.event_log_storage
        keys = [AssetKey(name) for name in ("kktix", "raw_kktix_orders", "klaviyo_campaign", TABLE)]
        return [r for key in keys for r in storage.get_event_records(EventRecordsFilter(kind, asset_key=key))]  # type: ignore[attr-defined]
    runs = [run.run_id for run in pipeline.instance.get_runs()]
    return [r for run in runs for r in pipeline.instance.get_records_for_run(run, of_type=kind).records]


TABLE = "ods_kktix_ticket_individual_attendees"


def assert_shows_text_only(markdown: str, allowed: str) -> None:
    """Links lead to our own services, and nothing else is a sign of Markdown, but for bullets and tables."""
    rest = re.sub(r"\[[\w-]+\]\(" + re.escape(allowed) + r"/\)", "", markdown)
    bare = re.sub(r"\\.", "", rest)
    assert not re.search(r"[`*_\[\]<>#~&$]|://|www\.|@", bare), markdown
    assert all(character.isprintable() or character == "\n" for character in markdown)


# -- no way around ------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield name, ast.unparse(node.func)


@pytest.mark.parametrize(
    ("function", "only_in"),
    [
        ("MetadataValue.md", {"orchestration.metadata"}),
        ("MarkdownMetadataValue", set()),
        ("notify", {"alerts.messenger"}),
        ("for_people", {"commands.cli"}),
        ("for_chat", {"alerts.messenger"}),
    ],
)
def test_an_outlet_is_fed_in_one_place(function: str, only_in: set[str]) -> None:
    assert {name for name, called in calls() if called == function or called.endswith(f".{function}")} == only_in
