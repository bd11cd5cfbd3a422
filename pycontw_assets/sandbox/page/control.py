"""The control API behind the page: read the world, and act as an organiser, a buyer or bad luck.

A body is a JSON object. Its members are the arguments of the Python method with the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, validate_call
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pycontw_assets.sandbox.faults import Fault, Kind, Preset
from pycontw_assets.sandbox.kktix.people import AddressKind
from pycontw_assets.sandbox.klaviyo.account import Mail
from pycontw_assets.sandbox.page import view
from pycontw_assets.sandbox.page.guard import MAIL_POLICY
from pycontw_assets.sandbox.world import World

Reseed = Callable[[World], object]
_checked = validate_call(config=ConfigDict(strict=True, extra="forbid"))


class Control:
    """The actions by name."""

    def __init__(
        self, world: World, reseed: Reseed | None = None, ask_pipeline: view.AskPipeline = lambda: None
    ) -> None:
        self._world = world
        self._reseed = reseed
        self._ask_pipeline = ask_pipeline

    def routes(self) -> list[BaseRoute]:
        actions: dict[str, Callable[..., object]] = {
            "add_event": _checked(self._add_event),
            "rename_event": _checked(self._world.rename_event),
            "end_event": _checked(self._world.end_event),
            "sell": _checked(self._sell),
            "sell_many": _checked(self._sell_many),
            "pay": _checked(self._world.pay),
            "cancel": _checked(self._world.cancel),
            "refund": _checked(self._world.refund),
            "reinstate": _checked(self._world.reinstate),
            "transfer": _checked(self._transfer),
            "set_state": _checked(self._world.set_state),
            "add_guest": _checked(self._world.add_guest),
            "remove_guest": _checked(self._world.remove_guest),
            "ask_again": _checked(self._world.ask_again),
            "suppress": _checked(self._world.klaviyo.suppress),
            "unsubscribe": _checked(self._world.klaviyo.unsubscribe),
            "add_fault": _checked(self._add_fault),
            "clear_faults": _checked(self._world.faults.clear),
            "set_faults": _checked(self._set_faults),
            "set_switch": _checked(self._set_switch),
            "set_hook": _checked(self._set_hook),
            "test_hook": _checked(self._world.kktix.webhook.send_test),
            "reset": _checked(self._reset),
        }
        posts = [Route(f"/{name}", self._endpoint(act), methods=["POST"]) for name, act in actions.items()]
        reads = [
            Route("/state", self._state, methods=["GET"]),
            Route("/view", self._page_view, methods=["GET"]),
            Route("/mails/{number:int}", self._mail, methods=["GET"]),
            Route("/mails/{number:int}/html", self._mail_html, methods=["GET"]),
        ]
        return [*reads, *posts]

    def _endpoint(self, act: Callable[..., object]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            # Requiring JSON makes a browser ask first before another site's page could use these actions.
            if request.headers.get("content-type", "").partition(";")[0] != "application/json":
                return JSONResponse({"error": "send application/json"}, 415)
            try:
                arguments = await request.json()
                return JSONResponse({"result": act(**arguments)})
            except ValidationError as error:
                return JSONResponse({"error": str(error)}, 400)
            except (KeyError, TypeError, ValueError, re.error) as error:
                return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

        return answer

    # -- actions that differ from the Python interface ------------------------------------------------

    def _add_event(self, name: str, books: int = 1) -> int:
        return self._world.add_event(name, books=books)

    def _sell(
        self,
        event_id: int,
        n: int = 1,
        *,
        address: str | None = None,
        kind: AddressKind = "plain",
        paid: bool = True,
        price: float = 2500,
    ) -> list[int]:
        return self._world.sell(event_id, n, address=address or None, kind=kind, paid=paid, price=price)

    def _sell_many(
        self,
        event_id: int,
        buyers: Annotated[int, Field(ge=1, le=1000)],
        *,
        paid: bool = True,
        kind: AddressKind = "plain",
    ) -> int:
        """Sell one seat to each buyer, and return how many were sold."""
        with self._world.context.lock:  # no read sees a part of the sale
            for _ in range(buyers):
                self._world.sell(event_id, kind=kind, paid=paid)
        return buyers

    def _transfer(self, attendee_id: int, address: str | None = None) -> str:
        """Transfer a ticket and return the new address; without an address, transfer it to an invented person."""
        new_address = address if address is not None else self._world.kktix.people.next().address
        self._world.transfer(attendee_id, new_address)
        return new_address

    def _set_faults(self, service: Literal["kktix", "gather", "klaviyo"], preset: Preset) -> None:
        self._world.faults.set_preset(service, preset)

    def _add_fault(
        self,
        service: str,
        kind: Kind,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        acts: bool = False,
        status: int = 503,
        retry_after: int | None = None,
        seconds: float = 30.0,
    ) -> None:
        self._world.faults.add(
            service,
            kind,
            method=method,
            path=path,
            times=times,
            acts=acts or kind == "truncate",
            status=status,
            retry_after=retry_after,
            seconds=seconds,
        )

    def _set_switch(self, service: str, name: str, value: Any) -> None:
        switches = self._switches()[service]
        if name not in type(switches).__annotations__:
            raise ValueError(f"{service} has no switch {name}")
        validated = TypeAdapter(type(switches)).validate_python({**asdict(switches), name: value})
        setattr(switches, name, getattr(validated, name))

    def _set_hook(self, url: str, secret: str, *, repeats: bool = False) -> None:
        """Let KKTIX send notifications of orders to a URL on this machine."""
        self._world.kktix.webhook.set_up(url, secret, repeats=repeats)

    def _reset(self) -> None:
        self._world.reset()
        if self._reseed is not None:
            self._reseed(self._world)

    def _switches(self) -> dict[str, Any]:
        world = self._world
        return {"kktix": world.kktix.switches, "gather": world.gather.switches, "klaviyo": world.klaviyo.switches}

    # -- reading --------------------------------------------------------------------------------------

    async def _page_view(self, request: Request) -> Response:
        """Answer what the page draws every second; the answer stays small after large sales."""
        ticket_filter = view.TicketFilter(request.query_params.get("text", ""), request.query_params.get("phase", ""))
        refusals = await run_in_threadpool(self._ask_pipeline)
        return JSONResponse(view.page_view(self._world, ticket_filter, refusals))

    async def _mail(self, request: Request) -> Response:
        mail = self._find_mail(request)
        return JSONResponse({**asdict(mail), "at": mail.at.isoformat()}) if mail else _no_mail()

    async def _mail_html(self, request: Request) -> Response:
        """Answer the mail as its recipient sees it: a separate document without any rights."""
        mail = self._find_mail(request)
        return HTMLResponse(mail.html, headers={"content-security-policy": MAIL_POLICY}) if mail else _no_mail()

    def _find_mail(self, request: Request) -> Mail | None:
        number = request.path_params["number"]
        return next(iter(self._world.outbox[number : number + 1]), None)

    async def _state(self, request: Request) -> Response:
        world = self._world
        with world.context.lock:
            world.klaviyo.settle()
            state = {
                "now": world.context.now().isoformat(),
                "events": [_event(world, event_id) for event_id in world.kktix.events],
                "attendees": [_attendee(world, attendee_id) for attendee_id in world.kktix.tickets],
                "guests": [
                    {"address": address, "by_hand": address in world.gather.hand_made, "entry": entry}
                    for address, entry in world.gather.guests.items()
                ],
                "lists": [
                    {"id": mail_list.id, "name": mail_list.name, "members": len(mail_list.current())}
                    for mail_list in world.klaviyo.lists.values()
                ],
                "campaigns": [
                    {"id": campaign.id, "name": campaign.name, "status": world.klaviyo.status_of(campaign)}
                    for campaign in world.klaviyo.campaigns.values()
                ],
                "outbox": [{**asdict(mail), "at": mail.at.isoformat()} for mail in world.outbox],
                "faults": [_fault(fault) for fault in world.faults.active()],
                "switches": {service: _plain(asdict(switches)) for service, switches in self._switches().items()},
                "calls": {name: world.calls.count(name) for name in ("kktix", "gather", "klaviyo")},
            }
        return JSONResponse(state)


def _no_mail() -> Response:
    return JSONResponse({"error": "no such mail"}, 404)


def _event(world: World, event_id: int) -> dict[str, Any]:
    event = world.kktix.events[event_id]
    tickets = [ticket for ticket in world.kktix.tickets.values() if ticket.event_id == event_id]
    return {
        "id": event.event_id,
        "name": event.name,
        "books": len(event.books),
        "has_ended": event.ended_at is not None,
        "attendees": len(tickets),
        "usable": sum(ticket.is_usable for ticket in tickets),
    }


def _attendee(world: World, attendee_id: int) -> dict[str, Any]:
    ticket = world.kktix.tickets[attendee_id]
    return {
        "id": ticket.attendee_id,
        "event_id": ticket.event_id,
        "nickname": ticket.person.nickname,
        "address": ticket.address,
        "is_paid": ticket.is_paid,
        "state": ticket.state,
        "is_usable": ticket.is_usable,
        "order_no": ticket.order_no,
    }


def _fault(fault: Fault) -> dict[str, Any]:
    names = ("service", "kind", "method", "path", "times", "skip", "acts", "status", "retry_after", "seconds")
    return {name: getattr(fault, name) for name in names}


def _plain(switches: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, set) else value for name, value in switches.items()}
