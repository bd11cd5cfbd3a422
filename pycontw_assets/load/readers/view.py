"""A view, and the few things that engines spell differently in it. Everything else is the same SQL on all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

# The conference is in Taiwan, which has no summer time.
TAIPEI_HOURS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewColumn:
    """A column of a view. ``sources``: (table, column) that it is made of."""

    name: str
    type: str
    description: str
    sources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view. ``query``: its whole SELECT, in the dialect of the warehouse.

    ``is_next_to_tables``: in the dataset of our tables, with their prefix; otherwise in ``VIEWS_DATASET``, without it.
    """

    name: str
    description: str
    columns: tuple[ViewColumn, ...]
    query: str
    is_next_to_tables: bool = False

    @property
    def digest(self) -> str:
        """The digest of all that the view says: a view with the same one is not made again."""
        said = repr((self.description, [(column.name, column.description) for column in self.columns], self.query))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class Dialect(Protocol):
    """The spellings of one engine. ``expression`` is SQL."""

    def table(self, name: str) -> str:
        """Return the full name of a table by the name that ``Table`` or ``set_aside_name`` gives it."""

    def cast(self, expression: str, type_: str) -> str:
        """Return the expression as a type, which has BigQuery's name."""

    def day_in_taipei(self, expression: str) -> str:
        """Return the day of a moment in Taiwan as text: ``2031-06-01``."""

    def json(self, members: Mapping[str, str]) -> str:
        """Return a JSON object as text. ``members``: name -> expression."""


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_DUCKDB_TYPES = {"FLOAT64": "DOUBLE", "INT64": "BIGINT", "STRING": "VARCHAR", "BOOL": "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class DuckDBDialect:
    dataset: str
    prefix: str = ""

    def table(self, name: str) -> str:
        # Without the name of the database, which is that of the file.
        return f"{self.dataset}.{self.prefix}{name}"

    def cast(self, expression: str, type_: str) -> str:
        duckdb_type = _DUCKDB_TYPES.get(type_, "TIMESTAMP WITH TIME ZONE")
        return f"CAST({expression} AS {duckdb_type})"

    def day_in_taipei(self, expression: str) -> str:
        # A cast would use the time zone of whoever reads.
        shifted = f"epoch_us({expression}) + {TAIPEI_HOURS * 3_600_000_000}"
        return f"strftime(make_timestamp({shifted}), '%Y-%m-%d')"

    def json(self, members: Mapping[str, str]) -> str:
        return f"CAST(json_object({_pairs(members)}) AS VARCHAR)"


@dataclass(frozen=True, slots=True)
class BigQueryDialect:
    project: str
    dataset: str
    prefix: str = ""

    def table(self, name: str) -> str:
        return f"`{self.project}.{self.dataset}.{self.prefix}{name}`"

    def cast(self, expression: str, type_: str) -> str:
        return f"CAST({expression} AS {type_})"

    def day_in_taipei(self, expression: str) -> str:
        return f"FORMAT_TIMESTAMP('%F', TIMESTAMP_ADD({expression}, INTERVAL {TAIPEI_HOURS} HOUR))"

    def json(self, members: Mapping[str, str]) -> str:
        return f"TO_JSON_STRING(JSON_OBJECT({_pairs(members)}))"


def _pairs(members: Mapping[str, str]) -> str:
    return ", ".join(f"'{name}', {expression}" for name, expression in members.items())


def literal(text: str) -> str:
    """Return a text of ours as it is spelled in SQL on all engines."""
    if "'" in text or "\\" in text:
        raise ValueError("a text in a view holds no quotes and no backslashes")
    return f"'{text}'"


def view_name(name: str) -> str:
    """Return the name of a view if it is safe in a statement. Old names have capitals. Raise ``ValueError`` if not."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a plain name for a view: {name!r}")
    return name
