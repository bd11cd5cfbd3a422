"""The ``pycontw-assets`` commands: parse, run, turn what was raised into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pycontw_assets.api.client import ServiceError
from pycontw_assets.commands import doctor, erase, keys, local, plan, polling, preview, repair, status, trace
from pycontw_assets.commands.exits import FAILED, FINE, MISCONFIGURED
from pycontw_assets.ledger.database.engine import LedgerError
from pycontw_assets.settings import InvalidSettings
from pycontw_assets.vault.vault import VaultError

GROUPS = (local, polling, plan, preview, doctor, status, trace, erase, repair, keys)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 all fine, 1 something failed and will be retried, 2 configuration."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except (LedgerError, VaultError) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    except ServiceError as error:
        print(f"{error}. Nothing was changed; the next poll tries again.", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FINE
    except Exception as error:  # noqa: BLE001  # the boundary: a traceback quotes whatever a library put into its text
        from pycontw_assets.pipeline.redaction import explain

        print(f"{explain(error)}. The next poll tries again.", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pycontw-assets", description="KKTIX tickets to access, every five minutes.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for group in GROUPS:
        group.add_to(commands)
    return parser
