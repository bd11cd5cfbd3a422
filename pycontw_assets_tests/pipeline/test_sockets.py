"""KKTIX and a warehouse alone: the console script in production connects to nobody else, in no process that it starts.

A hook of the interpreter, which every child inherits, writes down each host that is looked up and each address that is
connected to. It sees what Python does: a library written in another language could connect unseen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
from cryptography.fernet import Fernet

from pycontw_assets.sandbox.server import SandboxServer
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.harness import EDITION

WATCH = """
import os, sys

def watch(name, arguments):
    if name == "socket.getaddrinfo":
        seen = f"lookup {arguments[0]} {arguments[1]}"
    elif name in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        seen = f"connect {arguments[1][0]} {arguments[1][1]}"
    else:
        return
    file = os.open(os.environ["WATCHED_SOCKETS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{seen}\\n".encode())
    os.close(file)

sys.addaudithook(watch)
"""


class WatchedInstallation:
    """A production installation whose commands run in processes of their own, with every socket written down."""

    def __init__(self, server: SandboxServer, folder: Path) -> None:
        self.home, self._record = folder / "home", folder / "sockets"
        (folder / "sitecustomize.py").write_text(WATCH)
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LANG", "HOME"))}
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")]), str(Path(__file__).parents[2])]
        self.environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join(paths),
            "WATCHED_SOCKETS": str(self._record),
            "PYCONTW_ENV": "production",
            "PYCONTW_HOME": str(self.home),
            "KKTIX_API_URL": server.environment["KKTIX_API_URL"],
            "KKTIX_API_TOKEN": server.environment["KKTIX_API_TOKEN"],
            "EDITION": EDITION,
            "VAULT_KEY": Fernet.generate_key().decode(),
            **dict.fromkeys(("GATHER_API_URL", "KLAVIYO_API_URL", "INVITATION_VIDEO_URL"), "off"),
        }

    def run(self, *arguments: str) -> str:
        """Return what a command printed."""
        done = subprocess.run(
            [sys.executable, *arguments], env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def seen(self) -> set[tuple[str, str, str]]:
        """Return (deed, host, port) since the last look."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        self._record.unlink(missing_ok=True)
        return {(deed, host, port) for deed, host, port in map(str.split, lines)}

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with duckdb.connect(self.home / "warehouse.duckdb", read_only=True) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture
def installation(server: SandboxServer, tmp_path: Path) -> WatchedInstallation:
    folder = tmp_path / "watched"
    folder.mkdir()
    return WatchedInstallation(server, folder)


@pytest.mark.long
def test_with_everything_else_off_production_fills_the_tables_and_connects_to_kktix_alone(
    installation: WatchedInstallation, server: SandboxServer, world: World
) -> None:
    world.sell(world.add_event(f"PyCon TW {EDITION} Registration: Individual"), 2)
    kktix = urlsplit(server.environment["KKTIX_API_URL"])
    only = {(deed, str(kktix.hostname), str(kktix.port)) for deed in ("lookup", "connect")}
    assert "usable 2" in installation.run("-m", "pycontw_assets", "poll")
    assert installation.seen() == only
    assert installation.rows("SELECT count(*) FROM ods.ods_kktix_ticket_individual_attendees") == [(2,)]
    assert installation.rows("SELECT sum(tickets_paid) FROM ods.daily_sales") == [(2,)]
    assert "mail: nobody is invited" in installation.run("-m", "pycontw_assets", "status")
    assert installation.seen() <= only
    assert [world.calls.count(service) for service in ("gather", "klaviyo")] == [0, 0]


@pytest.mark.long
def test_the_watch_sees_a_connection_of_a_child(installation: WatchedInstallation, server: SandboxServer) -> None:
    """The test above could not fail without it."""
    port = urlsplit(server.environment["KKTIX_API_URL"]).port
    connect = f"import socket; socket.create_connection(('localhost', {port})).close()"
    installation.run("-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {connect!r}], check=True)")
    assert ("lookup", "localhost", str(port)) in installation.seen()
