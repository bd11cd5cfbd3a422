"""The services of a command, from the settings."""

from __future__ import annotations

from pycontw_assets.commands.console import ShownKktixClient
from pycontw_assets.pipeline.composition import Services
from pycontw_assets.settings import load_settings


def checked_services() -> Services:
    """The services of the environment, everything that can be wrong with it checked."""
    services = unchecked_services()
    services.check()
    return services


def unchecked_services() -> Services:
    """Nothing is opened or made before it is used."""
    settings = load_settings()
    return Services(lambda: settings, kktix_client=ShownKktixClient)
