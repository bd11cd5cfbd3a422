"""Run the ``pycontw-assets`` commands: parse, run, turn an error into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from pycontw_assets.api.garbage_collection import collect_rarely
from pycontw_assets.commands.exits import FAILED, INTERRUPTED, MISCONFIGURED, NeverUsed, end_process

# Commands by the people who need them. The command "a-b" is in the module ``commands.a_b``.
GROUPS = {
    "every day": ("poll", "plan", "status", "doctor", "pause", "resume"),
    "mail": ("preview", "announce"),
    "about one person": ("trace", "refresh", "resend", "erase", "mark-invited"),
    "data": ("import-csv", "policy", "reclassify", "rotate-vault", "hooks"),
    "repair": ("rebuild-ledger", "release", "rename-event", "adopt-tables", "contract-check"),
    "play": ("demo", "drill", "dev", "sandbox"),
}
_NAMES = tuple(name for names in GROUPS.values() for name in names)
_OLD_NAMES = {"adopt": "mark-invited"}  # scripts may still use them
_ENV_FILE = "--env-file"


def script() -> NoReturn:
    """Run the command that this process is for, and end the process."""
    end_process(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 all is well, 1 it failed or waits for a person, 2 configuration, 130 Ctrl-C."""
    collect_rarely()  # before the libraries are loaded
    from pycontw_assets.commands.console import for_people

    with for_people():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    from pycontw_assets.api.client import ServiceError
    from pycontw_assets.ledger.database.engine import LedgerError
    from pycontw_assets.settings import InvalidSettings, name_env_file
    from pycontw_assets.vault.vault import VaultError

    words = list(sys.argv[1:] if arguments is None else arguments)
    at = _place_of_command(words)
    words[at : at + 1] = [_OLD_NAMES.get(word, word) for word in words[at : at + 1]]
    parsed = _parser(words[at] if len(words) > at else None).parse_args(words)
    collect_rarely()  # the libraries that the command needs are there by now
    if "env_file" in parsed:
        name_env_file(parsed.env_file)
    try:
        return int(parsed.run(parsed))
    except (InvalidSettings, LedgerError, VaultError) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except NeverUsed as error:
        print(error, file=sys.stderr)
        return FAILED
    except ServiceError as error:
        print(f"{error}. Nothing was changed; the next poll tries again.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the boundary: a traceback quotes whatever a library put into its text
        from pycontw_assets.pipeline.redaction import explain

        print(f"{explain(error)}. The next poll tries again.", file=sys.stderr)
        return FAILED


def _place_of_command(words: Sequence[str]) -> int:
    """Return the index of the command: nothing but ``--env-file`` may come before it."""
    first = words[0] if words else ""
    return 2 if first == _ENV_FILE else int(first.startswith(f"{_ENV_FILE}="))


def _parser(name: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of every command, or of one only: the modules of the others cost seconds to import."""
    parser = argparse.ArgumentParser(
        "pycontw-assets",
        usage=f"%(prog)s [{_ENV_FILE} FILE] COMMAND [--help] …",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_env_file(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", prog=parser.prog, help=argparse.SUPPRESS)
    for group, names in GROUPS.items():
        for member in names if name not in _NAMES else {name} & {*names}:
            import_module(f"pycontw_assets.commands.{member.replace('-', '_')}").add_to(commands)
            commands.choices[member].set_defaults(group=group)
            _add_env_file(commands.choices[member])
    summaries = {action.dest: action.help for action in commands._choices_actions}
    parser.description = "\n".join(["KKTIX tickets to access, every five minutes.", *_listing(summaries)])
    return parser


def _add_env_file(parser: argparse.ArgumentParser) -> None:
    """Add the option that every command has. Without a default: a command must not undo what came before its name."""
    meaning = "read the settings from this file instead of the .env of the working directory"
    parser.add_argument(_ENV_FILE, type=Path, default=argparse.SUPPRESS, metavar="FILE", help=meaning)


def _listing(summaries: dict[str, str | None]) -> Iterator[str]:
    """Yield the lines of the general help: every command with its summary, by group."""
    for group, names in GROUPS.items():
        yield f"\n{group}:"
        yield from (f"  {name:<16}{summaries.get(name)}" for name in names)
