"""The dead man's switch: a page that is fetched after every good poll. Its owner calls when it is not."""

from __future__ import annotations

from contextlib import suppress

from pydantic import SecretStr

_TIMEOUTS = (5, 10)


def beat(url: SecretStr | None) -> None:
    """Fetch ``HEARTBEAT_URL``. A failure must not fail a good poll: the owner of the page notices."""
    import requests

    if url is not None:
        # ValueError: urllib3 raises it for a host name it cannot write, and requests passes it on.
        with suppress(requests.RequestException, ValueError):
            requests.get(url.get_secret_value(), timeout=_TIMEOUTS)
