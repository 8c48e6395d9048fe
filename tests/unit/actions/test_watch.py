"""``watch`` changes nothing: it takes no lock, writes nothing, submits nothing and runs nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions.follow import record_policy
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.throttle import set_throttle
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.status.states import State
from tests.local.test_local_runs import Here, until
from tests.support.commands import SLURMSLICE
from tests.support.fakes import FakeEngine
from tests.support.plans import planned
from tests.support.typed import Typed
from tests.unit.actions.test_dry_run import written

NewRun = Callable[..., Run]
ALL = choose_waiting(None)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """An empty folder on this machine; every process in it is ended."""
    directory = Here(tmp_path)
    yield directory
    for process in directory.started:
        process.kill()
        process.communicate()
    until(lambda: not directory.orphans(), "no process to be left")


def interrupted() -> None:
    """Simulate Ctrl-C during the engine's wait."""
    raise KeyboardInterrupt


def in_turn(*steps: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls the next step at each call."""
    left = iter(steps)

    def call() -> None:
        next(left)()

    return call


def test_queued_slices_stay_queued_and_are_reported(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Six of ten slices are queued and not submitted, although they fit."""
    run = new_run("0-9")
    engine.most = 4
    submit(run, ALL, {}, "submit")
    engine.most, engine.on_wait = None, engine.end_all
    then = written(run.directory.path)
    said = typed("watch", "demo")
    assert typed.code == 4
    assert len(engine.jobs) == 1
    assert written(run.directory.path) == then
    assert said.count("6 slices waiting") == 1
    assert all(f"slurmslice {verb} demo" in said for verb in ("run", "tick"))


def test_watch_neither_takes_the_lock_nor_waits_for_it(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """While another command holds the lock, ``watch`` sees the slices end."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    engine.on_wait = engine.end_all
    with run.directory.lock("submit"):
        typed("watch", "demo")
    assert typed.code == 0


@pytest.mark.parametrize("state", [State.FAILED, State.TIMEOUT])
def test_failures_are_neither_resubmitted_nor_held(
    new_run: NewRun, engine: FakeEngine, typed: Typed, state: State
) -> None:
    """``run`` would hold the rest after so many failures, and resubmit those with attempts left."""
    run = new_run("0-49")
    record_policy(run, max_attempts=3)
    submit(run, ALL, {}, "submit")
    for index in range(FEWEST_FAILURES):
        engine.end("100", index, state)
    engine.on_wait = engine.end_all
    then = written(run.directory.path)
    typed("watch", "demo")
    # A repair is due; but nobody knows the time limit, so it cannot grow.
    assert typed.code == (1 if state is State.TIMEOUT else 4)
    assert (engine.held, len(engine.jobs)) == ([], 1)
    assert written(run.directory.path) == then


def test_arrays_that_the_throttle_holds_are_reported(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``watch`` sets no new share of the throttle; ``tick`` does."""
    run = new_run("0-9")
    for rows in (range(5), range(5, 10)):
        submit(run, choose_waiting(list(rows)), {}, "submit")
    set_throttle(run, 2)
    told = list(engine.throttled)

    def first_ends() -> None:
        for index in range(5):
            engine.end("100", index, State.COMPLETED)

    engine.on_wait = in_turn(first_ends, engine.end_all)
    said = typed("watch", "demo")
    assert typed.code == 0
    assert (engine.throttled, engine.released) == (told, [])
    assert "slurmslice tick demo" in said


def test_a_job_submitted_by_hand_is_followed_and_not_recorded(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Only this process knows the job, until another one records it and submits the others."""
    run = new_run("0-3")
    order = planned(run, choose_waiting([0, 1]))[0].submit_request(run)
    engine.submit(replace(order, job_name=run.record.job_name, array=parse_array("0-1")))
    then = written(run.directory.path)

    def nothing_yet() -> None:
        assert written(run.directory.path) == then

    def recorded() -> None:
        other = Run(RunDirectory(run.directory.path), engine)
        poll(other)
        assert other.journal_state.submissions[1].job == "100"
        submit(other, ALL, {}, "submit")

    engine.on_wait = in_turn(nothing_yet, recorded, engine.end_all)
    said = typed("watch", "demo")
    assert typed.code == 0
    assert said.count("submitted by hand") == 1
    assert "COMPLETED 4" in said


def test_submissions_of_another_process_are_followed(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``watch`` sees the submissions of ``run`` or ``tick`` in another process."""
    run = new_run("0-9")
    engine.most = 4
    submit(run, ALL, {}, "submit")

    def tick() -> None:
        for index in range(3):
            engine.end("100", index, State.COMPLETED)
        engine.most = None
        poll(run)
        submit(run, ALL, {}, "tick")

    engine.on_wait = in_turn(tick, engine.end_all)
    said = typed("watch", "demo")
    assert typed.code == 0
    assert len(engine.jobs) == 2
    assert "COMPLETED 10" in said


def test_watch_never_lets_the_local_engine_wait(
    new_run: NewRun, engine: FakeEngine, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local engine works while it waits, so ``watch`` never lets it wait."""
    engine.name = "local"
    submit(new_run("0-3"), ALL, {}, "submit")
    engine.on_wait = interrupted
    monkeypatch.setattr("slurmslice.actions.watch.sleep", lambda seconds: engine.end_all())
    typed("watch", "demo")
    assert (typed.code, engine.waited) == (0, [])


def test_slices_of_a_killed_run_are_not_run_again(here: Here) -> None:
    """After a kill of ``run``, ``watch`` names the command that continues, and starts no slice."""
    text = 'echo "$SLICE" >>begun; until [ -e go ]; do sleep 0.1; done'
    line = ("run", "-a", "0-3%2", "--name", "x", "--engine", "local", "--shell", text)
    process = here.start(*SLURMSLICE, *line)
    begun = here.folder / "begun"
    until(lambda: begun.exists() and len(begun.read_text().split()) == 2, "two slices to run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    watched = here("watch", "x")
    assert watched.returncode == 4, watched.stderr
    assert "slurmslice run x" in watched.stderr
    assert len(begun.read_text().split()) == 2
