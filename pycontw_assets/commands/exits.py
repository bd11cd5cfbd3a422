"""Exit codes, and the one type that every command registers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import argparse

FINE, FAILED, MISCONFIGURED = 0, 1, 2
INTERRUPTED = 130  # as every shell calls it

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
