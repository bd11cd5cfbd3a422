"""Exit codes, the error of an unused data folder, and the one type that every command registers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import argparse

FINE, FAILED, MISCONFIGURED = 0, 1, 2
INTERRUPTED = 130  # as every shell calls it


class NeverUsed(Exception):
    """Nothing was ever polled where a command looked, so its answer would mean nothing. The text says so."""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
