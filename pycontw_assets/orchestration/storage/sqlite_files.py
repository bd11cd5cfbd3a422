"""SQLite files of Dagster that a process opens once, and that come into being whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

_LOCK_SECONDS = 30  # how long a writer waits for another one, as in Dagster


class KeptFile:
    """A SQLite file with a connection that stays open, and prepared statements that stay known."""

    def __init__(self, file: Path) -> None:
        url = sa.URL.create("sqlite", database=str(file))
        # More connections are made when they are needed at once, and closed after use.
        self._engine = sa.create_engine(
            url, connect_args={"timeout": _LOCK_SECONDS}, pool_size=1, max_overflow=-1, pool_reset_on_return="rollback"
        )
        sa.event.listen(self._engine, "connect", _prepare)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction, which is committed at the end."""
        with self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the file. It opens again when it is needed."""
        self._engine.dispose()


def _prepare(connection: Any, _record: object) -> None:
    # When the machine crashes, the last events may be lost, and nothing depends on them. A dead process loses none.
    connection.execute("PRAGMA synchronous = NORMAL")


def create_whole(file: Path, make: Callable[[str], object]) -> Path:
    """Make a file that is not there yet, whole or not at all, because other processes may open it at any time.

    ``make`` gets an empty folder, and makes a file of this name in it.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as staged:
            make(staged)
            with suppress(FileExistsError):
                os.link(Path(staged) / file.name, file)
    return file
