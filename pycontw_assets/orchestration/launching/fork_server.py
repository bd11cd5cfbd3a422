"""Start runs from a fork server, a small process that has imported Dagster and this program already.

Dagster's default launcher asks the code server for a new Python per run, and two thirds of what a run of the access
chain costs are imports then. Here a run is a fork, so it has them already. It is a process of its own all the same,
with definitions of its own. Its code and environment are those of the launching process: an upgrade takes effect when
the daemon starts again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from typing import Any

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.origin import JobPythonOrigin
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, serialize_value

from pycontw_assets.ledger.locks import process_here, process_identity
from pycontw_assets.orchestration.run_history import OWNER_TAG

_PRELOADED = "pycontw_assets.orchestration.launching.preloaded"
_PACKAGE = "pycontw_assets"


class ForkServerLauncher(DefaultRunLauncher):
    """Starts runs of this project as forks, and those of other code locations as Dagster does by default.

    The server begins with the first run. When the launching process ends in order, it interrupts its runs. After a kill
    they finish their work, and their locks keep others away.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._context = multiprocessing.get_context("forkserver")
        self._runs: list[BaseProcess] = []

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> ForkServerLauncher:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        code = _own_code(run)
        if code is None:
            super().launch_run(context)
            return
        self._runs = [process for process in self._runs if process.is_alive()]  # asking reaps the others
        self._context.set_forkserver_preload([_PRELOADED])
        arguments = ExecuteRunArgs(code, run.run_id, self._instance.get_ref(), True)
        process = self._context.Process(target=execute, args=(serialize_value(arguments),), daemon=True)
        process.start()
        self._runs.append(process)
        self._instance.add_run_tags(run.run_id, {OWNER_TAG: process_identity(process.pid)})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, whichever process launched it on this machine. ``False``: it is not at work here."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        pid = _process_of(run)
        if pid is None:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:  # it ended meanwhile
            return False
        return True


def _own_code(run: DagsterRun) -> JobPythonOrigin | None:
    """Return where the run's code is, if this process would load the same: our package, this Python, this machine."""
    code, place = run.job_code_origin, run.remote_job_origin
    if code is None or place is None or code.executable_path != sys.executable:
        return None
    module = str(getattr(code.repository_origin.code_pointer, "module", ""))
    server = place.repository_origin.code_location_origin
    # A code server that listens on a file was started here; one with a host may have another environment.
    is_here = isinstance(server, ManagedGrpcPythonEnvCodeLocationOrigin) or bool(getattr(server, "socket", None))
    return code if is_here and module.partition(".")[0] == _PACKAGE else None


def _process_of(run: DagsterRun) -> int | None:
    owner = run.tags.get(OWNER_TAG)
    return process_here(owner) if owner else None


def execute(arguments: str) -> None:
    """Do a run in this process, as ``dagster api execute_run`` does for launchers that start containers."""
    from dagster._cli.api import execute_run_command

    execute_run_command.main([arguments], prog_name="run")
