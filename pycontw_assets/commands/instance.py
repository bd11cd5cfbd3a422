"""The composition root of a command, from the settings."""

from __future__ import annotations

from pycontw_assets.commands.console import ShownKktixClient
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.settings import load_settings


def compose() -> Composition:
    """Return the root of the environment. Nothing is opened or made before it is used."""
    settings = load_settings()
    return Composition(lambda: settings, kktix_client=ShownKktixClient)


def compose_checked() -> Composition:
    """Return the root, with everything that can be wrong checked, and its stores opened."""
    root = compose()
    root.check()
    return root


def compose_to_read() -> Composition:
    """Return the root for a command that changes nothing: checked as far as that opens no store."""
    root = compose()
    root.check_settings()
    return root
