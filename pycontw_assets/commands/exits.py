"""Exit codes, and the one type every group of commands registers with."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

FINE, FAILED, MISCONFIGURED = 0, 1, 2

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
