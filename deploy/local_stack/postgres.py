"""Start a PostgreSQL server for the stack, as the entry point of the image does in a container."""

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
    """Return the folder of the newest server programs."""
    installed = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not installed and not on_path:
        raise Unusable(f"the programs of a PostgreSQL server are missing; on Debian and Ubuntu: {_INSTALL}")
    return installed[-1].parent if installed else Path(str(on_path)).resolve().parent


def unprivileged_user() -> str | None:
    """Return the user for the server if this process runs as root, which the server refuses; otherwise ``None``."""
    if os.getuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def start(folder: Path, port: int, *, environment: Mapping[str, str], logs: Path) -> Process:
    """Start an empty server with one superuser. Its data ends with the stack, so it need not survive a power cut."""
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
    result = subprocess.run(
        initdb,
        env=dict(environment),
        cwd="/",
        user=user,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
    )
    password.unlink()
    if result.returncode:
        raise Unusable(f"PostgreSQL could not be set up in {data}: {result.stderr.strip()}")
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), *options]
    return Process("postgres", command, environment, folder=logs, user=user)


def create_databases(port: int, environment: Mapping[str, str]) -> None:
    """Run the script that compose.yaml passes to the image."""
    connection = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGPASSWORD": environment["POSTGRES_PASSWORD"]}
    script = str(DEPLOY / "postgres" / "create-databases.sh")
    result = subprocess.run(["/bin/sh", script], env={**environment, **connection}, capture_output=True, text=True)
    if result.returncode:
        raise Unusable(f"the databases could not be created: {result.stderr.strip()}")
