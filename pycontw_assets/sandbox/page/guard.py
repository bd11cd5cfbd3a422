"""Access to the page and its control API: only a browser of this machine, only from this page.

Any site open in the same browser can send requests to a loopback port. A domain name that suddenly resolves to
127.0.0.1 even makes that site "the same origin". Neither may use the control API or read the tickets.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?")
_READING = frozenset({"GET", "HEAD"})
_SAME_SITE = frozenset({"same-origin", "none"})
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A mail brings its own style and nothing else; the page may show it in a frame and measure it.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Middleware that refuses requests of other sites and sends the browser the policy of the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if (refusal := refuse(scope["method"], Headers(scope=scope))) is not None:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def refuse(method: str, headers: Headers) -> str | None:
    """Return why a request is refused; ``None`` when it is allowed."""
    host = headers.get("host", "")
    if not _LOOPBACK_HOST.fullmatch(host):
        return "ask for 127.0.0.1 or localhost"
    if method in _READING:
        return None
    is_cross_origin = headers.get("origin", f"http://{host}") != f"http://{host}"
    if is_cross_origin or headers.get("sec-fetch-site", "none") not in _SAME_SITE:
        return "only the sandbox's own page may do this"
    return None
