"""``kill -9``, or a full disk, at every step of the local engine. The same command then continues.

The killed process is a real one, with real workers and tasks, which outlive it. A step is a change
of one of the engine's files or of the journal, or a message to a worker.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from slurmslice.cli import app
from slurmslice.engines.local import orphans
from slurmslice.engines.local.runner_lock import RunnerLock
from slurmslice.script import template
from tests.local.test_local_tasks import quiet, until
from tests.support.kills import Killer, kill_at, points

pytestmark = pytest.mark.usefixtures("unmeasured")

__all__ = ["quiet"]

Line = tuple[str, ...]

_OURS = re.compile(
    r".*/demo/(local(/.*)?|journal\.jsonl|submissions/\d+(/job.*|/tasks/(worker|runner).*)?)|pipe:.*"
)
"""The files of the engine (lock, claims, progress files), the journal, and the workers' pipes."""

PATIENCE_S = 30
"""Seconds that a command may take. No command needs a tenth of it."""

_write = os.write


def ours(path: str) -> bool:
    """Return ``True`` if a file belongs to the local engine."""
    return _OURS.fullmatch(path) is not None


class Stage:
    """A folder with a run, in which commands are run. It can be restored to a saved state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder.with_name("said")
        self.run = folder / "slurmslice-runs" / "demo"
        self.code = 0

    def keep(self) -> None:
        """Save the folder."""
        shutil.copytree(self.folder, self._copy, symlinks=True)

    def back(self) -> None:
        """Restore the saved folder."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._copy, self.folder, symlinks=True)
        os.chdir(self.folder)

    @property
    def _copy(self) -> Path:
        return self.folder.with_name("kept")

    def __call__(self, *line: str, killer: Killer | None = None) -> str:
        """Run a command in a new process. Return its output.

        The killer gets its point in that process, if it was reached.
        """
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            self._type(line, killer, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            where = pipe.read().decode()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if killer is not None and where:
            killer.dead, killer.where = True, where
        assert code in range(7) or (code == -signal.SIGKILL and where), self.said.read_text()
        self.code = code
        return " ".join(self.said.read_text().split())

    def _type(self, line: Line, killer: Killer | None, pipe: int) -> None:
        """Run a command in this process, with a time limit. It never returns."""
        code = 70
        signal.alarm(PATIENCE_S)
        try:
            os.dup2(os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            sys.stdin = open(os.devnull)  # noqa: SIM115
            sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115
            sys.argv = ["slurmslice", *line]
            if killer is not None:
                killer.die_by = lambda: self._die(killer, pipe)
                kill_at(killer, pytest.MonkeyPatch())
            code = app._exit_code()
            if killer is not None and killer.dead:
                _write(pipe, killer.where.encode())
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    @staticmethod
    def _die(killer: Killer, pipe: int) -> None:
        _write(pipe, killer.where.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    # -- results -----------------------------------------------------------------------------

    def done(self) -> Counter[str]:
        """Return the number of times that each slice was done, from the files of the commands."""
        return Counter(
            log.name.removeprefix("done.")
            for log in self.folder.glob("done.*")
            for _ in log.read_text().splitlines()
        )

    def interrupted(self) -> Counter[str]:
        """Return the number of signals that each slice received, from the workers' lines."""
        ends = re.compile(r"slurmslice end .* told=\w+ .*task=(\d+)")
        logs = self.run.glob("submissions/*/tasks/worker-*.log")
        return Counter(end[1] for log in logs for end in ends.finditer(log.read_text()))

    def check_done(self, expected: Mapping[str, int], where: str) -> None:
        """Check that each slice is done, and runs again only if it received a signal.

        A slice may be in its last command when the signal arrives: its end counts as an
        interruption (docs/guarantees.md, 5), so it runs again.
        """
        done = self.done()
        again = done - Counter(expected)
        assert done.keys() == expected.keys(), f"{where}: {done}"
        assert again <= self.interrupted(), f"{where}: {done}"

    def check_left(self, where: str) -> None:
        """Check that no process is left, the lock is free, and no slice ran twice at once."""
        self.check_ended(where)
        if (self.run / "local").is_dir():
            lock = RunnerLock(self.run / "local" / "runner")
            assert lock.acquire(), where
            assert not lock.read_holder(), where
            lock.release()

    def check_ended(self, where: str) -> None:
        """Check that no process is left, and that no slice ran twice at once."""
        marker = orphans.marker_variable(self.run)
        until(lambda: not any(orphans._has_marker(p, marker) for p in psutil.process_iter()))
        assert not (self.folder / "beside").exists(), where


@dataclass(frozen=True)
class Scene:
    """A command, and its required results.

    Attributes:
        line: the command that is killed and then run again.
        done: the number of times that each slice was done in the end.
        least: the minimum number of points.
        before: commands and functions that prepare the scene.
        after: commands before the run is finished.
        codes: the permitted exit codes of the second ``line``.
        ends: the exit code of the run in the end.
        only: a pattern for the files that count; other scenes cover the rest.
    """

    name: str
    line: Line
    done: dict[str, int]
    least: int
    before: tuple[Line | Callable[[Stage], None], ...] = ()
    after: tuple[Line, ...] = ()
    codes: tuple[int, ...] = (0,)
    ends: int = 0
    only: str = ""

    def attempt(self, stage: Stage, killer: Killer) -> None:
        """Run the scene, killed at the killer's point."""
        stage.back()
        killer.counts = lambda path: ours(path) and re.search(self.only, path) is not None
        said = stage(*self.line, killer=killer)
        if killer.error and killer.dead and stage.code:
            assert stage.code == 3, f"{killer.where}: {said}"
            assert os.strerror(killer.error) in said, f"{killer.where}: {said}"
        if killer.dead:
            said = stage(*self.line)
        assert stage.code in self.codes, f"{killer.where}: {said}"
        for line in self.after:
            said = stage(*line)
            assert stage.code == self.ends, f"{killer.where}: {said}"
        said = stage("run", "demo")
        assert stage.code == self.ends, f"{killer.where}: {said}"
        stage.check_done(self.done, killer.where)
        stage.check_left(killer.where)


def of(*keys: int) -> dict[str, int]:
    """Return a count of one for each key."""
    return {str(key): 1 for key in keys}


def submitted(stage: Stage) -> None:
    """Submit the waiting slices. The process is killed before it runs tasks."""
    stage("submit", killer=Killer(0, counts=lambda path: path.endswith("/local/runner")))


def claimed(stage: Stage) -> None:
    """Start a runner, which is killed after it claimed the job and started a slice."""
    stage("submit", killer=Killer(3, counts=lambda path: path.startswith("pipe:")))
    stage.check_ended("")


def failed_unseen(stage: Stage) -> None:
    """Let twenty slices fail. Their runner is killed before it reads the results."""
    stage("submit", "demo", "--only", "2-21",
          killer=Killer(3, counts=lambda path: path.endswith("/local/runner")))  # fmt: skip


def repair(stage: Stage) -> None:
    """Let failed slices succeed from now on."""
    (stage.folder / "repaired").touch()


COMMAND = """
    exec 9>>now.$SLICE
    flock -n 9 || echo $SLICE >>beside
    [ $SLICE -lt 2 ] || [ -e repaired ] || exit 3
    sleep 0.02
    echo >>done.$SLICE
"""
"""A command that records if it runs twice at once. Slices from 2 on fail until ``repair``."""

SAYS = ("--name", "demo", "--engine", "local", "--shell", COMMAND)
MADE = ("render", "-a", "0-1", *SAYS)
LET_GO = ("run", "demo", "--max-failures", "none")
SUBMITTED = (MADE, submitted)
CLAIMED = (MADE, claimed)
FAILED = (("run", "-a", "1-2", *SAYS), repair)
HELD = (("render", "-a", "0-21", *SAYS), failed_unseen)
WORK = r"/local|/job|worker|runner|pipe:"
SCENES = [
    Scene("run", ("run", "-a", "0-1", *SAYS), of(0, 1), 30),
    Scene("submit", ("submit",), of(0, 1), 25, (MADE,)),
    Scene("cancel", ("cancel", "demo", "1"), of(0), 3, SUBMITTED, ends=1, only="journal"),
    Scene("throttle", ("throttle", "demo", "1"), of(0, 1), 3, SUBMITTED, only="journal"),
    Scene("status-of-a-dead", ("status",), of(0, 1), 1, CLAIMED),
    Scene("run-of-a-dead", ("run", "demo"), of(0, 1), 15, CLAIMED, only=WORK),
    Scene("cancel-of-a-dead", ("cancel", "demo", "1"), of(0), 3, CLAIMED, ends=1),
    Scene("resubmit", ("resubmit",), of(1, 2), 20, FAILED, codes=(0, 5)),
    Scene(
        "hold", ("run", "demo"), of(0, 1), 3, HELD, (LET_GO,), codes=(1, 6), ends=1, only="journal"
    ),
    Scene(
        "release", LET_GO, of(0, 1), 3, (*HELD, ("run", "demo")), codes=(1,), ends=1, only="journal"
    ),
]
FULL = [scene for scene in SCENES if scene.name in {
    "run", "submit", "cancel", "status-of-a-dead", "run-of-a-dead",
}]  # fmt: skip


@pytest.fixture
def stage(tmp_path: Path, quiet: None, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Provide an empty folder, without Slurm's variables in the environment."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    template.shipped_template()  # the commands are forks of this process, and share it
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Stage(folder)


@pytest.fixture
def set_up(stage: Stage) -> Callable[[Scene], Stage]:
    """Return a function that prepares a scene up to its command."""

    def build(scene: Scene) -> Stage:
        for step in scene.before:
            said = step(stage) if callable(step) else stage(*step)
            assert stage.code in (0, 1, 4, 5, 6, -signal.SIGKILL), said
        stage.keep()
        return stage

    return build


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_same_command_continues_after_a_kill_at_any_point(
    set_up: Callable[[Scene], Stage], scene: Scene
) -> None:
    """Promise 9 on one machine: each slice is done once, and no process is left."""
    stage = set_up(scene)
    found = points(lambda killer: scene.attempt(stage, killer))
    assert found >= scene.least


@pytest.mark.parametrize("scene", FULL, ids=lambda scene: scene.name)
def test_a_full_disk_is_reported_and_nothing_is_lost(
    set_up: Callable[[Scene], Stage], scene: Scene
) -> None:
    """A full disk is reported. With space again, the same command continues."""
    stage = set_up(scene)
    found = points(lambda killer: scene.attempt(stage, killer), errno.ENOSPC)
    assert found >= scene.least // 2
