"""The answers of a walk while they are in memory, and the recorder that each client hands its answers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pycontw_assets.api.answers import Answer, parse_json
from pycontw_assets.api.client import Reply, ServiceError

NO_ANSWER, PAGE, NOT_JSON, CUT_SHORT = "no answer", "a web page", "not JSON", "cut short or too large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer. ``status`` is ``None`` without an answer; ``problem`` is one of four fixed texts.

    ``event``: the number of the KKTIX event within this walk, counted from 1. ``asked``: the id that was asked for.
    """

    endpoint: str
    event: int = 0
    asked: str = field(default="", repr=False)
    status: int | None = None
    problem: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    milliseconds: int = 0
    size: int = 0
    data: Any = field(default=None, repr=False)

    @property
    def is_success(self) -> bool:
        return self.status is not None and self.status // 100 == _SUCCESS and self.problem is None


_SUCCESS = 2


class Recorder:
    """Give ``heard`` to the clients as ``on_answer``, and make every call through ``ask``, one after the other."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.reasons: dict[str, str] = {}
        """Service -> why its last call failed, in the words of ``ServiceError``. They are safe for people."""
        self._now = Exchange(endpoint="")

    def ask(self, endpoint: str, call: Callable[[], object], *, event: int = 0, asked: object = "") -> Any:
        """Make a call, whose answers are recorded under this endpoint, and return its data; ``None`` if it failed."""
        self._now = Exchange(endpoint=endpoint, event=event, asked=str(asked))
        before = len(self.exchanges)
        try:
            reply = call()
        except ServiceError as error:
            self.reasons[error.service] = str(error)
            if len(self.exchanges) == before:
                self._record(problem=NO_ANSWER)
            return None
        return reply.data if isinstance(reply, Reply) else None

    def heard(self, answer: Answer, seconds: float) -> None:
        """Record one answer, of whatever status."""
        problem, data = _content(answer)
        self._record(
            status=answer.status,
            problem=problem,
            headers=dict(answer.headers),
            milliseconds=round(seconds * 1000),
            size=len(answer.body),
            data=data,
        )

    def _record(self, **details: Any) -> None:
        now = self._now
        self.exchanges.append(Exchange(endpoint=now.endpoint, event=now.event, asked=now.asked, **details))


def _content(answer: Answer) -> tuple[str | None, Any]:
    if answer.is_cut_short or answer.is_too_large:
        return CUT_SHORT, None
    if answer.is_page:
        return PAGE, None
    problem, data = parse_json(answer.body)
    return (NOT_JSON, None) if problem else (None, data)
