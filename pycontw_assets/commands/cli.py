"""Run the ``pycontw-assets`` commands: parse, run, turn an error into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from pycontw_assets.api.client import ServiceError
from pycontw_assets.commands.exits import FAILED, INTERRUPTED, MISCONFIGURED
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import VaultError

# Commands by the people who need them. The command "a-b" is in the module ``commands.a_b``.
GROUPS = {
    "every day": ("poll", "plan", "status", "doctor", "preview"),
    "about one person": ("trace", "erase", "mark-invited"),
    "data": ("rotate-vault",),
    "repair": ("rebuild-ledger", "release"),
    "play": ("demo", "drill", "dev", "sandbox"),
}
_NAMES = tuple(name for names in GROUPS.values() for name in names)
_OLD_NAMES = {"adopt": "mark-invited"}  # scripts may still use them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit codes: 0 all is well, 1 it failed or waits for a person, 2 configuration, 130 Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    words[:1] = [_OLD_NAMES.get(word, word) for word in words[:1]]
    parsed = _parser(words[0] if words else None).parse_args(words)
    try:
        return int(parsed.run(parsed))
    except (InvalidSettings, LedgerError, VaultError) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except ServiceError as error:
        print(f"{error}. Nothing was changed; the next poll tries again.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the boundary: a traceback quotes whatever a library put into its text
        from pycontw_assets.pipeline.redaction import explain

        print(f"{explain(error)}. The next poll tries again.", file=sys.stderr)
        return FAILED


def _parser(name: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of every command, or of one only: the modules of the others cost seconds to import."""
    parser = argparse.ArgumentParser(
        "pycontw-assets",
        usage="%(prog)s COMMAND [--help] …",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", prog=parser.prog, help=argparse.SUPPRESS)
    for group, names in GROUPS.items():
        for member in names if name not in _NAMES else {name} & {*names}:
            import_module(f"pycontw_assets.commands.{member.replace('-', '_')}").add_to(commands)
            commands.choices[member].set_defaults(group=group)
    summaries = {action.dest: action.help for action in commands._choices_actions}
    parser.description = "\n".join(["KKTIX tickets to access, every five minutes.", *_listing(summaries)])
    return parser


def _listing(summaries: dict[str, str | None]) -> Iterator[str]:
    """Yield the lines of the general help: every command with its summary, by group."""
    for group, names in GROUPS.items():
        yield f"\n{group}:"
        yield from (f"  {name:<16}{summaries.get(name)}" for name in names)
