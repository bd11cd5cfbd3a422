"""The composition root of a command, from the settings. Its place is named, so that nobody trusts an empty one."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pycontw_assets.commands.console import ShownKktixClient
from pycontw_assets.commands.exits import NeverUsed
from pycontw_assets.ledger.ledger import Ledger, has_ledger
from pycontw_assets.ledger.polls import Paused, paused_since
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import Settings, env_file, load_settings

ANYWHERE = ("sandbox", "production")


def compose(*, accepts_account: bool = False, **replacements: Any) -> Composition:
    """Return the root of the environment. Nothing is opened or made before it is used.

    ``accepts_account``: the override for a ledger of services at another address. ``replacements`` are those of
    ``Composition``.

    Where the command looks is said on standard error: an empty sandbox must not pass for an empty installation.
    """
    settings = load_settings()
    print(f"looking in: {describe_place(settings)}", file=sys.stderr)
    return Composition(lambda: settings, kktix_client=ShownKktixClient, accepts_account=accepts_account, **replacements)


def compose_checked(*, used_in: Collection[str] = (), accepts_account: bool = False) -> Composition:
    """Return the root, with everything that can be wrong checked, and its stores opened.

    ``used_in``: the environments in which a data folder that was never used is refused, and not begun.
    """
    root = compose(accepts_account=accepts_account)
    refuse_unused(root.settings, used_in)
    root.check()
    if closed := root.closed_files:
        print(f"others on this machine could read {closed} files of the data folder; they cannot now", file=sys.stderr)
    return root


def compose_to_read(*, used_in: Collection[str] = ()) -> Composition:
    """Return the root for a command that changes nothing: checked as far as that opens no store."""
    root = compose()
    refuse_unused(root.settings, used_in)
    root.check_settings()
    return root


def refuse_unused(settings: Settings, environments: Collection[str] = ANYWHERE) -> None:
    """Raise ``NeverUsed`` where no ledger was ever begun: "nobody is known" would be true and mean nothing."""
    if settings.pycontw_env not in environments or has_ledger(settings.ledger_location):
        return
    if settings.pycontw_env == "sandbox":
        raise NeverUsed(
            "this sandbox was never used, so it knows nobody. For real people run the command in the folder with "
            "the .env of production, or name that file: pycontw-assets --env-file FILE COMMAND"
        )
    raise NeverUsed(
        "no poll ever ran with this data folder, or its ledger is lost, so nobody is known here. Are PYCONTW_HOME and "
        "LEDGER_URL those of the polls?"
    )


def mention_pause(ledger: Ledger) -> None:
    """Say that polls are paused, after a command that promises something of the next poll."""
    if since := paused_since(ledger):
        print(Paused(since))


def describe_place(settings: Settings) -> str:
    """Name environment, data folder and the source of the settings. No password is in it."""
    ledger = ", ledger of LEDGER_URL" if settings.ledger_url else ""
    source = f"settings from {file}" if (file := env_file()) else f"no .env in {Path.cwd()}"
    return f"{settings.pycontw_env}, data folder {settings.home}{ledger} ({source})"
