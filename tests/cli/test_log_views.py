"""What ``logs`` shows of a slice that has not ended, has no output, or began several times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.run.run import Run
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

HEAD = "job={} restart=0 at=1800000000 host=n slot=0"


def started(run: Run, number: int, index: int, output: str | None = None) -> None:
    """Let a slice begin and write."""
    task = run.directory.task_log_path(number, index)
    job = run.journal_state.submissions[number].job
    task.write_text(f"slurmslice start {HEAD.format(job)}\n")
    if output is not None:
        own_log(run, number, index).write_text(output)


def own_log(run: Run, number: int, index: int) -> Path:
    return run.directory.log_path(number, run.table.log_name(index))


# -- logs -f -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING, State.SUSPENDED])
def test_a_followed_slice_that_has_not_begun_is_told_and_so_is_its_end(
    new_run: NewRun, engine: FakeEngine, typed: Typed, state: State
) -> None:
    """The wait is not silent; the new output comes, and then the end with its state."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    engine.jobs["100"].tasks[2] = TaskReport(state, str(state), reason="Resources")

    def goes_on() -> None:
        started(run, 1, 2, "new output\n")
        with run.directory.task_log_path(1, 2).open("a") as file:
            file.write(f"slurmslice end {HEAD.format(100)} exit=3\n")
        engine.end("100", 2, State.FAILED, exit_code=3)

    engine.on_wait = goes_on
    typed.patch.setattr("slurmslice.actions.log_watch.time.monotonic", Ticks(0.6))
    said = typed("logs", "demo", "2", "-f")
    assert (typed.code, said.count("new output")) == (0, 1)
    waits = [{"key": "2", "state": state}] if state is State.PENDING else []
    assert typed.noted("log-not-begun") == waits
    assert typed.noted("slice-ended") == [{"key": "2", "state": "FAILED"}]
    assert len(engine.waited) <= 2  # its own end line shortens the wait for the poll


def test_a_waiting_slice_is_followed_into_its_next_submission(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Its task was returned; the command that submits it is named, and its new log is shown."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    started(run, 1, 2, "first\n")
    engine.jobs["100"].tasks[2] = TaskReport(State.WAITING, "WAITING", reason="interrupted")
    typed("status", "demo")
    run.reload()

    def other_process() -> None:
        if len(run.journal_state.submissions) == 1:
            submit(run, choose_waiting(None), {}, "submit")
            started(run, 2, 2, "second\n")
            engine.end("101", 2, State.COMPLETED, exit_code=0)

    engine.on_wait = other_process
    typed.patch.setattr("slurmslice.actions.log_watch.time.monotonic", Ticks(11))
    said = typed("logs", "demo", "2", "-f")
    assert "slurmslice run demo" in said
    assert typed.noted("log-not-begun")[0]["state"] == "WAITING"
    assert typed.stdout == "first\nsecond\n"


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_an_ended_slice_is_not_waited_for(
    new_run: NewRun, engine: FakeEngine, typed: Typed, state: State
) -> None:
    """Its state is in the note on its log, and only there."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    started(run, 1, 1, "text\n")
    engine.end("100", 1, state)
    typed("logs", "demo", "1", "-f")
    assert (typed.stdout, engine.waited) == ("text\n", [])
    assert [note.code for note in typed.notes] == ["log-of"]


class Ticks:
    """A clock that advances at each look."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


# -- logs --all --------------------------------------------------------------------------------


@pytest.mark.parametrize("has_log", [True, False])
def test_an_interrupted_start_is_an_earlier_log(
    new_run: NewRun, engine: FakeEngine, typed: Typed, has_log: bool
) -> None:
    """It used no attempt, but it may have written something. One that never began has no log."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    started(run, 1, 2, "interrupted\n" if has_log else None)
    for index in (1, 2):
        engine.jobs["100"].tasks[index] = TaskReport(State.WAITING, "WAITING", reason="interrupted")
    typed("status", "demo")
    typed("submit", "demo")
    run.reload()
    for index in (1, 2):
        started(run, 2, index, "whole\n")
        engine.end("101", index, State.COMPLETED)
    typed("logs", "demo", "2")
    assert (typed.stdout, typed.noted("earlier-logs")) == ("whole\n", [{"logs": 1}])
    said = typed("logs", "demo", "2", "--all")
    assert ("interrupted" in typed.stdout) == has_log
    assert said.count("==>") == 2
    for more in ((), ("--all",)):
        typed("logs", "demo", "1", *more)
        assert (typed.stdout, typed.noted("earlier-logs")) == ("whole\n", [])


# -- logs --path -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "files", "code"),
    [
        (State.COMPLETED, (), "slice-wrote-nothing"),
        (State.COMPLETED, ("task",), "log-gone"),
        (State.CANCELLED, (), "slice-wrote-nothing"),
        (State.COMPLETED, ("task", "own"), ""),
        (State.FAILED, ("task",), "log-gone"),
    ],
)
def test_a_path_without_a_file_is_not_printed(
    new_run: NewRun,
    engine: FakeEngine,
    typed: Typed,
    state: State,
    files: tuple[str, ...],
    code: str,
) -> None:
    """A note says why. ``--json`` names no log either."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    if "task" in files:
        started(run, 1, 2, "text\n" if "own" in files else None)
    engine.end("100", 2, state, exit_code=int(state is State.FAILED))
    typed("logs", "demo", "2", "--path")
    paths = typed.stdout.splitlines()
    assert all(Path(path).exists() for path in paths)
    assert [note.code for note in typed.notes] == [code] * bool(code)
    shown = typed.json("status", "demo", "2")["slices"][0]["log"]
    if state is State.FAILED:  # then the log of its task is shown
        assert (paths, shown) == ([str(run.directory.task_log_path(1, 2))], None)
    else:
        assert paths == ([shown] if shown else [])


def test_the_path_of_a_log_to_come(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The slice has not ended: the file will be there. A log that moved is named already."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    typed("logs", "demo", "2", "--path")
    assert typed.stdout == f"{own_log(run, 1, 2)}\n"
    assert typed.json("status", "demo", "2")["slices"][0]["log"] == str(own_log(run, 1, 2))
    assert [note.code for note in typed.notes] == []
    typed("logs", "demo", "2", "--path", "--task")
    assert (typed.stdout, [note.code for note in typed.notes]) == ("", ["no-task-log"])


# -- logs --task -------------------------------------------------------------------------------


@pytest.mark.parametrize(("slices", "key"), [(2, "k1"), (20, "k3"), (40, "k37")])
def test_the_log_of_a_task_names_the_slices_of_its_slots(
    make_run: Callable[..., tuple[Run, FakeEngine]], typed: Typed, slices: int, key: str
) -> None:
    """Lines of the task have slots, and a person knows keys. The slice asked for is named."""
    run, packs = make_run(slices, Packing(slices, 1, 60))
    typed.patch.setattr("slurmslice.actions.open_run.create_engine", lambda name, path, **_: packs)
    submit(run, choose_waiting(None), {}, "submit")
    started(run, 1, 0)
    said = typed("logs", str(run.directory.path), key, "--task")
    assert typed.noted("slots-of-task")[0]["slots"] == {
        str(slot): f"k{slot}" for slot in range(slices)
    }
    assert f"slot={key[1:]} is {key}" in said


@pytest.mark.parametrize(
    ("text", "tail", "shown"),
    [("a\nb\nc\n", "2", "b\nc\n"), ("a\nb\nc", "1", "c"), ("a\n", "9", "a\n"), ("\n\n", "1", "\n")],
)
def test_the_end_of_a_log(
    text: str, tail: str, shown: str, new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``--tail`` prints the last lines of each log as they are; it cannot follow one."""
    run = new_run("0-1")
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(2):
        started(run, 1, index, text)
    engine.end_all()
    typed("logs", "demo", "0", "--tail", tail)
    assert (typed.code, typed.stdout) == (0, shown)
    typed("logs", "demo", "0-1", "--tail", tail)
    assert typed.stdout.count("==>") == 2
    typed("logs", "demo", "0", "--tail", tail, "-f")
    assert (typed.code, typed.error) == (2, "options-conflict")
