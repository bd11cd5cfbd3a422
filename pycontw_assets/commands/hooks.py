"""``hooks``: take the deliveries of KKTIX's webhook, so that an order is looked at within seconds."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pycontw_assets.api.stopping import Stop, Stopped
from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import compose
from pycontw_assets.ledger.hints.looks import contents
from pycontw_assets.settings import InvalidSettings, hook_secrets

if TYPE_CHECKING:
    from pycontw_assets.ledger.ledger import Ledger
    from pycontw_assets.send_email.wait_policy import WaitPolicy
    from pycontw_assets.settings import Settings

DEFAULT_PORT = 8032
_POLL = (sys.executable, "-m", "pycontw_assets", "poll", "--json")
_PATIENCE_SECONDS = 60  # for a poll that was asked to stop


def add_to(commands: Commands) -> None:
    """Register the command."""
    hooks = commands.add_parser(
        "hooks",
        help="take the deliveries of KKTIX's webhook",
        description="Serve one small endpoint, POST /kktix, for the webhook of KKTIX, until it is stopped. A delivery "
        "is a hint: it makes its event due now, and nothing else of it is kept. Polls find every order without it. A "
        "proxy in front of it does TLS; docs/production.md has a recipe. With Dagster's daemon its sensor "
        "kktix_hints_sensor looks at the hints. Without the daemon use --poll.",
        epilog="Exit 0: it was stopped. 1: the port cannot be opened. 2: the configuration is wrong, for example "
        "KKTIX_HOOK_SECRET is not set.",
    )
    hooks.add_argument("--host", default="127.0.0.1", help="address to listen on; the proxy's machine is this one")
    hooks.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port to listen on; {DEFAULT_PORT} if not given")
    hooks.add_argument(
        "--poll",
        action="store_true",
        help="start `poll` when a hint arrives: for polls by a timer, where no daemon looks at hints",
    )
    hooks.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    root = compose()
    secrets = hook_secrets(root.settings.kktix_hook_secret)
    if not secrets:
        raise InvalidSettings("KKTIX_HOOK_SECRET: is not set; set the same secret here and in KKTIX's webhook")
    from pycontw_assets.extract.hook.endpoint import PATH, build_endpoint, listen, server

    ledger = root.ledger
    try:
        listener = listen(parsed.host, parsed.port)
    except OSError:
        print(f"--port: {parsed.host}, port {parsed.port} cannot be opened; is it in use?", file=sys.stderr)
        return FAILED
    stop = Stop()
    work = (ledger, root.settings, root.waits, stop)
    waker = threading.Thread(target=_wake, args=work, name="waker") if parsed.poll else None
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    print(f"listening on http://{host}:{listener.getsockname()[1]}{PATH}", flush=True)
    if waker:
        waker.start()
    try:
        # Ctrl-C and SIGTERM are the usual ends of a server.
        with listener, suppress(KeyboardInterrupt):
            server(build_endpoint(ledger, secrets)).run(sockets=[listener])
    finally:
        stop.ask()
        if waker:
            waker.join()
    return FINE


def _wake(ledger: Ledger, settings: Settings, waits: WaitPolicy, stop: Stop) -> None:
    from pycontw_assets.pipeline.hints.pace import may_mail
    from pycontw_assets.pipeline.hints.waking import Waker

    def may_poll() -> bool:
        return may_mail(ledger=ledger, settings=settings, waits=waits, events=len(contents(ledger)))

    with suppress(Stopped):
        Waker(ledger, lambda: poll_in_child(stop), monotonic=time.monotonic, may_poll=may_poll).run(stop)


def poll_in_child(stop: Stop) -> None:
    """Run one poll as a process of its own, which may die of anything. Raise ``Stopped`` when ``stop`` ended it."""
    with subprocess.Popen(_POLL, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:  # noqa: S603
        while child.poll() is None:
            try:
                stop.sleep(0.2)
            except Stopped:
                child.terminate()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_PATIENCE_SECONDS)
                child.kill()
                raise
