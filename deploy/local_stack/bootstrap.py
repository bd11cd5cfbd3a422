"""Make a Python environment with the project from a fresh clone, as the Dockerfile does. Standard library only."""

# ruff: noqa: T201, S603  # prints for a person; runs fixed commands

from __future__ import annotations

import hashlib
import shutil
import stat
import subprocess
import sys
from os import getuid
from pathlib import Path

from deploy.local_stack import ROOT, Unusable

# The files that the Dockerfile copies. An installation from the checkout would leave build folders there.
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt", "pycontw_assets")
_OLDEST, _FIRST_UNSUPPORTED = (3, 10), (3, 14)


def own_folder(home: Path) -> None:
    """Make the folder, or use it again if this program made it. Other users may enter only their own part of it."""
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    status = home.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != getuid():
        raise Unusable(f"{home} is not a folder of yours; name another with --home")
    if not (home / _MARKER_FILE).exists() and any(home.iterdir()):
        raise Unusable(f"{home} holds something else; name an empty or new folder with --home")
    home.chmod(0o711)
    (home / _MARKER_FILE).touch()


_MARKER_FILE = ".pycontw-local-stack"


def project_python(home: Path) -> Path:
    """Return the Python of an environment under ``home`` that has the present sources installed."""
    if not _OLDEST <= sys.version_info[:2] < _FIRST_UNSUPPORTED:
        raise Unusable(f"Python 3.10 to 3.13 is needed, this is {sys.version.split()[0]}; set PYTHON=/path/to/python3")
    python = home / "venv" / "bin" / "python"
    stamp, digest = home / "venv" / "installed", _digest()
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"installing the project into {home / 'venv'} (once, a minute or two)", flush=True)
        _install(home, python)
        stamp.write_text(digest)
    return python


def _install(home: Path, python: Path) -> None:
    source = home / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home / "venv")], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, ".[production]", "-c", "constraints.txt"], cwd=source, check=True)
    except subprocess.CalledProcessError:
        raise Unusable(
            "the project could not be installed; the lines above show why. On Debian and Ubuntu, venv is a separate "
            "package: apt-get install python3-venv"
        ) from None


def _digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in SOURCES:
        files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
