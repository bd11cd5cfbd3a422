"""A BigQuery emulator for tests: ``local-bigquery``, on loopback, in a Python of its own.

It needs Python 3.13 and libraries that clash with the pipeline's, so it has a virtual environment under ``.cache``,
made once. Tests are skipped where that is impossible, and fail instead where ``CI`` requires it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from pycontw_assets_tests.clients.scripted_server import Answer, Received

PROJECT = "project-of-tests"
GOOGLE_VARIABLES = ("BIGQUERY_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS")
# Not 0.4: it wants DuckDB 2, for which no packages with DuckDB's extensions exist (the last are of 1.5.5), and tests
# fetch nothing else. 0.3.2 takes any DuckDB from 1.5.5 on, so that is pinned, too. Both run on Python 3.13 only. The
# project itself may have any Python (3.10 to 3.13) and DuckDB: the emulator has its own, and answers by HTTP.
PINS = (
    "local-bigquery==0.3.2",
    "duckdb==1.5.5",
    "duckdb-extensions==1.5.5",
    "duckdb-extension-icu==1.5.5",
    "duckdb-extension-ducklake==1.5.5",
    "duckdb-extension-spatial==1.5.5",
)
# Without these the emulator would look for its extensions on the internet.
_ADD_EXTENSIONS = (
    "from duckdb_extensions import import_extension\nfor name in ('icu', 'ducklake', 'spatial'): import_extension(name)"
)
_CACHE = Path(__file__).parent.parent / ".cache"
_FOLDER = _CACHE / f"bigquery-emulator-{hashlib.sha256(' '.join(PINS).encode()).hexdigest()[:12]}"
# The emulator's extensions are under the home folder of the user who added them.
_HOME = {"HOME": str(_FOLDER)}
# The environment before a test emptied it: pip needs it to find the packages.
_ENVIRONMENT = dict(os.environ)
_INSTALL_PATIENCE_SECONDS = 900
_START_PATIENCE_SECONDS = 60
# A static token that never expires: the client asks Google for nothing.
_CREDENTIALS = {
    "type": "authorized_user",
    "client_id": "emulator",
    "client_secret": "emulator",
    "refresh_token": "emulator",
    "token": "emulator",
    "expiry": "2999-01-01T00:00:00Z",
}


class NoEmulator(Exception):
    """Raised with the reason why there is no emulator on this machine."""


@contextmanager
def emulator(folder: Path) -> Iterator[dict[str, str]]:
    """Run an emulator with its data in ``folder``, and yield the variables that point Google's client to it."""
    python = installed()
    port, grpc_port = free_ports(2)
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(_CREDENTIALS))
    options = ["--host", "127.0.0.1", "--port", port, "--grpc-port", grpc_port, "--project", PROJECT]
    process = subprocess.Popen(
        [python.parent / "local-bigquery", *options, "--data-dir", folder / "data"],
        env={**_ENVIRONMENT, **_HOME},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(process, url)
        yield dict(zip(GOOGLE_VARIABLES, (url, str(credentials)), strict=True))
    finally:
        process.kill()
        process.wait()


def bigquery_settings(home: Path) -> dict[str, str]:
    """Return the settings of a pipeline: a dataset per home, like a file per home with DuckDB."""
    dataset = f"home_{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    return {"warehouse": "bigquery", "bigquery_project": PROJECT, "bigquery_dataset": dataset}


def or_skip(error: NoEmulator) -> Any:
    """Skip with the reason, or fail in CI: nobody may believe that these tests ran."""
    if _ENVIRONMENT.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


def client(variables: dict[str, str]) -> Any:
    """Return Google's client of the emulator, for any environment."""
    from google.auth import load_credentials_from_file
    from google.cloud import bigquery

    credentials, _ = load_credentials_from_file(variables["GOOGLE_APPLICATION_CREDENTIALS"])
    endpoint = {"api_endpoint": variables["BIGQUERY_EMULATOR_HOST"]}
    return bigquery.Client(project=PROJECT, credentials=credentials, client_options=endpoint)


def installed() -> Path:
    """Return the emulator's Python; made on first use, once for all processes."""
    python = _FOLDER / "bin" / "python"
    _CACHE.mkdir(exist_ok=True)
    with open(_CACHE / "bigquery-emulator.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (_FOLDER / "complete").exists():
            shutil.rmtree(_FOLDER, ignore_errors=True)
            _run(_find_python(), "-m", "venv", _FOLDER)
            _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS)
            _run(python, "-c", _ADD_EXTENSIONS, **_HOME)
            (_FOLDER / "complete").touch()
    return python


def _find_python() -> Path:
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    candidates = [shutil.which("python3.13"), *sorted((home / ".pyenv" / "versions").glob("3.13*/bin/python"))]
    for candidate in filter(None, candidates):
        # A shim of pyenv may exist and not work.
        if subprocess.run([candidate, "-c", ""], env=_ENVIRONMENT, capture_output=True).returncode == 0:
            return Path(candidate)
    raise NoEmulator("the BigQuery emulator needs python3.13, and there is none, not under pyenv either")


def _run(*command: Any, **variables: str) -> None:
    try:
        done = subprocess.run(
            command,
            env={**_ENVIRONMENT, **variables},
            capture_output=True,
            text=True,
            timeout=_INSTALL_PATIENCE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoEmulator(f"the BigQuery emulator cannot be installed: {error}") from None
    if done.returncode:
        raise NoEmulator(f"the BigQuery emulator cannot be installed: {done.stderr.strip()[-500:]}")


def free_ports(count: int) -> list[str]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(f"{url}/bigquery/v2/projects/{PROJECT}/datasets", timeout=10).ok:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise NoEmulator("the BigQuery emulator does not start; delete .cache and try again")


def forward(request: Received, url: str) -> Answer:
    """Forward a request that came to another server, and return the emulator's answer."""
    headers = {name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")}
    answer = requests.request(request.method, url + request.target, headers=headers, data=request.body, timeout=60)
    kept = {name: value for name, value in answer.headers.items() if name in ("content-type", "etag", "location")}
    return Answer(answer.status_code, answer.content, kept)
