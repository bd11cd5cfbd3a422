"""``deploy/local-stack``: what ``compose.yaml`` describes, on this machine, without a container engine.

Everything it writes is in one folder (``--home``). Standard library only up to ``_in_own_python``: before that there is
no environment yet.
"""

# ruff: noqa: T201, S606  # talks to a person; replaces itself by the Python it made

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.local_stack import MARK, ROOT, Unusable
from deploy.local_stack.bootstrap import own_folder, own_python
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
            _in_own_python(home, parsed.python, arguments)
        # These need the project's own environment.
        from deploy.local_stack.acceptance import check
        from deploy.local_stack.stack import up

        return (check if parsed.command == "check" else up)(home)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "deploy/local-stack",
        description="PostgreSQL, code server, daemon, webserver and the sandbox, as compose.yaml says, as processes.",
    )
    parser.add_argument(
        "command",
        nargs="?",
        default="up",
        choices=("up", "check", "down"),
        help="up (default): run until Ctrl-C; check: sell tickets, wait until the daemon let the buyers in and invited "
        "them, stop, exit 0 only if every promise held; down: stop what another terminal started",
    )
    default = Path(f"/var/tmp/pycontw-assets-local-stack-{os.getuid()}")  # noqa: S108  # own_folder refuses a stranger's
    parser.add_argument("--home", type=Path, default=default, help="folder for everything it writes (%(default)s)")
    parser.add_argument("--python", help="use this Python, which has the project, instead of making an environment")
    return parser


def _in_own_python(home: Path, python: str | None, arguments: Sequence[str]) -> None:
    """Start again in the environment that has the project, with a mark by which every process of it is known."""
    chosen = Path(python).absolute() if python else own_python(home)
    environment = {**os.environ, _READY: str(home), MARK: str(home)}
    # Every run starts a Python of its own: without cached bytecode each takes twice as long.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    os.chdir(ROOT)
    os.execve(chosen, [str(chosen), "-B", "-m", "deploy.local_stack", *arguments], environment)


def _down(home: Path) -> int:
    ended = end_all(home)
    print(f"{ended} processes stopped" if ended else "nothing is running")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
