"""``kill -9`` at every step of ``tick`` that starts the step after a run: it runs exactly once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmslice.run.run import Run
from slurmslice.run.then_folder import ThenFolder
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from slurmslice.system import files
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import Clock, FakeEngine
from tests.support.kills import LATE_S, Killed, Killer, kill_at, points
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("unmeasured")


class Jobs:
    """The jobs of the step on the fake cluster; some are accepted late.

    Attributes:
        ran: the jobs that ran the command.
        late: seconds until a job is accepted, and its order.
    """

    def __init__(self, fakes: FakeStewards, run: Path) -> None:
        self.fakes, self.run = fakes, run
        self.ran: list[str] = []
        self.late: list[tuple[float, Any]] = []

    def pass_time(self, seconds: float) -> None:
        """Accept the jobs that are due."""
        due = [order for left, order in self.late if left <= seconds]
        self.late = [(left - seconds, order) for left, order in self.late if left > seconds]
        for order in due:
            FakeStewards.submit(self.fakes, order)

    def second(self, killer: Killer, clock: Clock) -> None:
        """Let a second pass while slurmslice waits."""
        killer.away = True
        clock.now += 1
        self.pass_time(1)
        self.work()
        killer.away = False

    def work(self) -> None:
        """Let every job that may start do what then.sh does."""
        for job, order in self.fakes.orders.items():
            if self.fakes.reports[job].state.final:
                continue
            folder = ThenFolder(self.run, order.arguments[1])
            files.create_exclusively(folder.path / "job", f"{job}\n".encode())
            mine = folder.claiming_job() == job
            if mine:
                self.ran.append(job)
                (folder.path / "exit").write_text("0\n")
            state = State.COMPLETED if mine else State.FAILED
            self.fakes.reports[job] = TaskReport(state, str(state), exit_code=int(not mine))


def sbatch(killer: Killer, jobs: Jobs) -> Callable[..., str]:
    """Return an sbatch that is not received, loses its answer, or is accepted late."""
    whole = FakeStewards.submit

    def submit(fakes: FakeStewards, order: Any) -> str:
        way = killer.step("sbatch then.sh", 2 + len(LATE_S))
        job = whole(fakes, order) if way in {None, 1} else ""
        if way is not None and way > 1:
            jobs.late.append((LATE_S[way - 2], order))
        return job if way is None else killer.die()

    return submit


@pytest.mark.parametrize("line", [("tick", "x"), ("then", "x")], ids=lambda line: line[0])
@pytest.mark.parametrize("polls_s", [40, 500])
def test_the_step_runs_once(
    polls_s: float,
    line: tuple[str, ...],
    typed: Typed,
    engine: FakeEngine,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was killed, it runs; a job that comes late does not run beside another one."""
    monkeypatch.setattr(Run.__init__, "__defaults__", (clock,))
    typed("render", "-a", "0-3", "--name", "x", "--then", "plot", "--", "true", "{}")
    typed("submit", "x")
    engine.end_all()
    run, kept, begin = typed.folder / "runs" / "x", typed.folder / "kept", clock.now
    shutil.copytree(run, kept)
    del engine.on_wait

    def attempt(killer: Killer) -> None:
        shutil.rmtree(run)
        shutil.copytree(kept, run)
        engine.stewards = fakes = FakeStewards(engine)
        clock.now, jobs = begin, Jobs(fakes, run)
        engine.on_wait = lambda: jobs.second(killer, clock)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(killer, patch)
            patch.setattr(FakeStewards, "submit", sbatch(killer, jobs))
            with contextlib.suppress(Killed):
                typed(*line)
        killer.away = True
        for _ in range(15):
            clock.now += polls_s
            jobs.pass_time(polls_s)
            jobs.work()
            typed("tick", "x", "--exit-code")
        assert (typed.code, len(jobs.ran)) == (0, 1), f"{killer.where}: {jobs.ran}"
        assert typed.json("status", "x")["then"]["state"] == "COMPLETED", killer.where

    assert points(attempt) >= 20
