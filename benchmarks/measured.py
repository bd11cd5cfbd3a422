"""Run a process to its end, and return what it cost and what it printed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")


def measured(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None, *, good: Sequence[int] = (0,)
) -> tuple[dict[str, float], str]:
    """Return ``CPU s``, ``wall s`` and ``peak MB`` of a command, and its output. Any other exit code ends all."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as cost:
        done = subprocess.run(
            [sys.executable, "-I", str(_LAUNCH), cost.name, *command],
            env=dict(environment),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in good:
            raise SystemExit(f"{' '.join(command)} failed\n{done.stderr[-2000:]}")
        return json.loads(Path(cost.name).read_text(encoding="utf-8")), done.stdout
