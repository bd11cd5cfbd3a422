"""A PostgreSQL server of the stack's own: what the image's entry point does in a container."""

# ruff: noqa: S603  # fixed commands

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local_stack import DEPLOY, Unusable
from deploy.local_stack.processes import Process

SERVERS = Path("/usr/lib/postgresql")
_INSTALL = "apt-get install postgresql (its server programs are enough; a running server is left alone)"


def binaries() -> Path:
    """The folder of the newest server programs."""
    found = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        raise Unusable(f"the programs of a PostgreSQL server are missing; on Debian and Ubuntu: {_INSTALL}")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def unprivileged_user() -> str | None:
    """Whom root lets the server run as, which refuses root; nobody else needs another user."""
    if os.getuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def start(folder: Path, port: int, environment: Mapping[str, str], logs: Path) -> Process:
    """An empty server with one superuser. It is thrown away with the stack, so it need not survive a power cut."""
    user, programs = unprivileged_user(), binaries()
    data = folder / "postgres"
    data.mkdir(mode=0o700)
    password = data.with_suffix(".password")
    password.touch(mode=0o600)
    password.write_text(environment["POSTGRES_PASSWORD"])
    if user:
        for path in (data, password):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    initdb = [
        str(programs / "initdb"),
        *("--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}"),
        *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--pgdata={data}"),
    ]
    made = subprocess.run(
        initdb,
        env=dict(environment),
        cwd="/",
        user=user,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
    )
    password.unlink()
    if made.returncode:
        raise Unusable(f"PostgreSQL could not be set up in {data}: {made.stderr.strip()}")
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return Process("postgres", [str(programs / "postgres"), "-D", str(data), *options], environment, logs, user)


def create_databases(port: int, environment: Mapping[str, str]) -> None:
    """The script that compose.yaml hands to the image."""
    connection = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGPASSWORD": environment["POSTGRES_PASSWORD"]}
    script = str(DEPLOY / "postgres" / "create-databases.sh")
    done = subprocess.run(["/bin/sh", script], env={**environment, **connection}, capture_output=True, text=True)
    if done.returncode:
        raise Unusable(f"the databases could not be created: {done.stderr.strip()}")
