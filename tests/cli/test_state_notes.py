"""Messages about slices that are held, in flight, being cancelled, or without output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.run.run import Run
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

NewRun = Callable[..., Run]


def test_runs_reports_an_edited_script(new_run: NewRun, typed: Typed) -> None:
    """``runs`` shows the original command and mentions the edit."""
    run = new_run("0-9")
    assert typed.json("runs")[0]["edited"] is False
    os.utime(run.directory.script, (2_000_000_000, 2_000_000_000))
    shown = typed("runs")
    assert "true '{}'" in shown
    assert "script.sh" in shown
    assert typed.json("runs")[0]["edited"] is True
    run.directory.script.unlink()
    assert typed.json("runs")[0]["edited"] is False


def test_every_slice_is_counted_in_a_column_of_runs(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The numbers add up to the number of slices."""
    run = new_run("0-9")
    submit(run, choose_waiting(range(8)), {}, "submit")
    states = (State.COMPLETED, State.FAILED, State.CANCELLED)
    for index, state in enumerate(states):
        engine.end("100", index, state)
    engine.jobs["100"].tasks[3] = TaskReport(State.RUNNING, "RUNNING")
    poll(run)
    said = typed("runs")
    assert "demo slurm 10 1 1 1 5 2 " in said
    assert typed.noted("states-as-last-seen")
    assert "slurmslice status" in said
    (record,) = json.loads(typed("runs", "--json"))
    assert record["in_flight"] == 5
    columns = ("done", "failed", "cancelled", "in_flight", "waiting")
    assert sum(record[column] for column in columns) == record["slices"]
    typed()
    assert typed.noted("states-as-last-seen")


@pytest.fixture
def broken(new_run: NewRun, engine: FakeEngine, typed: Typed) -> Run:
    """A run of 40 slices: 20 have failed, and the circuit breaker holds the rest."""
    run = new_run("0-39")
    engine.most = 20
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    typed("tick", "demo")
    return run


def test_resubmitted_and_held_slices_are_reported(broken: Run, typed: Typed) -> None:
    """Messages name the held slices and their logs."""
    said = typed("resubmit", "demo")
    assert typed.code == 6
    assert typed.noted("resubmitted-but-held") == [{"slices": 20}]
    assert "slurmslice logs demo -- 0 " in said
    assert "slurmslice logs demo -- 0 " in typed("status", "demo")


@pytest.mark.parametrize(
    ("verb", "released", "keys"),
    [
        ("resubmit", 20, "20-39"),
        ("submit", 20, "20-39"),
        ("run", 20, "20-39"),
        ("again", 40, "0-39"),
    ],
)
def test_a_released_run_names_its_slices(
    broken: Run, engine: FakeEngine, typed: Typed, verb: str, released: int, keys: str
) -> None:
    """The note names the held slices and those to resubmit. If none is held, there is no note.

    With --dry-run it names the slices to release, and does not suggest the option again.
    """
    engine.most = None
    engine.after_submit = lambda order: engine.end_all()
    engine.on_wait = engine.end_all
    if verb == "again":
        typed("resubmit", "demo")
        verb = "run"
    those = {"slices": released, "keys": keys}
    typed(verb, "demo", "--max-failures", "none", "--dry-run")
    assert typed.noted("held-slices-released") == [{**those, "dry_run": True}]
    assert not typed.noted("rest-held")
    assert engine.released == []
    typed(verb, "demo", "--max-failures", "none")
    assert typed.noted("held-slices-released") == [{**those, "dry_run": False}]
    typed(verb, "demo", "--max-failures", "none")
    assert not typed.noted("held-slices-released")


def test_an_empty_log_is_reported(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """An empty log has the same notes as a missing one."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(2):
        run.directory.log_path(1, f"{index}.log").write_text("")
    run.directory.task_log_path(1, 0).write_text("")
    engine.end("100", 0, State.COMPLETED)
    for words, code in (
        (("0",), "slice-wrote-nothing"),
        (("1",), "no-output-yet"),
        (("0", "--task"), "task-wrote-nothing"),
    ):
        typed("logs", "demo", *words)
        assert [note.code for note in typed.notes] == ["log-of", code]
    run.directory.log_path(1, "0.log").write_text("text\n")
    assert "text" in typed("logs", "demo", "0")
    assert [note.code for note in typed.notes] == ["log-of"]


def test_logs_of_a_packed_slice_show_its_own_lines(
    make_run: Callable[..., tuple[Run, FakeEngine]], typed: Typed
) -> None:
    """``logs`` shows the slice's own lines and the end of the task.

    --task shows the whole task log.
    """
    run, packs = make_run(4, Packing(4, 2, 60))
    typed.patch.setattr("slurmslice.actions.open_run.create_engine", lambda name, path, **_: packs)
    submit(run, choose_waiting(None), {}, "submit")
    lines = [
        f"slurmslice {kind} job=100 restart=0 at=1800000000 host=n slot={slot}{more}\n"
        for slot in range(4)
        for kind, more in (("start", ""), ("end", " exit=1"))
    ]
    run.directory.task_log_path(1, 0).write_text(
        "loading\n" + "".join(lines) + "slurmstepd: error: x\n"
    )
    packs.end("100", 0, State.FAILED)
    typed("logs", str(run.directory.path), "k2")
    shown = typed.lines[2:]
    assert shown == ("loading", lines[4].strip(), lines[5].strip(), "slurmstepd: error: x")
    typed("logs", str(run.directory.path), "k2", "--task")
    assert len(typed.lines) == 1 + 1 + 1 + 8 + 1
    assert typed.noted("slots-of-task") == [{"slots": {str(n): f"k{n}" for n in range(4)}}]


def test_slices_that_slurm_still_ends_cannot_be_resubmitted_yet(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Right after ``cancel``, a note says why nothing is resubmitted."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    typed.patch.setattr(engine, "cancel", lambda job, indices: None)
    typed("cancel", "demo", "2")
    for key, again in (("2", True), ("1", False)):
        typed("resubmit", "demo", key, "--state", "CANCELLED")
        assert typed.noted("nothing-to-resubmit") == [{"states": {"PENDING": key}}]
        assert bool(typed.noted("cancel-not-finished")) == again


def test_a_run_in_the_place_of_a_slice(new_run: NewRun, typed: Typed) -> None:
    """``logs RUN`` asks for a slice, in this folder and elsewhere."""
    typed.patch.delenv("SLURMSLICE_RUNS")
    (typed.folder / "proj").mkdir()
    typed.patch.chdir(typed.folder / "proj")
    typed("render", "-a", "0-3", "--name", "zz", "--", "true", "{}")
    for folder in (typed.folder / "proj", typed.folder):
        typed.patch.chdir(folder)
        said = typed("logs", "zz")
        assert (typed.code, typed.error) == (2, "missing-slice")
        assert "slurmslice logs zz KEY" in said
    typed("logs", "yy")
    assert (typed.code, typed.error) == (2, "no-run-here")
