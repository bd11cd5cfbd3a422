"""An older vault that is put back next to today's ledger; and what must be so until everybody is read again.

The vault is only exchanged between two polls: one at work would write over it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pycontw_assets.play.drill.alarms import AlarmChannel
from pycontw_assets.play.scratch_installation import ScratchInstallation

_OVERRIDE = "re-read"
WAY_OUT = f"poll --allow {_OVERRIDE}"


@dataclass
class VaultBackup:
    """A backup of an installation's vault. ``due``: what steps of the script want done before the next poll.

    ``writes`` counts the calls between ``restored_at`` and ``ended_at`` that changed something outside.
    """

    installation: ScratchInstallation
    due: list[Callable[[], object]] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)  # that a person gives the next poll
    restored_at: datetime | None = None
    ended_at: datetime | None = None
    was_reported: bool = False
    writes: int = 0
    _mark: int = 0

    def before_poll(self) -> tuple[str, ...]:
        """Do what is due, and return the overrides of this poll."""
        while self.due:
            self.due.pop(0)()
        given, self.overrides = tuple(self.overrides), []
        return given

    def after_poll(self, *, was_good: bool) -> None:
        if self.restored_at and not self.ended_at:
            self.was_reported |= not was_good

    def make(self) -> None:
        shutil.copytree(self._vault, self._copy)

    def restore(self) -> None:
        shutil.rmtree(self._vault)
        shutil.copytree(self._copy, self._vault)
        self.restored_at, self._mark = self.installation.clock(), self.installation.world.calls.mark()

    def read_again(self) -> None:
        self.writes = self.installation.writes(self._mark)
        self.ended_at = self.installation.clock()
        self.overrides.append(_OVERRIDE)

    @property
    def _vault(self) -> Path:
        return self.installation.home / "vault"

    @property
    def _copy(self) -> Path:
        return self.installation.home / "vault-of-before"


def broken_promises(backup: VaultBackup, channel: AlarmChannel) -> Iterator[str]:
    """Yield what went wrong while the vault was older than the ledger."""
    if backup.writes:
        yield f"{backup.writes} calls changed something outside by the orders of an older vault"
    if not backup.was_reported:
        yield "no poll reported that the vault is older than the ledger"
    if not channel.has(WAY_OUT):
        yield "no alarm named the way out of an older vault"
