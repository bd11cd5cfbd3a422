"""An invented season in the sandbox that shows every endpoint something, and a walk through it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.pipeline.contract.check import events_to_read, report_of, walk_all
from pycontw_assets.pipeline.contract.exchanges import Exchange, Recorder
from pycontw_assets.pipeline.contract.report import as_text
from pycontw_assets.sandbox.context import ManualClock
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.settings import Settings

TEXT = "Enter: https://example.org/venue"
_BUYERS = ("buyer-one@example.org", "buyer-two@example.org", "buyer-three@example.org")


def a_world() -> World:
    """Return a world in which the clock stands, so that two walks see the same."""
    world = World(ManualClock())
    seed_demo(world)
    return world


@dataclass(frozen=True)
class Clients:
    kktix: KktixClient
    gather: GatherClient
    klaviyo: KlaviyoClient


def clients_of(server: SandboxServer, recorder: Recorder | None = None) -> Clients:
    """Return clients whose waits move the world's clock and take no time."""
    clock = server.world.context.clock
    assert isinstance(clock, ManualClock)
    options: dict[str, Any] = {"sleep": clock.advance, "clock": lambda: clock().timestamp(), "attempts": 1}
    if recorder is not None:
        options["on_answer"] = recorder.heard
    at = server.environment
    return Clients(
        KktixClient(at["KKTIX_API_URL"], at["KKTIX_API_TOKEN"], **options),
        GatherClient(at["GATHER_API_URL"], at["GATHER_API_KEY"], at["GATHER_SPACE_ID"], **options),
        KlaviyoClient(at["KLAVIYO_API_URL"], at["KLAVIYO_API_KEY"], **options),
    )


def send_an_invitation(world: World, server: SandboxServer) -> None:
    """Let Klaviyo hold a list, profiles, a template, a campaign that was sent, events, and a flow."""
    klaviyo = clients_of(server).klaviyo
    world.klaviyo.flows.prepare(INVITATION_METRIC)
    mail_list = klaviyo.create_list("pycontw-2031-individual-90001-ticket-holders")
    klaviyo.add_to_list(mail_list.list_id, [klaviyo.upsert_profile(buyer, {}).profile_id for buyer in _BUYERS])
    for number in range(12):
        klaviyo.create_list(f"pycontw-2031-invitations-{number:02d}")
    template = klaviyo.create_template("pycontw-2031-invitation-v1", html=f"<p>{TEXT}</p>", text=TEXT)
    campaign = klaviyo.create_campaign(
        name="pycontw-2031-invite-20310601T0200Z-9f2c4a7d9f2c",
        included_lists=[mail_list.list_id],
        subject="Your way in",
        preview_text="The venue is open for you",
        from_email="hello@example.org",
        from_label="PyCon TW",
        reply_to="help@example.org",
    )
    assert campaign.message_id
    klaviyo.assign_template(campaign.message_id, template.template_id)
    klaviyo.request_estimate(campaign.campaign_id)
    _let_time_pass(world)
    klaviyo.send(campaign.campaign_id)
    events = EventsClient(klaviyo)
    events.create_event(_BUYERS[0], metric=INVITATION_METRIC, event_id="pycontw-1", properties={"edition": "2031"})
    _let_time_pass(world)


def _let_time_pass(world: World) -> None:
    clock = world.context.clock
    assert isinstance(clock, ManualClock)
    clock.advance(3600)


def walk(server: SandboxServer, **off: None) -> list[Exchange]:
    """Walk through a server with the program's own clients. ``gather=None`` or ``klaviyo=None`` switches one off."""
    recorder = Recorder()
    clients = clients_of(server, recorder)
    parts = {"kktix": clients.kktix, "gather": clients.gather, "klaviyo": clients.klaviyo, **off}
    walk_all(
        recorder,
        choose=events_to_read(Settings.model_construct()),
        now=server.world.context.now(),
        **parts,  # type: ignore[arg-type]
    )
    return recorder.exchanges


def record() -> list[Exchange]:
    """Return the exchanges of a walk through a sandbox of its own."""
    world = a_world()
    with SandboxServer(world) as server:
        send_an_invitation(world, server)
        return walk(server)


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report without what differs from walk to walk: latencies, and how much of a rate limit is left."""
    parts = {}
    for name, part in report["endpoints"].items():
        limits = {name: value for name, value in part.get("rate limits", {}).items() if isinstance(value, dict)}
        parts[name] = {**part, "milliseconds": None, "rate limits": limits}
    return {**report, "endpoints": parts}


# -- changed answers --------------------------------------------------------------------------------------


def changed(exchanges: list[Exchange], endpoint: str, change: Callable[[Any], Any]) -> list[Exchange]:
    """Return the exchanges with the data of one endpoint changed."""
    return [
        dataclasses.replace(exchange, data=change(exchange.data))
        if exchange.endpoint == endpoint and exchange.is_success
        else exchange
        for exchange in exchanges
    ]


def verdicts(exchanges: list[Exchange]) -> dict[tuple[str, str], str]:
    rows = report_of(exchanges)["verdicts"]
    return {(row["endpoint"], row["statement"]): row["verdict"] for row in rows}


def differences(before: list[Exchange], after: list[Exchange]) -> dict[tuple[str, str], str]:
    """Return the statements whose verdict changed, with the new one. ``before`` is always the same walk."""
    if not _BEFORE:
        _BEFORE.update(verdicts(before))
    return {key: verdict for key, verdict in verdicts(after).items() if verdict != _BEFORE[key]}


_BEFORE: dict[tuple[str, str], str] = {}


if __name__ == "__main__":  # python -m pycontw_assets_tests.contract.world >pycontw_assets_tests/contract/sandbox.json
    print(as_text(comparable(report_of(record()))))
