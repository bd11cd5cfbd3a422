"""``deploy/local-stack``: its behaviour at start and stop, and (slow) the whole stack with a sale, as processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_stack import MARK, Unusable, bootstrap, postgres
from deploy.local_stack.processes import Process, belonging_to, end_all

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a folder that PostgreSQL's user may enter; pytest's own folders are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="local-stack-test-", dir="/var/tmp"))
    yield folder
    end_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


def local_stack(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "HOME": str(home)}
    command = [str(ROOT / "deploy" / "local-stack"), *arguments, "--home", str(home)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("the only copy")
    with pytest.raises(Unusable, match="holds something else"):
        bootstrap.own_folder(folder)
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]


def test_a_link_to_elsewhere_is_not_a_marked_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Unusable, match="not a folder of yours"):
        bootstrap.own_folder(tmp_path / "link")


def test_a_new_folder_is_marked_and_stays_marked(tmp_path: Path) -> None:
    bootstrap.own_folder(tmp_path / "new")
    (tmp_path / "new" / "run").mkdir()
    bootstrap.own_folder(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o711


@pytest.mark.long
def test_a_stack_ends_all_processes_with_its_mark_and_no_others(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]  # longer than any test waits for the end
    started = [Process("nap", nap, {MARK: str(home)}, folder=tmp_path) for home in (mine, other)]
    try:
        while len(belonging_to(mine)) + len(belonging_to(other)) < len(started):  # a new process shows its mark late
            time.sleep(0.01)
        # This is the state after a kill -9 of the starting process.
        assert end_all(mine) == 1
        assert belonging_to(mine) == []
        assert started[1].exit_code is None
    finally:
        for process in started:
            process.stop(signal.SIGKILL)


def test_stopping_a_stack_that_does_not_run_says_so(tmp_path: Path) -> None:
    done = local_stack("down", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "nothing is running\n")


def test_missing_server_programs_are_named_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "SERVERS", Path("/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unusable, match="apt-get install postgresql"):
        postgres.binaries()


@pytest.fixture
def server_programs() -> None:
    try:
        postgres.binaries()
    except Unusable as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("server_programs")
def test_the_local_stack_serves_buyers_and_leaves_nothing_running(home: Path) -> None:
    done = local_stack("check", "--python", sys.executable, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert belonging_to(home) == []


@pytest.mark.slow
@pytest.mark.usefixtures("server_programs")
def test_a_stack_started_in_one_terminal_is_stopped_from_another(home: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "HOME": str(home)}
    command = [str(ROOT / "deploy" / "local-stack"), "up", "--python", sys.executable, "--home", str(home)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout
        assert any("Ctrl-C stops everything" in line for line in started.stdout)
        again = local_stack("up", "--python", sys.executable, home=home)
        assert (again.returncode, "a stack is running" in again.stderr) == (2, True)
        before = time.monotonic()
        stopped = local_stack("down", home=home)
        assert "processes stopped" in stopped.stdout, stopped.stderr
        assert time.monotonic() - before < 120
    assert started.returncode == 0
    assert belonging_to(home) == []
