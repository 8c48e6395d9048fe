"""A run that waits for another one (``--after``), on the fake cluster."""

from __future__ import annotations

import shutil

import pytest

from slurmslice.actions.steward_round import do_round
from slurmslice.engines.stewards import LiveTask
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.then_folder import ThenFolder
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")


def make(typed: Typed, *options: str, first: tuple[str, ...] = ()) -> None:
    """Make the run a of two slices, job 100, and the run b of two slices after it."""
    typed("run", "-a", "0-1", "--name", "a", *first, *COMMAND)
    typed("run", "-a", "0-1", "--name", "b", "--after", "a", *options, *COMMAND)


def end(engine: FakeEngine, job: str, *failed: int) -> None:
    """Let the slices of an array end; some of them fail."""
    for index in engine.jobs[job].tasks:
        state = State.FAILED if index in failed else State.COMPLETED
        engine.end(job, index, state, exit_code=int(index in failed))


@pytest.mark.parametrize("verb", [("run", "b"), ("tick", "b"), ("submit", "b")])
def test_nothing_is_submitted_before_the_other_run_is_done(
    verb: tuple[str, ...], typed: Typed, engine: FakeEngine
) -> None:
    """Then everything is."""
    make(typed)
    engine.end("100", 0, State.COMPLETED)
    typed(*verb)
    assert list(engine.jobs) == ["100"]
    assert typed.json("status", "b")["waits_for_other"]
    typed("status", "b", "--exit-code")
    assert typed.code == 4
    end(engine, "100")
    typed(*verb)
    assert list(engine.jobs) == ["100", "101"]
    assert len(engine.jobs["101"].tasks) == 2


def test_it_waits_through_repairs(typed: Typed, engine: FakeEngine) -> None:
    """A slice that a rule tries again has not failed for good."""
    make(typed, first=("--on", "exit:1=again"))
    end(engine, "100", 1)
    typed("tick", "b")
    assert (typed.code, list(engine.jobs)) == (0, ["100"])
    typed("status", "b", "--exit-code")
    assert (typed.code, typed.noted("after-state")[0]["failed"]) == (4, "")
    typed("tick", "a")
    end(engine, "101")
    typed("tick", "a")
    typed("tick", "b")
    assert list(engine.jobs) == ["100", "101", "102"]


def test_if_the_other_run_fails_it_stops_until_that_is_repaired(
    typed: Typed, engine: FakeEngine
) -> None:
    """Exit code 6, and what to type; later ``run`` goes on."""
    make(typed)
    end(engine, "100", 1)
    typed("tick", "a")
    typed("run", "b")
    assert (typed.code, list(engine.jobs)) == (6, ["100"])
    assert typed.noted("after-state")[0]["failed"]
    typed("resubmit", "a")
    end(engine, "101")
    typed("tick", "a")
    typed("run", "b")
    assert list(engine.jobs) == ["100", "101", "102"]


def test_without_an_answer_it_waits(typed: Typed, engine: FakeEngine) -> None:
    """Silence is neither an end nor a failure."""
    make(typed)
    end(engine, "100")
    engine.silence = "slurmctld is away"
    typed("tick", "b")
    assert list(engine.jobs) == ["100"]
    engine.silence = ""
    typed("tick", "b")
    assert list(engine.jobs) == ["100", "101"]


def test_a_run_that_is_gone_is_a_failure(typed: Typed, engine: FakeEngine) -> None:
    """A person may go on without it."""
    make(typed)
    shutil.rmtree(typed.folder / "runs" / "a")
    typed("run", "b")
    assert (typed.code, list(engine.jobs)) == (6, ["100"])
    typed("run", "b", "--after", "none")
    assert list(engine.jobs) == ["100", "101"]


def test_a_later_attempt_in_the_other_run_stops_nothing(typed: Typed, engine: FakeEngine) -> None:
    """The end of the wait is recorded."""
    make(typed)
    end(engine, "100")
    typed("tick", "b")
    typed("resubmit", "a", "--state", "COMPLETED")
    typed("resubmit", "b", "--state", "COMPLETED")
    end(engine, "101")
    typed("resubmit", "b", "--state", "COMPLETED")
    assert len(engine.jobs) == 4


def test_the_step_after_the_other_run_counts(typed: Typed, engine: FakeEngine) -> None:
    """Until it has ended, and if it fails."""
    make(typed, first=("--then", "plot"))
    end(engine, "100")
    typed("tick", "a")
    typed("tick", "b")
    assert list(engine.jobs) == ["100"]
    assert engine.stewards is not None
    (order,) = engine.stewards.orders.values()
    (ThenFolder(typed.folder / "runs" / "a", order.arguments[1]).path / "exit").write_text("1\n")
    typed("run", "b")
    assert typed.code == 6
    typed("then", "a")
    (_, order) = engine.stewards.orders.values()
    (ThenFolder(typed.folder / "runs" / "a", order.arguments[1]).path / "exit").write_text("0\n")
    typed("run", "b")
    assert list(engine.jobs) == ["100", "101"]


def test_the_steward_waits_for_the_tasks_of_the_other_run(typed: Typed, engine: FakeEngine) -> None:
    """Slurm wakes it, and then it submits."""
    make(typed, "--unattended")
    assert engine.stewards is not None
    run = Run(RunDirectory.open(typed.folder / "runs" / "b"), engine)
    token = engine.stewards.orders["900"].arguments[1]
    result = do_round(run, token, "900")
    assert not result.ended
    assert "afterany:100" in result.wake.dependency
    assert LiveTask("100", 1).name in result.wake.dependency
    end(engine, "100")
    engine.stewards.reports["900"] = TaskReport(State.RUNNING)
    assert do_round(run, token, "900").accepted
    assert list(engine.jobs) == ["100", "101"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("run", "-a", "0-1", "--name", "c", "--after", "nothing", *COMMAND), "no-such-run"),
        (("run", "-a", "0-1", "--name", "a", "--after", "b", *COMMAND), "after-itself"),
        (("run", "-a", "0-1", "--name", "b", "--after", "b", *COMMAND), "after-itself"),
        (("run", "b", "--after", "a"), "after-is-chosen"),
    ],
)
def test_bad_input(words: tuple[str, ...], error: str, typed: Typed, engine: FakeEngine) -> None:
    """Nothing is made or submitted."""
    make(typed)
    typed(*words)
    assert (typed.code, typed.error, list(engine.jobs)) == (2, error, ["100"])


def test_another_run_to_wait_for_is_another_run(typed: Typed) -> None:
    """The same line without ``--after`` does not continue the run in silence."""
    make(typed)
    typed("run", "-a", "0-1", "--name", "b", *COMMAND)
    assert typed.code == 2
