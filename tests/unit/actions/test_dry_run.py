"""``--dry-run`` writes nothing and cancels nothing, and shows what the command would find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.resolve_doubts import FENCE_AFTER_S
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.status.states import State
from tests.local.test_local_runs import Here
from tests.support.fakes import Clock, FakeEngine
from tests.support.plans import planned
from tests.support.typed import Typed
from tests.unit.actions.test_actions import lose_the_answer

NewRun = Callable[..., Run]

DRY = [
    "submit x", "submit x --max-failures none", "resubmit x", "resubmit x --mem 2G", "cancel x",
    "cancel x 1", "throttle x 3", "run x", "run -a 0-3 --name x --engine local -- test 0 -eq {}",
]  # fmt: skip


def written(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return all files with their times and contents."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("before", ["render", "run"])
def test_a_dry_run_writes_nothing(tmp_path: Path, before: str) -> None:
    """It leaves no lock, no state and no folder, before the run began and after failures."""
    here = Here(tmp_path)
    here(before, "-a", "0-3", "--name", "x", "--engine", "local", "--", "test", "0", "-eq", "{}")
    (tmp_path / "slurmslice-runs" / "x" / ".lock").unlink(missing_ok=True)
    then = written(tmp_path)
    for words in DRY:
        verb, *more = words.split()
        done = here(verb, "--dry-run", *more)
        code = 5 if verb == "resubmit" and before == "render" else 0
        assert done.returncode == code, (words, done.stderr)
        assert written(tmp_path) == then, words


@pytest.mark.parametrize(
    "words", ["submit demo", "resubmit demo", "cancel demo", "throttle demo 2"]
)
def test_a_dry_run_records_no_states(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: str
) -> None:
    """New ends count for the dry run's output; the next poll finds them again."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    then = written(run.directory.path)
    typed(*words.split(), "--dry-run")
    assert typed.code == 0
    if words.startswith("resubmit"):
        assert typed.noted("would-submit") == [{"slices": 4, "keys": "0-3", "submission": 2}]
    if words.startswith("cancel"):
        assert typed.noted("nothing-to-cancel")
    assert written(run.directory.path) == then


def test_a_dry_run_sees_a_script_submitted_by_hand(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Its slices are in flight for the dry run; the next real poll records the job."""
    run = new_run("0-3")
    order = planned(run, choose_waiting([0, 1]))[0].submit_request(run)
    engine.submit(replace(order, job_name=run.record.job_name, array=parse_array("0-1")))
    then = written(run.directory.path)
    for _ in range(2):
        typed("submit", "demo", "--dry-run")
        assert typed.noted("job-submitted-by-hand") == [{"job": "100", "submission": 1}]
        assert typed.noted("would-submit") == [{"slices": 2, "keys": "2-3", "submission": 2}]
        assert written(run.directory.path) == then
    typed("status", "demo")
    assert typed.noted("job-submitted-by-hand") == [{"job": "100", "submission": 1}]


def test_a_dry_run_cancels_no_job(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """A duplicate and a late job are reported and not cancelled."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    claim = run.directory.submission_folder(1) / "job"
    claim.write_text("101\n")  # the script was sent by hand too, and that job is the owner
    then = written(run.directory.path)
    typed("cancel", "demo", "--dry-run")
    double = {"submission": 1, "job": "101", "double": "100", "cancelled": False}
    assert typed.noted("duplicate-job") == [double]
    assert written(run.directory.path) == then
    assert engine.cancelled == []


def test_a_dry_run_fences_no_submission(
    new_run: NewRun, engine: FakeEngine, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost submission counts as free; only the command itself fences it."""
    run = new_run("0-3")
    engine.on_submit = lose_the_answer
    submit(run, choose_waiting(None), {}, "submit")
    monkeypatch.setattr("slurmslice.actions.resolve_doubts.FENCE_AFTER_S", float("-inf"))
    then = written(run.directory.path)
    typed("submit", "demo", "--dry-run")
    assert typed.noted("submission-freed") == [{"submission": 1}]
    assert typed.noted("would-submit") == [{"slices": 4, "keys": "0-3", "submission": 2}]
    assert written(run.directory.path) == then
    assert not run.directory.is_fenced(1)


def test_a_dry_run_leaves_a_late_job_alone(
    new_run: NewRun, engine: FakeEngine, clock: Clock, typed: Typed
) -> None:
    """The next real poll cancels it."""
    run = new_run("0-3")
    engine.on_submit = lose_the_answer
    submit(run, choose_waiting(None), {}, "submit")
    intent = run.journal_state.submissions[1].intent
    clock.now += FENCE_AFTER_S + 1
    poll(run)
    engine.on_submit = lambda order: None
    order = replace(
        planned(run, choose_waiting(None))[0].submit_request(run), job_name=intent.job_name
    )
    engine.submit(replace(order, token=intent.token))
    then = written(run.directory.path)
    late = {"submission": 1, "job": "100"}
    typed("submit", "demo", "--dry-run")
    assert typed.noted("late-job") == [{**late, "cancelled": False}]
    assert engine.cancelled == []
    assert written(run.directory.path) == then
    typed("status", "demo")
    assert typed.noted("late-job") == [{**late, "cancelled": True}]
    assert len(engine.cancelled) == 1
