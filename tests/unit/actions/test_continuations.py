"""Continue from a checkpoint, on the fake cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import SubmissionRejectedError, SubmitLimitError
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Queued
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

LINE = ("-a", "0-2", "--name", "x", "--mem", "4G", "-t", "60")
CONTINUE = ("--continue-on", "timeout,exit:85", "--checkpoint", "ck/{}.cpt")
COMMAND = ("--", "true", "{}")


def start(typed: Typed, *options: str, line: tuple[str, ...] = LINE) -> None:
    """Submit the slices."""
    (typed.folder / "ck").mkdir(exist_ok=True)
    typed("run", *line, *CONTINUE, *options, *COMMAND)
    assert typed.code == 130, typed.stderr


def save(typed: Typed, *keys: int) -> None:
    """Let slices get further: each checkpoint grows."""
    for key in keys:
        with (typed.folder / "ck" / f"{key}.cpt").open("a") as file:
            file.write("x")


def fail(engine: FakeEngine, *indices: int, state: State = State.TIMEOUT, **facts: Any) -> None:
    """Let slices fail in their newest jobs, after 100 seconds."""
    for index in indices:
        job = next(one for one in reversed(engine.jobs) if index in engine.jobs[one].tasks)
        engine.end(job, index, state, **{"started_at": 100, "ended_at": 200, **facts})


def carried(engine: FakeEngine) -> list[list[int]]:
    """Return the array indices of each submission."""
    return [list(job.order.array) for job in engine.jobs.values()]


def causes(typed: Typed) -> list[str]:
    """Return the causes of the journal's queue events, without a person's."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event.cause for event in events if isinstance(event, Queued) and event.cause]


def slice_of(typed: Typed, key: int) -> dict[str, Any]:
    """Return a slice of ``status --json``."""
    found: dict[str, Any] = typed.json("status", "x")["slices"][key]
    return found


def test_a_slice_that_got_further_continues(typed: Typed, engine: FakeEngine) -> None:
    """It is submitted again with the same request; another one without a change is left."""
    start(typed)
    save(typed, 0)
    fail(engine, 0, 1)
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2], [0]]
    assert "mem" not in engine.jobs["101"].order.overrides
    assert causes(typed) == ["continue:timeout"]
    assert slice_of(typed, 0) | {"continued": 1, "repaired": [], "attempt": 2} == slice_of(typed, 0)
    typed("status", "x")
    assert typed.noted("slices-continued") == [{"keys": "0", "most": 1, "max_continues": 20}]
    (note,) = typed.noted("attempts-left")
    assert [one["keys"] for one in note["not_repaired"]] == ["1"]
    assert "continued 1 of 20" in typed("status", "x", "--slices")


def test_the_same_checkpoint_again_is_no_progress(typed: Typed, engine: FakeEngine) -> None:
    """Each attempt is compared with the file before that attempt."""
    start(typed, "--retry")
    save(typed, 0)
    fail(engine, 0)
    typed("tick", "x")
    fail(engine, 0)
    typed("tick", "x")
    assert causes(typed) == ["continue:timeout", "timeout"]
    assert engine.jobs["102"].order.overrides["time"] == "01:30:00"
    save(typed, 0)
    fail(engine, 0)
    typed("tick", "x")
    assert causes(typed) == ["continue:timeout", "timeout", "continue:timeout"]
    assert engine.jobs["103"].order.overrides["time"] == "01:30:00"


def test_a_checkpoint_of_an_earlier_run_is_no_progress(typed: Typed, engine: FakeEngine) -> None:
    """It was there before the first attempt."""
    (typed.folder / "ck").mkdir()
    save(typed, 0, 1)
    start(typed)
    save(typed, 1)
    fail(engine, 0, 1)
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2], [1]]


def test_a_file_that_is_gone_or_empty_is_no_progress(typed: Typed, engine: FakeEngine) -> None:
    """Neither shows that the slice got further."""
    (typed.folder / "ck").mkdir()
    save(typed, 0, 1)
    start(typed)
    (typed.folder / "ck" / "0.cpt").unlink()
    (typed.folder / "ck" / "1.cpt").write_text("")
    fail(engine, 0, 1)
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2]]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("0\t1\t1\n")])
def test_without_a_record_nothing_continues(typed: Typed, engine: FakeEngine, damage: Any) -> None:
    """A missing or torn record says nothing, so the ladder applies."""
    start(typed)
    save(typed, 0)
    damage(typed.folder / "runs" / "x" / "submissions" / "001" / "checkpoints")
    fail(engine, 0)
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2]]


def test_the_number_of_continuations_is_limited(typed: Typed, engine: FakeEngine) -> None:
    """After that the ladder applies; a higher number, or a person's resubmit, goes on."""
    start(typed, "--max-continues", "2")
    for _ in range(4):
        save(typed, 0)
        fail(engine, 0)
        typed("tick", "x")
    assert causes(typed) == ["continue:timeout"] * 2
    typed("run", "x", "--max-continues", "3")
    assert causes(typed) == ["continue:timeout"] * 3
    save(typed, 0)
    fail(engine, 0)
    typed("resubmit", "x", "0")
    assert slice_of(typed, 0)["continued"] == 0
    save(typed, 0)
    fail(engine, 0)
    typed("tick", "x")
    assert causes(typed) == ["continue:timeout"] * 4


def test_continuations_use_no_attempt_and_no_budget(typed: Typed, engine: FakeEngine) -> None:
    """After 5 of them the ladder has all its attempts, and the whole budget."""
    start(typed, "--retry", "--max-attempts", "2", "--budget", "0.5x")
    for _ in range(5):
        save(typed, 0)
        fail(engine, 0, ended_at=3700)
        typed("tick", "x")
    assert slice_of(typed, 0)["attempts_left"] == 1
    fail(engine, 0, state=State.OUT_OF_MEMORY, ended_at=3700)
    typed("tick", "x")
    assert causes(typed) == ["continue:timeout"] * 5 + ["oom"]
    save(typed, 0)
    fail(engine, 0)
    typed("tick", "x")
    assert causes(typed)[-1] == "continue:timeout"
    fail(engine, 0, state=State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert len(causes(typed)) == 7


def test_a_rejected_submission_takes_the_continuation_back(
    typed: Typed, engine: FakeEngine
) -> None:
    """It did not begin, so it does not count."""
    start(typed)
    save(typed, 0)
    fail(engine, 0)

    def reject(order: SubmitRequest) -> None:
        raise SubmitLimitError("the queue is full")

    engine.on_submit = reject
    typed("tick", "x")
    assert slice_of(typed, 0)["state"] == "WAITING"
    engine.on_submit = lambda order: None
    typed("tick", "x")
    assert slice_of(typed, 0)["continued"] == 1
    save(typed, 0)
    fail(engine, 0)

    def refuse(order: SubmitRequest) -> None:
        raise SubmissionRejectedError("no")

    engine.on_submit = refuse
    typed("tick", "x")
    assert slice_of(typed, 0)["continued"] == 1


def test_changed_code_stops_continuations_too(typed: Typed, engine: FakeEngine) -> None:
    """Otherwise the results of two programs would be mixed."""
    (typed.folder / "ck").mkdir()
    (typed.folder / "x.py").write_text("1")
    typed("run", *LINE, *CONTINUE, "--", "python", "x.py", "{}")
    save(typed, 0)
    fail(engine, 0)
    (typed.folder / "x.py").write_text("2")
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2]]
    typed("run", "x", "--allow-changed")
    assert carried(engine) == [[0, 1, 2], [0]]


def test_a_healthy_run_that_continues_is_not_held(typed: Typed, engine: FakeEngine) -> None:
    """Each slice exceeds its time limit again and again, and accuses neither run nor node."""
    number = FEWEST_FAILURES + 5
    start(typed, line=("-a", f"0-{number - 1}", "--name", "x", "-t", "60"))
    for _ in range(3):
        save(typed, *range(number))
        fail(engine, *range(number), node="n1")
        typed("tick", "x")
    assert causes(typed) == ["continue:timeout"] * 3
    assert typed.json("status", "x")["stopped"] is None
    assert typed.json("status", "x")["excluded_nodes"] == []


def test_the_number_is_data_of_each_submission(typed: Typed, engine: FakeEngine) -> None:
    """In the direct form and in a task table; the script stays as it is."""
    start(typed)
    script = (typed.folder / "runs" / "x" / "script.sh").read_bytes()
    save(typed, 0, 1)
    fail(engine, 0)
    typed("tick", "x")
    folder = typed.folder / "runs" / "x" / "submissions"
    assert (folder / "002" / "continued").read_text() == "1 *\n"
    save(typed, 0)
    fail(engine, 0, 1)
    typed("tick", "x")
    assert (folder / "003" / "continued").read_text() == "1 1\n2 0\n"
    assert (typed.folder / "runs" / "x" / "script.sh").read_bytes() == script


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--continue-on", "time", "--checkpoint", "{}.c"), "unknown-cause"),
        (("--continue-on", "timeout"), "continue-without-checkpoint"),
        (("--checkpoint", "{}.c"), "checkpoint-without-causes"),
        (("--max-continues", "3"), "checkpoint-without-causes"),
        (("--continue-on", "timeout", "--checkpoint", "c"), "file-for-all"),
        (("--continue-on", "timeout", "--checkpoint", "{no}.c"), "unknown-column"),
        (("--continue-on", "timeout", "--checkpoint", "{}.c", "--max-continues", "0"), "bad-value"),
    ],
)
def test_bad_input_makes_no_run(
    typed: Typed, engine: FakeEngine, options: tuple[str, ...], code: str
) -> None:
    """Each is refused before anything is made."""
    typed("run", *LINE, *options, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert not (typed.folder / "runs").exists()
    assert engine.jobs == {}


def test_two_slices_with_one_checkpoint_are_refused(typed: Typed) -> None:
    """One would continue from the file of the other."""
    (typed.folder / "t.csv").write_text("name,set\n1,a\n2,a\n")
    typed("run", "--table", "t.csv", "--key", "name", "--continue-on", "timeout",
          "--checkpoint", "{set}.c", *COMMAND)  # fmt: skip
    assert (typed.code, typed.error) == (2, "file-shared")


def test_a_run_without_a_checkpoint_cannot_continue_later(typed: Typed, engine: FakeEngine) -> None:
    """Nothing was recorded before its attempts."""
    typed("run", *LINE, *COMMAND)
    typed("run", "x", "--continue-on", "timeout")
    assert (typed.code, typed.error) == (2, "continue-without-checkpoint")


def test_the_policy_is_recorded_and_changed(typed: Typed, engine: FakeEngine) -> None:
    """By a settings file for a new run; by the line for an existing one."""
    (typed.folder / "slurmslice.toml").write_text(
        '[policy]\ncontinue-on = "timeout"\ncheckpoint = "ck/{}.cpt"\nmax-continues = 7\n'
    )
    typed("run", *LINE, "--dry-run", *COMMAND)
    assert typed.noted("continue-rule") == [{"causes": "timeout", "max_continues": 7}]
    (typed.folder / "ck").mkdir()
    typed("run", *LINE, *COMMAND)
    typed("run", "x", "--continue-on", "exit:85")
    (changed,) = typed.noted("policy-recorded")
    assert (changed["continue_on"], changed["max_continues"]) == ("exit:85", 7)
    save(typed, 0, 1)
    fail(engine, 0)
    fail(engine, 1, state=State.FAILED, exit_code=85)
    typed("tick", "x")
    assert carried(engine) == [[0, 1, 2], [1]]
