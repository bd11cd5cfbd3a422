"""``deploy/local-stack``: run the services of ``compose.yaml`` on this machine, without a container engine.

It writes only into one folder (``--home``). Until ``_restart_in_project_python``, there is no environment yet, so
everything before uses the standard library only.
"""

# ruff: noqa: T201, S606  # prints for a person; replaces itself by the Python of the project

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local_stack import MARK, ROOT, Unusable
from deploy.local_stack.bootstrap import own_folder, project_python
from deploy.local_stack.processes import end_all

_READY = "_PYCONTW_LOCAL_STACK_READY"


def main(arguments: Sequence[str]) -> int:
    parsed = _parser().parse_args(arguments)
    home: Path = parsed.home.absolute()
    try:
        if parsed.command == "down":
            return _down(home)
        own_folder(home)
        if os.environ.get(_READY) != str(home):
            _restart_in_project_python(home, parsed.python, arguments)
        # These imports need the project's own environment.
        if parsed.command == "check":
            from deploy.local_stack.acceptance import check

            return check(home)
        from deploy.local_stack.stack import up

        return up(home)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "deploy/local-stack",
        description="Run PostgreSQL, code server, daemon, webserver and the sandbox of compose.yaml as processes.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        default="up",
        choices=("up", "check", "down"),
        help="up (default): run until Ctrl-C; check: sell tickets, wait until the daemon has let the buyers in and "
        "invited them, stop, exit 0 only if every promise held; down: stop the stack of another terminal",
    )
    default = Path(f"/var/tmp/pycontw-assets-local-stack-{os.getuid()}")  # noqa: S108  # own_folder refuses folders of other users
    parser.add_argument("--home", type=Path, default=default, help="folder for all files of the stack (%(default)s)")
    parser.add_argument("--python", help="use this Python with the project installed, instead of a new environment")
    return parser


def _restart_in_project_python(home: Path, python: str | None, arguments: Sequence[str]) -> None:
    """Restart in the environment with the project, and mark this process and all its children."""
    chosen = Path(python).absolute() if python else project_python(home)
    environment = {**os.environ, _READY: str(home), MARK: str(home)}
    # Every run starts another Python; without cached bytecode each takes twice as long.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    os.chdir(ROOT)
    os.execve(chosen, [str(chosen), "-B", "-m", "deploy.local_stack", *arguments], environment)


def _down(home: Path) -> int:
    count = end_all(home)
    print(f"{count} processes stopped" if count else "nothing is running")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
