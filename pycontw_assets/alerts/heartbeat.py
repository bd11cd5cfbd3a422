"""The dead man's switch: a page that is fetched after every good poll, and whose owner calls when it is not."""

from __future__ import annotations

from contextlib import suppress

from pydantic import SecretStr

_TIMEOUTS = (5, 10)


def beat(url: SecretStr | None) -> None:
    """Fetch ``HEARTBEAT_URL``. That it cannot be reached must not fail a good poll: its owner notices."""
    import requests

    if url is not None:
        # ValueError: what urllib3 says of a host name it cannot write, and requests passes on.
        with suppress(requests.RequestException, ValueError):
            requests.get(url.get_secret_value(), timeout=_TIMEOUTS)
