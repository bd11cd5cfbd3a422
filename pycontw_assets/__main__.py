"""``python -m pycontw_assets`` is ``pycontw-assets``."""

from pycontw_assets.commands.cli import script

script()
