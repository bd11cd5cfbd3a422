"""The services of ``compose.yaml`` as plain processes. Knows compose and PostgreSQL, nothing of the pipeline."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# In the environment of every process of a stack; its value is the stack's folder.
MARK = "PYCONTW_LOCAL_STACK"


class Unusable(Exception):
    """Why the stack cannot run here, with the way out."""
