"""The sandbox on the network: one loopback port for the services, the control API and the page."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pycontw_assets.sandbox import keys
from pycontw_assets.sandbox.page.control import Control, Reseed
from pycontw_assets.sandbox.page.guard import Guard
from pycontw_assets.sandbox.page.view import AskPipeline
from pycontw_assets.sandbox.seed import seed_demo
from pycontw_assets.sandbox.wire import HTML_PAGE, AbortableProtocol
from pycontw_assets.sandbox.world import World

HOST = "127.0.0.1"
DEFAULT_PORT = 8031
_START_TIMEOUT_SECONDS = 10.0


def build_app(world: World, reseed: Reseed | None = None, ask_pipeline: AskPipeline = lambda: None) -> Starlette:
    """Build the application, which needs ``AbortableProtocol`` to carry out faults.

    ``reseed`` refills the world after a reset from the page. ``ask_pipeline`` reads the pipeline's open problems.
    """

    async def show_sign_in(request: Request) -> Response:
        return HTMLResponse(HTML_PAGE)

    services: list[BaseRoute] = [Mount(f"/{name}", app=app) for name, app in world.services().items()]
    guarded = [Middleware(Guard)]
    return Starlette(
        routes=[
            Route("/sign_in", show_sign_in),
            *services,
            Mount("/control", routes=Control(world, reseed, ask_pipeline).routes(), middleware=guarded),
            Mount(
                "/",
                app=StaticFiles(packages=[("pycontw_assets.sandbox.page", "static")], html=True),
                middleware=guarded,
            ),
        ]
    )


def environment(url: str) -> dict[str, str]:
    """Return the variables that point the pipeline at a sandbox."""
    return {
        "KKTIX_API_URL": f"{url}/kktix/api/v2/hosting_events",
        "KKTIX_API_TOKEN": keys.KKTIX_TOKEN,
        "GATHER_API_URL": f"{url}/gather",
        "GATHER_API_KEY": keys.GATHER_KEY,
        "GATHER_SPACE_ID": keys.GATHER_SPACE_ID,
        "DISCORD_API_URL": f"{url}/discord",
        "DISCORD_BOT_TOKEN": keys.DISCORD_TOKEN,
        "DISCORD_GUILD_ID": keys.DISCORD_GUILD_ID,
        "DISCORD_CHANNEL_ID": keys.DISCORD_CHANNEL_ID,
        "KLAVIYO_API_URL": f"{url}/klaviyo",
        "KLAVIYO_API_KEY": keys.KLAVIYO_KEY,
    }


class SandboxServer:
    """A sandbox in a thread of this process, for the length of a ``with``; ``url`` has no trailing slash."""

    def __init__(
        self,
        world: World,
        port: int = 0,
        *,
        reseed: Reseed | None = None,
        ask_pipeline: AskPipeline = lambda: None,
    ) -> None:
        self.world = world
        self._port = port
        self._app = build_app(world, reseed, ask_pipeline)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.url)

    def __enter__(self) -> SandboxServer:
        listener = _listen(self._port)
        self.url = f"http://{HOST}:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(_config(self._app))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True
        )
        self._thread.start()
        self._await_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)


def serve(port: int = DEFAULT_PORT, world: World | None = None, ask_pipeline: AskPipeline = lambda: None) -> None:
    """Answer until interrupted. Without a world, serve an invented sale that every reset refills."""
    if world is None:
        world = World()
        seed_demo(world)
    with _listen(port) as listener:
        asyncio.run(uvicorn.Server(_config(build_app(world, seed_demo, ask_pipeline))).serve(sockets=[listener]))


def _listen(port: int) -> socket.socket:
    # asyncio switches off Nagle's delay only on sockets that name their protocol; otherwise each reply costs 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(128)
    return listener


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=AbortableProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
