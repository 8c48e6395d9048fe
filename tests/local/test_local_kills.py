"""``kill -9``, or a full disk, at every step of the local engine: the same line goes on.

What is killed is a process of its own, by SIGKILL; its workers and their tasks are real and outlive
it. Steps are every change of the engine's own files and of the journal, and every word to a worker.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
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

__all__ = ["quiet"]

Line = tuple[str, ...]

_OURS = re.compile(
    r".*/demo/(local(/.*)?|journal\.jsonl|submissions/\d+(/job.*|/tasks/(worker|runner).*)?)|pipe:.*"
)
"""The engine's own files: its lock, the claim, what workers and the runner write. The journal,
which says what is to be run; and the pipes to the workers."""

PATIENCE_S = 30
"""How long a line may take; none of them needs a tenth of it."""

_write = os.write


def ours(path: str) -> bool:
    """Whether a file is the local engine's."""
    return _OURS.fullmatch(path) is not None


class Stage:
    """A folder with a run, and processes that type in it; set back to how it began each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder.with_name("said")
        self.run = folder / "slurmslice-runs" / "demo"
        self.code = 0

    def keep(self) -> None:
        """Remember how things stand."""
        shutil.copytree(self.folder, self._copy, symlinks=True)

    def back(self) -> None:
        """Let things stand as they were kept."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._copy, self.folder, symlinks=True)
        os.chdir(self.folder)

    @property
    def _copy(self) -> Path:
        return self.folder.with_name("kept")

    def __call__(self, *line: str, killer: Killer | None = None) -> str:
        """Type a line in a process of its own; what was said.

        The killer learns whether it came to its point there, and what that was.
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
        assert code in range(5) or (code == -signal.SIGKILL and where), self.said.read_text()
        self.code = code
        return " ".join(self.said.read_text().split())

    def _type(self, line: Line, killer: Killer | None, pipe: int) -> None:
        """The process: it never returns, and does not wait for ever."""
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

    # -- what came of it ---------------------------------------------------------------------

    def done(self) -> Counter[str]:
        """How often each slice was done, by the commands' own account."""
        return Counter(
            log.name.removeprefix("done.")
            for log in self.folder.glob("done.*")
            for _ in log.read_text().splitlines()
        )

    def check_left(self, where: str) -> None:
        """No process is left, nobody holds the lock, and no slice was begun beside itself."""
        self.check_ended(where)
        if (self.run / "local").is_dir():
            lock = RunnerLock(self.run / "local" / "runner")
            assert lock.take(), where
            assert not lock.holder(), where
            lock.release()

    def check_ended(self, where: str) -> None:
        """No process is left, and no slice was begun beside itself."""
        mark = orphans.marker(self.run)
        until(lambda: not any(orphans._has_mark(p, mark, None) for p in psutil.process_iter()))
        assert not (self.folder / "beside").exists(), where


@dataclass(frozen=True)
class Scene:
    """What a person types, and what must have come of it in the end.

    Attributes:
        line: what is killed, and then typed again.
        done: how often each slice was done in the end.
        least: how many points it has at least.
        before: lines, and what happens otherwise, that lead there.
        after: lines that a person types then, before the run is gone on with to its end.
        codes: of the line, the second time.
        ends: the exit code of the run in the end.
        only: which of the engine's files count, a pattern; the others are like another scene's.
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
        """Once through, killed at the killer's point."""
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
        assert stage.done() == self.done, f"{killer.where}: {stage.done()}"
        stage.check_left(killer.where)


def of(*keys: int) -> dict[str, int]:
    """Once each."""
    return {str(key): 1 for key in keys}


def submitted(stage: Stage) -> None:
    """What waits is submitted, and whoever did that was killed before it worked."""
    stage("submit", killer=Killer(0, counts=lambda path: path.endswith("/local/runner")))


def claimed(stage: Stage) -> None:
    """A runner claimed the job and started a slice, and was killed."""
    stage("submit", killer=Killer(3, counts=lambda path: path.startswith("pipe:")))
    stage.check_ended("")


def failed_unseen(stage: Stage) -> None:
    """Twenty have failed, and their runner was killed before anybody looked."""
    stage("submit", "demo", "--only", "2-21",
          killer=Killer(3, counts=lambda path: path.endswith("/local/runner")))  # fmt: skip


def mended(stage: Stage) -> None:
    """What failed will do no more."""
    (stage.folder / "mended").touch()


COMMAND = """
    exec 9>>now.$SLICE
    flock -n 9 || echo $SLICE >>beside
    [ $SLICE -lt 2 ] || [ -e mended ] || exit 3
    sleep 0.02
    echo >>done.$SLICE
"""
"""It tells where it runs beside itself; until it is mended, slices from 2 on fail."""

SAYS = ("--name", "demo", "--engine", "local", "--shell", COMMAND)
MADE = ("render", "-a", "0-1", *SAYS)
LET_GO = ("run", "demo", "--max-failures", "none")
SUBMITTED = (MADE, submitted)
CLAIMED = (MADE, claimed)
FAILED = (("run", "-a", "1-2", *SAYS), mended)
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
    Scene("resubmit", ("resubmit",), of(1, 2), 20, FAILED),
    Scene(
        "hold", ("run", "demo"), of(0, 1), 3, HELD, (LET_GO,), codes=(1, 4), ends=1, only="journal"
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
    """A folder of its own, where everything is Slurm's no more than the machine is a cluster's."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(template, "environment", functools.cache(template.environment))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Stage(folder)


@pytest.fixture
def set_up(stage: Stage) -> Callable[[Scene], Stage]:
    """Come to the moment before a scene's line."""

    def build(scene: Scene) -> Stage:
        for step in scene.before:
            said = step(stage) if callable(step) else stage(*step)
            assert stage.code in (0, 1, 4, -signal.SIGKILL), said
        stage.keep()
        return stage

    return build


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_anywhere_here_the_same_line_goes_on(
    set_up: Callable[[Scene], Stage], scene: Scene
) -> None:
    """Promise 9, on one machine: each slice is done once, never beside itself; nothing stays."""
    stage = set_up(scene)
    found = points(lambda killer: scene.attempt(stage, killer))
    assert found >= scene.least


@pytest.mark.parametrize("scene", FULL, ids=lambda scene: scene.name)
def test_a_disk_that_is_full_here_is_told_and_nothing_is_lost(
    set_up: Callable[[Scene], Stage], scene: Scene
) -> None:
    """From any write on none goes through: it is told, and with room again the line goes on."""
    stage = set_up(scene)
    found = points(lambda killer: scene.attempt(stage, killer), errno.ENOSPC)
    assert found >= scene.least // 2
