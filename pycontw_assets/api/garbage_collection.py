"""How often Python looks for garbage that holds itself. Its default suits programs that are small and live for long."""

from __future__ import annotations

import gc
import sys

# New objects between two looks. The libraries make hundreds of thousands while they load, nearly all of them for good:
# with the default (700), and the looks at the end, a fourth of the CPU seconds of a poll were looks in vain. Dagster
# makes 140,000 of them while it loads, and a poll of a small sale fewer than this after that.
_OBJECTS_BETWEEN_LOOKS = 200_000


def collect_rarely() -> None:
    """Look for garbage rarely from now on, and never among what is there by now."""
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, *gc.get_threshold()[1:])
    # DuckDB must not be among it: it complains about what is left of it when the process ends.
    if "_duckdb" not in sys.modules:
        gc.freeze()
