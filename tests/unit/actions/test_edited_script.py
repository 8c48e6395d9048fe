"""A script that is edited while Slurm holds its slices: they are resubmitted, each once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slurmslice.actions.cancel import cancel
from slurmslice.actions.follow import FollowOptions, follow_step
from slurmslice.actions.poll import poll
from slurmslice.actions.release import release
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.submit_queued import submit_queued
from slurmslice.errors import NoAnswerError
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.run.hold import Hold
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

NewRun = Callable[..., Run]
HELD = tuple(range(FEWEST_FAILURES, 30))


def edit(run: Run, more: str = "# mended\n") -> None:
    """Edit the script like a person."""
    run.directory.script.write_text(run.directory.script.read_text() + more)


@pytest.fixture
def held(new_run: NewRun, engine: FakeEngine) -> Run:
    """Return a run with 30 slices: 20 have failed, and the circuit breaker holds the others."""
    run = new_run("0-29")
    submit(run, choose_waiting(None), {"mem": "1G"}, "submit")
    for index in range(FEWEST_FAILURES):
        engine.end("100", index, State.FAILED)
    poll(run)
    follow_step(run, FollowOptions())
    assert run.hold.reason
    return run


def test_held_slices_are_resubmitted_with_the_edited_script(
    held: Run, engine: FakeEngine, reopen: Callable[[Run], Run]
) -> None:
    """Slurm has the script from before the edit, so its tasks are cancelled and none is released.

    They never ran, so they use no attempt and keep their request.
    """
    edit(held)
    let_go = release(held)
    assert (let_go.to_resubmit, let_go.released) == (HELD, ())
    assert engine.cancelled == [("100", None)]
    poll(held)
    for run in (held, reopen(held)):
        assert all(run.statuses.state(row) is State.WAITING for row in HELD)
        assert {run.request_of(row) for row in HELD} == {ResourceRequest.of({"mem": "1G"})}
    (accepted,) = submit_queued(held, "tick").accepted
    assert tuple(accepted.planned.batch.rows) == HELD
    assert {held.journal_state.attempts[row] for row in HELD} == {1}


def test_without_an_edit_it_is_released_as_it_is(held: Run, engine: FakeEngine) -> None:
    """A repaired program needs no new submission."""
    let_go = release(held)
    assert (let_go.to_resubmit, let_go.released) == ((), HELD)
    assert (engine.cancelled, engine.released) == ([], ["100"])


def test_nothing_is_resubmitted_before_slurm_has_ended_it(
    held: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm may cancel late or not answer: a slice never runs twice."""
    monkeypatch.setattr(engine, "cancel", lambda job, indices: None)
    edit(held)
    release(held)
    for silence in ("", "down"):
        engine.silence = silence
        poll(held)
        assert submit_queued(held, "tick").accepted == []
        assert all(held.statuses.state(row) is State.PENDING for row in HELD)
    engine.silence = ""
    engine.end_all(State.CANCELLED)
    poll(held)
    assert [
        tuple(accepted.planned.batch.rows) for accepted in submit_queued(held, "tick").accepted
    ] == [HELD]
    assert len(engine.jobs) == 2


def test_slices_stay_held_if_slurm_does_not_answer(
    held: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command repeats it; nothing is released with the old script before."""

    def silent(job: object, indices: object) -> None:
        raise NoAnswerError("scancel did not answer in time.")

    edit(held)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "cancel", silent)
        with pytest.raises(NoAnswerError):
            release(held)
    assert held.journal_state.hold.reason
    assert engine.released == []
    assert release(held).to_resubmit == HELD


def test_slices_that_the_person_cancels_stay_cancelled(held: Run, engine: FakeEngine) -> None:
    """The later command counts."""
    edit(held)
    release(held)
    cancel(held, HELD[:2])
    poll(held)
    assert held.statuses.rows_in({State.CANCELLED}) == list(HELD[:2])
    assert held.statuses.rows_in({State.WAITING}) == list(HELD[2:])


def test_a_pack_that_has_begun_is_left_alone(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """Only tasks without a slice that has begun are cancelled, because all their slices end."""
    run, engine = make_run(24, Packing(4, 1, 60))
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(4):
        engine.end("100", index, State.FAILED)
    run.directory.task_log_path(1, 4).write_text(
        "slurmslice start job=100 restart=0 at=1800000000 host=n slot=0\n"
    )
    engine.jobs["100"].tasks[4] = TaskReport(State.RUNNING, "RUNNING")
    poll(run)
    places = run.journal_state.submissions[1].places
    begun, not_begun = ([row for row in places if places[row][0] == index] for index in (4, 5))
    assert [run.statuses.state(row) for row in begun] == [State.RUNNING, *[State.PENDING] * 3]
    run.journal_state.hold = Hold("held: all have failed")
    edit(run)
    assert release(run).to_resubmit == tuple(not_begun)
    assert engine.cancelled == [("100", (5,))]


def test_nothing_is_released_with_a_script_that_bash_cannot_read(
    held: Run, engine: FakeEngine, typed: Typed
) -> None:
    """The error comes before anything is cancelled."""
    edit(held, "if then\n")
    said = typed("resubmit", "demo", "--max-failures", "none")
    assert typed.code == 2
    assert "syntax error" in said
    assert (engine.cancelled, engine.released) == ([], [])


@pytest.mark.parametrize("verb", ["resubmit", "run"])
def test_the_command_in_the_breaker_message_works(
    held: Run, engine: FakeEngine, typed: Typed, verb: str
) -> None:
    """Everything is in Slurm's queue when the command returns, and its output says so."""
    edit(held)
    assert "slurmslice resubmit demo --max-failures none" in typed("status", "demo")
    assert "Would" not in typed("resubmit", "demo", "--dry-run")
    replaced = {"slices": 10, "keys": "20-29"}
    typed("resubmit", "demo", "--max-failures", "none", "--dry-run")
    assert typed.noted("held-slices-replaced") == [{**replaced, "dry_run": True}]
    assert (engine.cancelled, engine.released, len(engine.jobs)) == ([], [], 1)
    engine.after_submit = lambda order: engine.end_all()
    typed(verb, "demo", "--max-failures", "none")
    assert typed.noted("held-slices-replaced") == [{**replaced, "dry_run": False}]
    assert engine.released == []
    held.reload()
    again = {row for job in list(engine.jobs)[1:] for row in engine.jobs[job].order.array}
    assert again == set(range(30) if verb == "resubmit" else HELD)


def test_resubmit_waits_until_slurm_has_ended_the_tasks(
    held: Run, engine: FakeEngine, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for Slurm's end of the tasks; after that limit it names the command for later."""
    edit(held)
    monkeypatch.setattr(engine, "cancel", lambda job, indices: None)
    monkeypatch.setattr("slurmslice.actions.cancel.CANCEL_WAIT_S", -1.0)
    assert "slurmslice run demo" in typed("submit", "demo", "--max-failures", "none")
    assert typed.noted("cancel-not-finished")
    assert len(engine.jobs) == 1


def test_status_names_the_command_for_waiting_slices(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``status`` names the command that submits them, in flight or not."""
    run = new_run("0-39")
    submit(run, choose_waiting(20), {}, "submit")
    for index in range(15):
        engine.end("100", index, State.FAILED)
    line = "slurmslice submit demo"
    assert line in typed("status", "demo")
    engine.end_all(State.FAILED)
    said = typed("status", "demo")
    assert "slurmslice resubmit demo" in said
    assert line in said
    typed("submit", "demo")
    assert line not in typed("status", "demo")
