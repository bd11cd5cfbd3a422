"""``pycontw-assets dev``: run sandbox page, Dagster UI and daemon in one terminal; Ctrl-C stops all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from pycontw_assets.orchestration.instance import prepare_instance
from pycontw_assets.sandbox.server import environment as sandbox_environment
from pycontw_assets.settings import Settings

HOST = "127.0.0.1"
_GRACE_SECONDS = 10.0


def serve(settings: Settings, port: int, sandbox_port: int) -> int:
    """Start everything and wait. The sandbox is started only when the settings leave the services to it."""
    prepare_instance(settings.dagster_folder)
    variables = {"DAGSTER_HOME": str(settings.dagster_folder), "PYCONTW_HOME": str(settings.home)}
    commands: list[list[str]] = []
    if "kktix_api_url" not in settings.model_fields_set:
        url = f"http://{HOST}:{sandbox_port}"
        variables |= sandbox_environment(url)
        commands.append([sys.executable, "-m", "pycontw_assets", "sandbox", "--port", str(sandbox_port)])
        print(f"sandbox     {url}")
    commands.append(
        [sys.executable, "-m", "dagster", "dev", "-m", "pycontw_assets.definitions", "-h", HOST, "-p", str(port)]
    )
    print(f"Dagster UI  http://{HOST}:{port}\nCtrl-C stops everything.", flush=True)
    return _run_all(commands, variables)


def _run_all(commands: list[list[str]], variables: Mapping[str, str]) -> int:
    """Run each command in its own process group: ``dagster dev`` has children that must not outlive it."""
    # Bytecode must be cached: every run starts another Python.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Started with "&" from a script, SIGINT would be ignored here and in every child.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command, env={**inherited, **variables}, start_new_session=True))
        while all(process.poll() is None for process in started):
            time.sleep(0.5)
        return 1  # one of them ended; its own output says why
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(started)


def _stop(started: list[subprocess.Popen[bytes]]) -> None:
    """Stop them in reverse order: a tick or run that is still at work must not lose the sandbox."""
    for process in reversed(started):
        for sign in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.1)
