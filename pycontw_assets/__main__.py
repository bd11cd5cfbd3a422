"""``python -m pycontw_assets`` is ``pycontw-assets``."""

from pycontw_assets.commands.cli import main

raise SystemExit(main())
