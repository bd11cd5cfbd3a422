"""Run the services of ``compose.yaml`` as plain processes. Only ``acceptance.py`` knows the pipeline."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# This variable is in the environment of every process of a stack. Its value is the folder of the stack.
MARK = "PYCONTW_LOCAL_STACK"


class Unusable(Exception):
    """The reason why the stack cannot run here, and the fix."""
