"""How a poll and its runs went, for the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pycontw_assets.alerts.alerting import Reach
from pycontw_assets.pipeline.observe import Tick


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of a poll. Failures, problems and warnings are safe texts; ``counts`` come from the assets' metadata.

    Unlike a problem, a warning concerns single people or answers: the poll was good all the same.
    """

    job: str
    partition_key: str | None
    ok: bool
    failures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PollReport:
    """One poll: its tick and its runs. ``late``: texts about events that wait for long, even after its runs.

    ``reach``: whether people hear of them.

    ``paused_since``: a person paused polls while this one was at work, and it stopped.
    """

    tick: Tick
    runs: tuple[RunReport, ...]
    late: tuple[str, ...] = ()
    reach: Reach = field(default_factory=Reach)
    paused_since: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing failed, also no alarm channel."""
        return self._did_well and not self.reach.problems

    @property
    def is_good(self) -> bool:
        """Whether the dead man's switch may stay quiet: with one alarm channel of two, people hear of the other."""
        return self._did_well and self.reach.is_anybody_there

    @property
    def _did_well(self) -> bool:
        waiting = any(decision.next_attempt_at for decision in self.tick.decisions.values())
        did_well = all(run.ok and not run.problems for run in self.runs)
        return did_well and not (self.tick.problems or self.late or waiting)
