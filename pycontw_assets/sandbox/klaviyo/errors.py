"""Refusals in Klaviyo's JSON:API form."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from pycontw_assets.sandbox.wire import Reply, json_reply

MEDIA_TYPE = "application/vnd.api+json"


@dataclass(frozen=True)
class Problem:
    """One entry of ``errors``, located by a ``pointer`` into the body or a ``parameter`` of the query."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    code: str = "invalid"
    title: str = "Invalid input."

    def as_json(self, status: int) -> dict[str, Any]:
        source = {"pointer": self.pointer} if self.pointer is not None else {}
        if self.parameter is not None:
            source = {"parameter": self.parameter}
        return {
            "id": str(uuid.uuid4()),
            "status": status,
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "source": source,
            "links": {},
            "meta": {},
        }


class ApiError(Exception):
    """End the call with this status and these problems."""

    def __init__(self, status: int, *problems: Problem) -> None:
        super().__init__(status)
        self.status = status
        self.problems = problems

    def reply(self) -> Reply:
        errors = [problem.as_json(self.status) for problem in self.problems]
        return json_reply({"errors": errors}, self.status, MEDIA_TYPE)


def bad_body(detail: str, pointer: str, status: int = 400) -> ApiError:
    return ApiError(status, Problem(detail, pointer=pointer))


def bad_query(detail: str, parameter: str) -> ApiError:
    return ApiError(400, Problem(detail, parameter=parameter))


def not_found(kind: str, identity: str) -> ApiError:
    problem = Problem(f"A {kind} with id {identity} does not exist.", code="not_found", title="Not found.")
    return ApiError(404, problem)
