"""The DuckDB file as a whole: its format, and a copy of it that holds nothing of replaced rows.

Which DuckDB is installed depends on the version of Python, and 2.0 writes by default what 1.5 cannot read. So files are
written in the oldest format, which all read, and a file in a newer one becomes a copy in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.load.warehouse import WarehouseError

if TYPE_CHECKING:
    import duckdb

STORAGE_VERSION = "v1.0.0"
_KINDS = {
    "table": "duckdb_tables",
    "view": "duckdb_views",
    "sequence": "duckdb_sequences",
    "index": "duckdb_indexes",
    "function": "duckdb_functions",
    "type": "duckdb_types",
}
_OBJECTS = " UNION ALL ".join(
    f"SELECT '{kind}', schema_name, {kind}_name FROM {source}() WHERE database_name = $1"  # noqa: S608 - the names above
    for kind, source in _KINDS.items()
)


FileStamp = tuple[tuple[int, ...], ...]


def file_stamp(path: Path) -> FileStamp | None:
    """Return what changes with every write to the file, or to the log of writes next to it; ``None``: nobody can say.

    A file that is not there has a stamp, too.
    """
    stamps = []
    for name in (path, f"{path}.wal"):
        try:
            status = os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        stamps.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def is_newer_format(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the file has a format that an older DuckDB, which another Python may bring, does not read."""
    # Not from the header of the file: opening and closing it here would end the lock that DuckDB holds on it.
    query = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
    [(version,)] = connection.execute(query).fetchall()
    return str(version) != f"{STORAGE_VERSION}+"


def copy_into_new_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Replace the file by a copy of all that it holds, also of what other people keep there.

    The copy has our format, and nothing of rows that were deleted: in the old file their bytes stay in blocks that wait
    to be used again. Nobody else can open the old file meanwhile. A crash leaves the old file or the copy. Nothing but
    closing may follow on the connection.
    """
    staged = path.with_name(f"{path.name}.new")
    staged.unlink(missing_ok=True)
    [(current,)] = connection.execute("SELECT current_database()").fetchall()
    try:
        connection.execute("CHECKPOINT")
        connection.execute(f"ATTACH {literal(str(staged))} AS copy (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute(f"COPY FROM DATABASE {_quoted(current)} TO copy")
        if _contents(connection, current) != _contents(connection, "copy"):
            raise WarehouseError(f"DuckDB could not copy {path.name} whole; the file stays as it is")
        connection.execute("DETACH copy")
        _sync(staged)
        os.replace(staged, path)
        _sync(path.parent)
    finally:
        staged.unlink(missing_ok=True)


def literal(text: str) -> str:
    """Return a text as it is written in a statement."""
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _contents(connection: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, str, str, int]]:
    """Return all that was made in a database: kind, schema and name, and of tables the number of rows."""
    objects = connection.execute(_OBJECTS, [database]).fetchall()
    return sorted(
        (kind, schema, name, _rows(connection, database, schema, name) if kind == "table" else 0)
        for kind, schema, name in objects
    )


def _rows(connection: duckdb.DuckDBPyConnection, *names: str) -> int:
    table = ".".join(map(_quoted, names))
    [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - quoted names
    return int(count)


def _quoted(name: str) -> str:
    quoted = name.replace('"', '""')
    return f'"{quoted}"'


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
