"""A question and an answer, as the three services of this folder exchange them with their HTTP server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Question:
    """``path`` begins below the service's own prefix. ``at``: the service's clock in seconds. ``body``: parsed JSON."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    base: str
    at: float


@dataclass(frozen=True)
class Answer:
    status: int
    data: Any
    media_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The question is not one that the service answers. ``status`` and ``code`` say why."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
