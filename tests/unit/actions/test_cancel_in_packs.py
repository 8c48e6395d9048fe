"""Slices of packs that are cancelled alone: the request, the files, the states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.actions.cancel import cancel, shared_rows, wait_until_noticed
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_failed, choose_waiting, submit
from slurmslice.errors import NoAnswerError
from slurmslice.run.journal import Cancelled
from slurmslice.run.run import Run
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine

MakeRun = Callable[..., tuple[Run, FakeEngine]]
HEAD = "job=100 restart=0 at=1800000000 host=n"


@pytest.fixture
def packed(make_run: MakeRun) -> tuple[Run, FakeEngine]:
    """Ten slices in two tasks; the first task has the rows 0, 2, 4, 6, 8."""
    run, engine = make_run(10, Packing(5))
    submit(run, choose_waiting(None), {}, "submit")
    poll(run)
    return run, engine


def slots(run: Run, index: int = 0, number: int = 1) -> str:
    """Return the cancelled slots of a task; empty if there is no file."""
    path = run.directory.submission_folder(number) / "cancelled" / str(index)
    return " ".join(path.read_text().split()) if path.exists() else ""


def wrote(run: Run, *lines: str, index: int = 0) -> None:
    """Let a task write progress lines: ``start slot=0``."""
    text = "".join(f"slurmslice {kind} {HEAD} {rest}\n" for kind, rest in
                   (line.split(" ", 1) for line in lines))  # fmt: skip
    with run.directory.task_log_path(1, index).open("a") as log:
        log.write(text)


def runs(engine: FakeEngine, index: int = 0) -> None:
    engine.jobs["100"].tasks[index] = TaskReport(State.RUNNING, "RUNNING")


def states(run: Run, rows: list[int]) -> list[State]:
    poll(run)
    return [run.statuses.state(row) for row in rows]


def requests(run: Run) -> list[Cancelled]:
    return [event for event in run.directory.events() if isinstance(event, Cancelled)]


def test_a_slice_of_a_task_is_cancelled_alone(packed: tuple[Run, FakeEngine]) -> None:
    """Its slot is in a file, and its task is told. Slurm cancels nothing."""
    run, engine = packed
    assert cancel(run, [2, 6]) == [2, 6]
    assert (engine.cancelled, engine.announced) == ([], [("100", (0,))])
    assert (slots(run), slots(run, 1)) == ("1 3", "")
    assert requests(run)[-1].partly == "0"
    assert shared_rows(run, [2, 6]) == [2, 6]
    assert cancel(run, [4, 5]) == [4, 5]  # in both tasks
    assert (slots(run), slots(run, 1)) == ("1 2 3", "2")
    assert engine.announced[1:] == [("100", (0, 1))]


def test_a_task_with_nothing_left_is_cancelled(packed: tuple[Run, FakeEngine]) -> None:
    """All its slices are named, were cancelled before, or have ended."""
    run, engine = packed
    runs(engine)
    wrote(run, "start slot=0", "end slot=0 exit=0", "start slot=1")
    assert states(run, [0]) == [State.COMPLETED]
    cancel(run, [2])
    cancel(run, [4, 6, 8, 1])
    assert engine.cancelled == [("100", (0,))]
    assert requests(run)[-1].partly == "1"
    assert (slots(run), slots(run, 1)) == ("1", "0")
    cancel(run, None)
    assert engine.cancelled[1:] == [("100", None)]


def test_the_states_after_a_cancel(packed: tuple[Run, FakeEngine]) -> None:
    """A slice is CANCELLED after its line. Until then it is in flight, with a reason."""
    run, engine = packed
    runs(engine)
    wrote(run, "start slot=0")
    poll(run)
    cancel(run, [0, 6])
    assert states(run, [0, 6, 8]) == [State.RUNNING, State.PENDING, State.PENDING]
    assert ["notice" in run.statuses[row].reason for row in (0, 6, 8)] == [True, True, False]
    assert wait_until_noticed(run, [0, 6]) == [0, 6]
    wrote(run, "cancel slot=0", "cancel slot=3", "end slot=0 exit=143 told=TERM", "start slot=1")
    assert wait_until_noticed(run, [0, 6]) == []
    assert states(run, [0, 6, 2]) == [State.CANCELLED, State.CANCELLED, State.RUNNING]
    assert (run.statuses[0].exit_code, run.statuses[6].exit_code) == (143, None)
    wrote(run, *(f"end slot={slot} exit=0" for slot in (1, 2, 4)))
    engine.end("100", 0, State.FAILED, exit_code=1)
    assert states(run, [0, 2, 4, 6, 8]) == [
        State.CANCELLED, State.COMPLETED, State.COMPLETED, State.CANCELLED, State.COMPLETED,
    ]  # fmt: skip


def test_a_slice_that_ended_before_the_cancel_reached_it(packed: tuple[Run, FakeEngine]) -> None:
    """It stays COMPLETED or FAILED, and is no slice to cancel any more."""
    run, engine = packed
    runs(engine)
    wrote(run, "start slot=0")
    poll(run)
    wrote(run, "end slot=0 exit=0")
    cancel(run, [0])
    assert states(run, [0, 2]) == [State.COMPLETED, State.PENDING]
    assert cancel(run, [0]) == []


def test_a_task_that_ends_before_a_cancelled_slice_began(packed: tuple[Run, FakeEngine]) -> None:
    """The slice is CANCELLED, and the others are returned and submitted again."""
    run, engine = packed
    runs(engine)
    wrote(run, "start slot=0", "end slot=0 exit=0")
    poll(run)
    cancel(run, [4])
    engine.end("100", 0, State.NODE_FAIL)
    assert states(run, [0, 2, 4, 6]) == [
        State.COMPLETED, State.WAITING, State.CANCELLED, State.WAITING,
    ]  # fmt: skip
    assert 4 not in run.journal_state.queue


def test_a_resubmitted_slice_is_not_stopped_by_the_old_file(
    packed: tuple[Run, FakeEngine],
) -> None:
    """The file belongs to a submission. The old task still skips the slice."""
    run, engine = packed
    runs(engine)
    cancel(run, [2])
    wrote(run, "cancel slot=1", "start slot=0")
    assert states(run, [2]) == [State.CANCELLED]
    submit(run, choose_failed(frozenset({State.CANCELLED}), [2]), {}, "resubmit")
    assert run.journal_state.holder[2] == 2
    assert (slots(run), slots(run, 0, 2)) == ("1", "")
    cancel(run, [2])
    assert engine.cancelled[-1][0] == "101"


@pytest.mark.parametrize("step", ["write", "announce"])
def test_a_killed_cancel_is_finished_by_the_next_one(
    packed: tuple[Run, FakeEngine], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is in the journal. Without the file or the signal, the slice runs on."""
    run, engine = packed

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(run.directory, "write_cancelled", killed)
        else:
            patch.setattr(engine, "announce_cancelled", killed)
        with pytest.raises(KeyboardInterrupt):
            cancel(run, [2])
    assert [request.rows for request in requests(run)] == ["2"]
    assert (slots(run), engine.announced) == ("" if step == "write" else "1", [])
    assert states(run, [2]) == [State.PENDING]
    cancel(run, [2])
    assert (slots(run), engine.announced) == ("1", [("100", (0,))])
    assert not list(Path(run.directory.path).rglob("cancelled/.*"))


def test_an_engine_that_does_not_answer(packed: tuple[Run, FakeEngine]) -> None:
    """The request and the file are there; the same command tells the task later."""
    run, engine = packed

    def silent() -> None:
        raise NoAnswerError("scancel did not answer")

    engine.on_announce = silent
    with pytest.raises(NoAnswerError):
        cancel(run, [2])
    assert slots(run) == "1"


def test_the_wait_ends(packed: tuple[Run, FakeEngine]) -> None:
    """A pending task is not waited for, and a running one only for a while."""
    run, engine = packed
    cancel(run, [2])
    assert (wait_until_noticed(run, [2]), engine.waited) == ([2], [])
    runs(engine)
    wrote(run, "start slot=0")
    engine.on_wait = lambda: wrote(run, "cancel slot=1") if len(engine.waited) == 3 else None
    assert (wait_until_noticed(run, [2]), len(engine.waited)) == ([], 3)
    cancel(run, [4])
    assert wait_until_noticed(run, [4]) == [4]
    assert len(engine.waited) < 20
